import { dataFolderPath } from "./data-folder.js";

/** What the environment says about the local stack. */
export type Settings = {
  /** The gateway's port; 0 for any free one. */
  readonly port: number;
  readonly host: string;
  readonly dataFolder: string;
  readonly sampleData: boolean;
  /** Addresses of backing services that run elsewhere: no stand-in is started for these. */
  readonly given: {
    readonly eventStore: string | undefined;
    readonly mongodb: string | undefined;
    readonly redis: string | undefined;
    readonly s3: string | undefined;
    /** Given when every provider's endpoint is. */
    readonly providers: string | undefined;
  };
  readonly orgSettingsFile: string | undefined;
  readonly masterKeys: string | undefined;
  readonly serverKey: string | undefined;
};

const providerEndpoints = [
  "STRIPE_API_BASE",
  "PAYPAL_BASE_URL",
  "GOOGLE_MAPS_BASE_URL",
  "GOOGLE_PLACES_BASE_URL",
  "TWILIO_BASE_URL",
  "SMTP_URL",
  "CLAMAV_URL",
];

/** A variable has a value that cannot be meant; the message is one plain sentence. */
export class WrongSetting extends Error {}

/** @throws WrongSetting */
export function readSettings(environment: NodeJS.ProcessEnv = process.env): Settings {
  const value = (name: string) => environment[name] || undefined;
  const port = value("PORT") ?? "8080";
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) {
    throw new WrongSetting("PORT must be a port number, or 0 for any free one.");
  }
  const sampleData = value("SAMPLE_DATA") ?? "1";
  if (!["0", "1"].includes(sampleData)) throw new WrongSetting("SAMPLE_DATA must be 1 or 0.");
  const s3 = value("S3_ENDPOINT");
  const missing = ["S3_ACCESS_KEY", "S3_SECRET_KEY", "S3_BUCKET"].filter((name) => !value(name));
  if (s3 && missing.length > 0) {
    throw new WrongSetting(`S3_ENDPOINT is given, so ${missing.join(" and ")} must be given too.`);
  }
  return {
    port: Number(port),
    host: value("HOST") ?? "127.0.0.1",
    dataFolder: dataFolderPath(environment),
    sampleData: sampleData === "1",
    given: {
      eventStore: value("EVENTSTORE_URL"),
      mongodb: value("MONGODB_URL"),
      redis: value("REDIS_URL"),
      s3,
      providers: providerEndpoints.every((name) => value(name)) ? value("STRIPE_API_BASE") : undefined,
    },
    orgSettingsFile: value("ORG_SETTINGS_FILE"),
    masterKeys: value("MASTER_KEYS"),
    serverKey: value("SERVER_KEY"),
  };
}
