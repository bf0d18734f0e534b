import { readFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { SMTPServer, type SMTPServerOptions } from "smtp-server";
import { fixedOrgSettings } from "#infrastructure/org-settings.js";
import {
  IntegrationNotConfigured,
  ProviderFault,
  ProviderUnavailable,
  RecipientRefused,
} from "#infrastructure/providers/provider-call.js";
import { createMailSender, type MailSender, type MailSenderOptions } from "#infrastructure/providers/smtp.js";
import { startStandIns, type StandIns } from "../embedded/providers/stand-ins.js";

const org = { issuer: "https://issuer.example", jwksUri: "https://issuer.example/jwks", audience: "client-data" };
const orgSettings = fixedOrgSettings({
  orgs: { acme: { ...org, providers: { mail: { from: "Acme Ltd <service@acme.example>" } } }, bare: org },
});
const message = { subject: "Grüße, <Ada>", text: "Your code: hello\n", html: "<p>Your code: <b>hello</b></p>" };

describe("mail sender", () => {
  let standIns: StandIns;
  const senders: MailSender[] = [];

  before(async () => {
    standIns = await startStandIns();
  });
  afterEach(async () => {
    await control("relent");
    await control("clear");
  });
  after(async () => {
    for (const sender of senders) sender.close();
    await standIns?.stop();
  });

  function senderTo(url: string, options: Partial<MailSenderOptions> = {}): MailSender {
    const sender = createMailSender({ url, orgSettings, demandTls: false, ...options });
    senders.push(sender);
    return sender;
  }
  const toStandIn = (options: Partial<MailSenderOptions> = {}) => senderTo(standIns.env.SMTP_URL ?? "", options);
  async function control(action: string, body: object = {}): Promise<any> {
    const answer = await fetch(`${standIns.url}/control/mail/${action}`, {
      method: "POST",
      body: JSON.stringify(body),
    });
    expect(answer.status, await answer.clone().text()).to.equal(200);
    return answer.json();
  }
  async function failure(sending: Promise<void>): Promise<unknown> {
    return sending.then(
      () => expect.fail("it was sent"),
      (error: unknown) => error,
    );
  }

  it("sends text and HTML from the org's own address, and the mail server really has it", async () => {
    await toStandIn().send("acme", "ada@example.com", message, "m-1");
    const [mail, ...more] = await control("mails");
    expect(more).to.deep.equal([]);
    expect(mail).to.deep.include({
      from: "service@acme.example",
      to: ["ada@example.com"],
      subject: "Grüße, <Ada>",
      text: "Your code: hello\n",
      html: "<p>Your code: <b>hello</b></p>",
    });
    expect(mail.headers).to.deep.include({
      from: "Acme Ltd <service@acme.example>",
      "message-id": "<m-1@acme.example>",
      "auto-submitted": "auto-generated",
    });
  });

  it("takes an address as one recipient, whatever stands in it", async () => {
    const error = await failure(toStandIn().send("acme", 'x,eve@evil.example,"y"@example.com', message, "m-2"));
    const mails = await control("mails");
    expect(
      mails.flatMap(({ to }: { to: string[] }) => to),
      String(error),
    ).to.not.include("eve@evil.example");
  });

  it("tries a 451 again at once, and gives up after the second", async () => {
    await control("refuse", { code: 451 });
    await toStandIn().send("acme", "ada@example.com", message, "m-3");
    expect(await control("mails")).to.have.length(1);
    await control("refuse", { code: 451, times: 2 });
    expect(await failure(toStandIn().send("acme", "ada@example.com", message, "m-4"))).to.be.instanceOf(
      ProviderUnavailable,
    );
    expect(await control("mails")).to.have.length(1);
  });

  it("never tries a 5xx again: the recipient's is told from the mail's", async () => {
    await control("refuse", { code: 550 });
    const error = await failure(toStandIn().send("acme", "nobody@example.com", message, "m-5"));
    expect(error).to.be.instanceOf(RecipientRefused);
    expect((error as Error).message).to.not.include("nobody");
    await control("refuse", { code: 554, at: "data" });
    const refused = await failure(toStandIn().send("acme", "ada@example.com", message, "m-6"));
    expect(refused).to.be.instanceOf(ProviderFault).and.not.instanceOf(RecipientRefused);
    expect(await control("mails")).to.deep.equal([]);
  });

  it("says plainly when the org has no sender's address, and when nobody listens", async () => {
    expect(await failure(toStandIn().send("bare", "ada@example.com", message, "m-7"))).to.be.instanceOf(
      IntegrationNotConfigured,
    );
    const closed = createServer();
    await new Promise<void>((resolve) => closed.listen(0, "127.0.0.1", resolve));
    const { port } = closed.address() as AddressInfo;
    await new Promise((resolve) => closed.close(resolve));
    const error = await failure(senderTo(`smtp://127.0.0.1:${port}`).send("acme", "ada@example.com", message, "m-8"));
    expect(error).to.be.instanceOf(ProviderUnavailable);
  });

  it("sends nothing in the clear where encryption is demanded", async () => {
    const error = await failure(toStandIn({ demandTls: true }).send("acme", "ada@example.com", message, "m-9"));
    expect(error).to.be.instanceOf(ProviderUnavailable);
    expect(await control("mails")).to.deep.equal([]);
  });

  it("encrypts by STARTTLS and signs in, and trusts only authorities it knows", async () => {
    const folder = join(dirname(fileURLToPath(import.meta.url)), "../../test/support/tls");
    const [key, cert] = ["localhost.key", "localhost.pem"].map((file) => readFileSync(join(folder, file)));
    const seen: { secure: boolean; user: unknown; to: string[] }[] = [];
    const onData: SMTPServerOptions["onData"] = (stream, session, done) => {
      stream.resume().on("end", () => {
        const to = session.envelope.rcptTo.map(({ address }) => address);
        seen.push({ secure: session.secure, user: session.user, to });
        done();
      });
    };
    const onAuth: SMTPServerOptions["onAuth"] = ({ username, password }, _session, done) =>
      password === "s3cret/word"
        ? done(null, { user: username })
        : done(Object.assign(new Error("no"), { responseCode: 535 }));
    const server = new SMTPServer({ key, cert, onData, onAuth, logger: false, closeTimeout: 1 } as SMTPServerOptions);
    server.on("error", () => {});
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.server.address() as AddressInfo;
    const url = (password: string) => `smtp://mailer:${encodeURIComponent(password)}@localhost:${port}`;
    try {
      const ca = cert as Buffer;
      await senderTo(url("s3cret/word"), { demandTls: true, ca }).send("acme", "ada@example.com", message, "m-10");
      expect(seen).to.deep.equal([{ secure: true, user: "mailer", to: ["ada@example.com"] }]);
      const unknown = await failure(
        senderTo(url("s3cret/word"), { demandTls: true }).send("acme", "ada@example.com", message, "m-11"),
      );
      expect(unknown).to.be.instanceOf(ProviderUnavailable);
      const wrong = await failure(senderTo(url("other"), { ca }).send("acme", "ada@example.com", message, "m-12"));
      expect(wrong).to.be.instanceOf(ProviderFault);
      expect(seen).to.have.length(1);
    } finally {
      await new Promise<void>((resolve) => server.close(() => resolve()));
    }
  });

  it("shows developers what came, and never runs a mail's markup", async () => {
    await toStandIn().send("acme", "ada@example.com", { ...message, subject: "<script>alert(1)</script>" }, "m-13");
    const [{ id }] = await control("mails");
    const list = await (await fetch(`${standIns.url}/mail/`)).text();
    expect(list).to.include(`/mail/${id}`).and.include("ada@example.com").and.not.include("<script>");
    const page = await (await fetch(`${standIns.url}/mail/${id}`)).text();
    expect(page).to.include("Your code: hello").and.not.include("<script>");
    const html = await fetch(`${standIns.url}/mail/${id}/html`);
    expect(html.headers.get("content-security-policy")).to.equal("sandbox");
    expect(await html.text()).to.equal(message.html);
    expect((await fetch(`${standIns.url}/mail/nothing`)).status).to.equal(404);
  });
});
