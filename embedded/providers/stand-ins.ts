import { join } from "node:path";
import { startClamav } from "./clamav.js";
import { googleApiKey, googleMapsStandIn, googlePlacesStandIn } from "./google-places.js";
import { mailPage } from "./mail-page.js";
import { Mailbox } from "./mailbox.js";
import { paypalStandIn } from "./paypal.js";
import { serveStandIns } from "./server.js";
import { startSmtp } from "./smtp.js";
import type { HttpStandIn } from "./stand-in.js";
import { stripeStandIn } from "./stripe.js";
import { twilioStandIn } from "./twilio.js";

/** Every provider that is played over HTTP: a new one is one line here. */
const httpStandIns: readonly ((stateFile: string | undefined) => HttpStandIn)[] = [
  twilioStandIn,
  stripeStandIn,
  paypalStandIn,
  googleMapsStandIn,
  googlePlacesStandIn,
];

export type StandIns = {
  /** Base URL of the HTTP stand-ins, and of their control endpoint. */
  readonly url: string;
  /** What our processes need in their environment to reach them. */
  readonly env: Readonly<Record<string, string>>;
  stop(): Promise<void>;
};

/** Ports of the stand-ins; 0 for any free one. */
export type StandInPorts = { readonly http: number; readonly smtp: number; readonly clamav: number };

/**
 * Starts every provider's stand-in.
 *
 * @param dataFolder where they keep what must outlive a restart; absent for memory only
 */
export async function startStandIns(
  ports: StandInPorts = { http: 0, smtp: 0, clamav: 0 },
  dataFolder?: string,
): Promise<StandIns> {
  const made = httpStandIns.map((make) => make(dataFolder && join(dataFolder, `${make.name}.json`)));
  const mailbox = new Mailbox(dataFolder && join(dataFolder, "mails.json"));
  const sockets = await Promise.all([startSmtp(ports.smtp, mailbox), startClamav(ports.clamav)]);
  const [smtp, clamav] = sockets;
  const server = await serveStandIns([...made, mailPage(mailbox), clamav.control], ports.http);
  return {
    url: server.url,
    env: standInEnvironment(server.url, { smtp: smtp.port, clamav: clamav.port }),
    stop: async () => {
      await Promise.all([server.stop(), ...sockets.map((socket) => socket.stop())]);
    },
  };
}

/** The endpoints of the stand-ins, and the secrets that `localOrgSettings` names. */
export function standInEnvironment(
  url: string,
  { smtp, clamav }: Pick<StandInPorts, "smtp" | "clamav">,
): Record<string, string> {
  return {
    STRIPE_API_BASE: url,
    PAYPAL_BASE_URL: `${url}/paypal`,
    GOOGLE_MAPS_BASE_URL: `${url}/google-maps`,
    GOOGLE_PLACES_BASE_URL: `${url}/google-places`,
    TWILIO_BASE_URL: `${url}/twilio`,
    SMTP_URL: `smtp://127.0.0.1:${smtp}`,
    CLAMAV_URL: `tcp://127.0.0.1:${clamav}`,
    STRIPE_SECRET_KEY: "sk_test_local",
    STRIPE_WEBHOOK_SECRET: "whsec_local",
    PAYPAL_CLIENT_ID: "local-client",
    PAYPAL_CLIENT_SECRET: "local-secret",
    GOOGLE_API_KEY: googleApiKey,
    TWILIO_AUTH_TOKEN: "local-twilio-token",
  };
}
