import { type AddressInfo, createServer, type Socket } from "node:net";
import type { ParsedMail } from "mailparser";
import type { SMTPServer } from "smtp-server";
import type { Mailbox } from "./mailbox.js";
import type { StandInServer } from "./stand-in.js";

/** Larger mails are refused, as by most servers. */
const mailLimitBytes = 10 * 1024 * 1024;

/**
 * A mail server of this machine: speaks SMTP, takes every mail, delivers none. STARTTLS is not offered.
 *
 * @param port 0 for any free one
 */
export async function startSmtp(port: number, mailbox: Mailbox): Promise<StandInServer> {
  let making: Promise<SMTPServer> | undefined;
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    // The packages take 40 MB and a second: only who gets mail pays for them. A client waits for the greeting.
    making ??= smtpServer(mailbox);
    making.then(
      (smtp) => smtp.connect(socket),
      () => socket.destroy(),
    );
  });
  server.listen(port, "127.0.0.1");
  await new Promise<void>((resolve, reject) => {
    server.once("listening", resolve);
    server.once("error", reject);
  });
  return {
    port: (server.address() as AddressInfo).port,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

async function smtpServer(mailbox: Mailbox): Promise<SMTPServer> {
  const { SMTPServer } = await import("smtp-server");
  const server = new SMTPServer({
    disabledCommands: ["STARTTLS"],
    authOptional: true,
    onAuth: (auth, _session, done) => done(null, { user: auth.username }),
    disableReverseLookup: true,
    size: mailLimitBytes,
    logger: false,
    onRcptTo(address, _session, done) {
      const refusal = mailbox.takeRefusal([address.address], ["rcpt"]);
      done(refusal && refused(refusal.code));
    },
    onData(stream, session, done) {
      const to = session.envelope.rcptTo.map(({ address }) => address);
      const from = session.envelope.mailFrom ? session.envelope.mailFrom.address : "";
      const refusal = mailbox.takeRefusal(to, ["data", "hang"]);
      parse(stream).then(
        (parsed) => {
          if (refusal?.at === "hang") return;
          if (!refusal) mailbox.receive({ from, to, ...parsed });
          done(refusal && refused(refusal.code));
        },
        (error: Error) => done(error),
      );
    },
  });
  server.on("error", () => {}); // a client that broke off
  return server;
}

async function parse(stream: NodeJS.ReadableStream) {
  const { simpleParser } = await import("mailparser");
  const parsed: ParsedMail = await simpleParser(stream as Parameters<typeof simpleParser>[0]);
  const headers = Object.fromEntries(
    parsed.headerLines.map(({ key, line }) => [key, line.slice(line.indexOf(":") + 1).trim()]),
  );
  return { subject: parsed.subject ?? "", text: parsed.text ?? "", html: parsed.html || "", headers };
}

function refused(code: number): Error {
  const said = code < 500 ? "try again later" : "no such mailbox here";
  return Object.assign(new Error(said), { responseCode: code });
}
