import type { RecordedEvent } from "#domain/core/recorded-event.js";
import type { VerificationEvent } from "#domain/verification/verification.events.js";
import type { DutyDocument } from "../due-work.document.js";
import type { AreaDuties } from "../runner/duties.js";

/** A code's message that was asked for and has no outcome: the reactor crashed, or the provider was away. */
export const sendCodeDuty = "verification-send-code";
/** A notice to the address that a customer had until now. */
export const sendNoticeDuty = "verification-send-notice";

/** The reactor gets so long before a message is taken up again: longer than its own tries last. */
const firstTryMs = 25_000;

type Consumed = Exclude<VerificationEvent, { type: "verification.AttemptFailed.v1" }>;

export const verificationDuties: AreaDuties<Consumed> = {
  area: "verification",
  idOf: ({ type, data }) => (type.startsWith("verification.Notice") ? `${data.channel}.notice` : data.channel),
  on: {
    "verification.Requested.v1": (_, event) => {
      const dueAt = new Date(Date.parse(event.at) + firstTryMs).toISOString();
      return duty(sendCodeDuty, event, dueAt, `${event.data.challengeId} ${event.data.send}`);
    },
    "verification.Sent.v1": doneWith,
    "verification.SendFailed.v1": doneWith,
    "verification.Verified.v1": () => null,
    "verification.Voided.v1": () => null,
    "verification.NoticeRequested.v1": (_, event) => duty(sendNoticeDuty, event, event.at, event.data.challengeId),
    "verification.NoticeSettled.v1": (row, event) => (row?.subject === event.data.challengeId ? null : row),
  },
};

/** A late outcome of an earlier message leaves the row of the newer one. */
function doneWith(
  row: DutyDocument | null,
  { data }: RecordedEvent<Extract<Consumed, { type: "verification.Sent.v1" | "verification.SendFailed.v1" }>>,
): DutyDocument | null {
  return row?.subject === `${data.challengeId} ${data.send}` ? null : row;
}

function duty(name: string, { stream }: RecordedEvent<Consumed>, dueAt: string, subject: string): DutyDocument {
  return { duty: name, dueAt, stream, subject };
}
