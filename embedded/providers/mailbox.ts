import { randomUUID } from "node:crypto";
import { keepState } from "./state.js";

/** A mail as it came over the wire, taken apart. */
export type ReceivedMail = {
  readonly id: string;
  readonly at: string;
  /** Sender and recipients of the SMTP envelope. */
  readonly from: string;
  readonly to: readonly string[];
  readonly subject: string;
  readonly text: string;
  readonly html: string;
  readonly headers: Readonly<Record<string, string>>;
};

/** A refusal to play: at the next `times` mails to a recipient that contains `to`. */
export type PlannedRefusal = {
  /** SMTP reply code: 4xx may be tried again, 5xx is for good. */
  readonly code: number;
  readonly times: number;
  /** Part of the recipient's address; empty for any. */
  readonly to: string;
  /** Where in the conversation: the recipient is refused, the message is, or no answer comes to it at all. */
  readonly at: "rcpt" | "data" | "hang";
};

/** So many mails are kept, the newest. */
const mostMails = 500;

/** Every mail that the SMTP stand-in received, and the refusals it is asked to play. */
export class Mailbox {
  readonly #kept;
  #refusals: PlannedRefusal[] = [];

  /** @param file where mails outlive a restart; absent for memory only */
  constructor(file?: string) {
    this.#kept = keepState<{ mails: ReceivedMail[] }>(file, () => ({ mails: [] }));
  }

  /** Newest last. */
  get mails(): readonly ReceivedMail[] {
    return this.#kept.value.mails;
  }

  receive(mail: Omit<ReceivedMail, "id" | "at">): void {
    const { mails } = this.#kept.value;
    mails.push({ id: randomUUID(), at: new Date().toISOString(), ...mail });
    if (mails.length > mostMails) mails.shift();
    this.#kept.save();
  }

  clear(): void {
    this.#kept.value.mails.length = 0;
    this.#kept.save();
  }

  /** @throws Error for what is no refusal */
  plan({ code = 451, times = 1, to = "", at = "rcpt" }: Partial<PlannedRefusal>): void {
    if (!Number.isInteger(code) || code < 400 || code > 599) throw new Error("code must be 400 to 599");
    if (!Number.isInteger(times) || times < 1) throw new Error("times must be a positive integer");
    if (!["rcpt", "data", "hang"].includes(at)) throw new Error("at must be rcpt, data or hang");
    this.#refusals.push({ code, times, to, at });
  }

  /** Forgets the refusals not yet played. */
  relent(): void {
    this.#refusals = [];
  }

  /** Takes the refusal that a mail runs into at one of these points; undefined when it goes well. */
  takeRefusal(recipients: readonly string[], points: readonly PlannedRefusal["at"][]): PlannedRefusal | undefined {
    const index = this.#refusals.findIndex(
      ({ to, at }) => points.includes(at) && recipients.some((recipient) => recipient.includes(to)),
    );
    const refusal = this.#refusals[index];
    if (!refusal) return undefined;
    if (refusal.times === 1) this.#refusals.splice(index, 1);
    else this.#refusals[index] = { ...refusal, times: refusal.times - 1 };
    return refusal;
  }
}
