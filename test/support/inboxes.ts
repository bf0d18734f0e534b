import { expect } from "chai";
import type { TestApi } from "./api.js";

/** A mail as the stand-in keeps it. */
export type Mail = {
  readonly to: readonly string[];
  readonly subject: string;
  readonly text: string;
  readonly html: string;
};

/** What the providers' stand-ins received, as the people who got it would read it. */
export function inboxes({ providers }: Pick<TestApi, "providers">) {
  async function control(standIn: string, action: string, body?: object): Promise<any> {
    const request = { method: "POST", ...(body ? { body: JSON.stringify(body) } : {}) };
    const answer = await fetch(`${providers}/control/${standIn}/${action}`, request);
    expect(answer.status, `${standIn} ${action}`).to.be.oneOf([200, 204]);
    return answer.status === 200 ? answer.json() : undefined;
  }
  const mailsTo = async (address: string): Promise<Mail[]> =>
    ((await control("mail", "mails")) as Mail[]).filter(({ to }) => to.includes(address));
  const textsTo = async (number: string): Promise<string[]> =>
    ((await control("twilio", "messages")) as { to: string; body: string }[])
      .filter(({ to }) => to === number)
      .map(({ body }) => body);
  return {
    control,
    mailsTo,
    textsTo,
    /** The code in the latest mail to an address. */
    async codeMailedTo(address: string): Promise<string> {
      const mail = (await mailsTo(address)).at(-1) ?? expect.fail(`no mail to ${address}`);
      return codeIn(mail.text);
    },
    /** The code in the latest text message to a number. */
    async codeTextedTo(number: string): Promise<string> {
      return codeIn((await textsTo(number)).at(-1) ?? expect.fail(`no text to ${number}`));
    },
  };
}

function codeIn(text: string): string {
  return /\b\d{6}\b/.exec(text)?.[0] ?? expect.fail(`no code in: ${text}`);
}

/** A code that is not this one. */
export function wrongCode(code: string, offset = 1): string {
  return String((Number(code) + offset) % 1_000_000).padStart(6, "0");
}
