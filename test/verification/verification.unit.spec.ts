import { expect } from "chai";
import fc from "fast-check";
import { fold } from "#domain/core/decider.js";
import { streams } from "#domain/core/identifiers.js";
import { maskedEmail } from "#domain/core/masking.js";
import { CustomerErased } from "#domain/privacy/privacy.events.js";
import { DestinationVerified, EmailChanged, Registered, Updated } from "#domain/profile/profile.events.js";
import { verificationDecider } from "#domain/verification/verification.decider.js";
import {
  AttemptFailed,
  NoticeRequested,
  NoticeSettled,
  Requested,
  SendFailed,
  Sent,
  type VerificationEvent,
  Verified,
  Voided,
} from "#domain/verification/verification.events.js";
import { maskedPhone, pendingOf } from "#domain/verification/verification.policy.js";
import { isCodeOf, verificationCode } from "#domain/verification/verification-code.js";
import { verificationDuties } from "#projectors/verification/verification.duties.js";
import { verificationProjection } from "#projectors/verification/verification.projection.js";
import { dueWorkProjection } from "#projectors/due-work.js";
import { placed, specificationStart, specify } from "../support/decider-specification.js";
import { ada, project } from "../support/projection-specification.js";

const verification = specify(verificationDecider);

/** Facts of a specification are a minute apart from 09:00; a command comes at a time of its own. */
const at = (minutes: number, seconds = 0) => new Date(specificationStart + minutes * 60_000 + seconds * 1_000);
const iso = (minutes: number) => at(minutes).toISOString();
const destination = "ada@example.com";
const requested = (challengeId = "c-1", send = 1, minute = 0, to = destination) =>
  Requested.create({ channel: "email", challengeId, send, destination: to, expiresAt: iso(minute + 10) });
const sent = (challengeId = "c-1", send = 1) => Sent.create({ channel: "email", challengeId, send });
const failed = (challengeId = "c-1") => AttemptFailed.create({ channel: "email", challengeId });
const verified = (challengeId = "c-1") => Verified.create({ channel: "email", challengeId, destination });
const request = (now: Date, wish: object = {}) =>
  ({
    type: "RequestCode",
    channel: "email",
    destination,
    verified: false,
    challengeId: "c-new",
    now,
    ...wish,
  }) as const;
const guess = (now: Date, right = true, wish: object = {}) =>
  ({ type: "CheckCode", channel: "email", destination, matches: () => right, now, ...wish }) as const;
/** What a request decides, where it comes later than a specification places its repetition. */
function decided(history: VerificationEvent[], command: ReturnType<typeof request>): readonly VerificationEvent[] {
  const { events, rejection } = verificationDecider.decide(
    command,
    fold(verificationDecider, verificationDecider.initial, placed(history)),
  );
  expect(rejection).to.equal(undefined);
  return events;
}
const anew = (minute: number, challengeId = "c-new") =>
  Requested.create({ channel: "email", challengeId, send: 1, destination, expiresAt: iso(minute + 10) });
const times = <T>(count: number, make: (index: number) => T) =>
  Array.from({ length: count }, (_, index) => make(index));

describe("verification code", () => {
  const key = Buffer.alloc(32, 7);

  it("has six digits, the same for the same challenge and key, and hardly ever for another", () => {
    fc.assert(
      fc.property(fc.uuid(), (challenge) => {
        const code = verificationCode(key, challenge);
        expect(code).to.match(/^\d{6}$/);
        expect(verificationCode(key, challenge)).to.equal(code);
        expect(isCodeOf(key, challenge, code)).to.equal(true);
      }),
    );
    const codes = new Set(times(1_000, (index) => verificationCode(key, `challenge ${index}`)));
    expect(codes.size).to.be.greaterThan(980);
    expect(verificationCode(Buffer.alloc(32, 8), "challenge 1")).to.not.equal(verificationCode(key, "challenge 1"));
  });

  it("is spread evenly: every first digit comes about as often", () => {
    const counts = new Array<number>(10).fill(0);
    for (const index of times(20_000, (i) => i)) {
      const digit = Number(verificationCode(key, String(index))[0]);
      counts[digit] = (counts[digit] ?? 0) + 1;
    }
    for (const count of counts) expect(count).to.be.within(1_800, 2_200);
  });

  it("is not any other text", () => {
    const code = verificationCode(key, "c");
    for (const wrong of [
      "",
      code.slice(1),
      `${code}0`,
      code.replace(/.$/, (digit) => String((Number(digit) + 1) % 10)),
      "٠١٢٣٤٥",
    ]) {
      expect(isCodeOf(key, "c", wrong), wrong).to.equal(false);
    }
  });
});

describe("verification decider", () => {
  describe("asking for a code", () => {
    it("begins a challenge that lives ten minutes", () => {
      verification
        .given()
        .when(request(at(0)))
        .then(Requested.create({ channel: "email", challengeId: "c-new", send: 1, destination, expiresAt: iso(10) }));
    });

    it("does nothing for a destination that is proved", () => {
      verification
        .given(requested(), verified())
        .when(request(at(5), { verified: true }))
        .thenNothing();
    });

    it("begins anew where the proof was of another time", () => {
      expect(decided([requested(), verified()], request(at(5)))).to.deep.equal([anew(5)]);
    });

    it("sends the same code again within its life, with the same end and the same counter", () => {
      const { state } = verification.given(requested(), sent(), failed(), requested("c-1", 2));
      expect(state.challenge).to.deep.include({ id: "c-1", send: 2, wrong: 1, expiresAt: iso(10) });
      verification
        .given(requested(), sent())
        .when(request(at(2)))
        .then(Requested.create({ channel: "email", challengeId: "c-1", send: 2, destination, expiresAt: iso(10) }));
    });

    it("begins anew when the code has expired, or was used up by wrong guesses", () => {
      expect(decided([requested()], request(at(10)))).to.deep.equal([anew(10)]);
      verification
        .given(requested(), ...times(5, () => failed()))
        .when(request(at(6)))
        .then(anew(6));
    });

    it("waits a minute between two messages to one destination, not for another one", () => {
      verification
        .given(requested())
        .when(request(at(0, 59)))
        .thenRefused("RESEND_TOO_SOON", { retryAfterSeconds: 1 });
      verification
        .given(requested())
        .when(request(at(0)))
        .thenRefused("RESEND_TOO_SOON", { retryAfterSeconds: 60 });
      const other = { destination: "countess@example.com" };
      verification
        .given(requested())
        .when(request(at(0, 1), other))
        .then(
          Voided.create({ channel: "email", challengeId: "c-1" }),
          Requested.create({
            ...{ channel: "email", challengeId: "c-new", send: 1, destination: "countess@example.com" },
            expiresAt: at(10, 1).toISOString(),
          }),
        );
    });

    it("sends five times an hour and ten times a day at most", () => {
      const five = times(5, (index) => requested(`c-${index}`, 1, index));
      verification
        .given(...five)
        .when(request(at(30)))
        .thenRefused("SEND_LIMIT_REACHED", { retryAfterSeconds: 30 * 60 });
      expect(decided(five, request(at(60)))).to.deep.equal([anew(60)]);
      // Ten at 13 minutes from one another: never more than five in an hour.
      const ten = fold(
        verificationDecider,
        verificationDecider.initial,
        placed(times(10, (index) => requested(`c-${index}`))).map((event, index) => ({
          ...event,
          at: iso(13 * index),
        })),
      );
      const { events, rejection } = verificationDecider.decide(request(at(13 * 10)), ten);
      expect(events).to.deep.equal([]);
      expect(rejection?.code).to.equal("SEND_LIMIT_REACHED");
      expect(rejection?.params).to.deep.equal({ retryAfterSeconds: (24 * 60 - 130) * 60 });
      expect(verificationDecider.decide(request(at(24 * 60)), ten).events).to.have.length(1);
    });

    it("sends twenty times a day at most to whatever destinations", () => {
      const twenty = times(20, (index) => requested(`c-${index}`, 1, index, `${index}@example.com`));
      verification
        .given(...twenty)
        .when(request(at(30)))
        .thenRefused("SEND_LIMIT_REACHED");
    });

    it("does not count a message that could not be sent", () => {
      const gone = SendFailed.create({ channel: "email", challengeId: "c-1", send: 1, reason: "recipient-refused" });
      const { state } = verification.given(requested(), gone);
      expect(state.challenge && pendingOf(state, state.challenge, at(1)).sendFailed).to.equal(true);
      verification
        .given(requested(), gone)
        .when(request(at(0, 30)))
        .then(Requested.create({ channel: "email", challengeId: "c-1", send: 2, destination, expiresAt: iso(10) }));
    });
  });

  describe("a guess", () => {
    it("that is right proves the destination, and is right again when repeated", () => {
      verification
        .given(requested(), sent())
        .when(guess(at(2)))
        .then(verified());
      verification
        .given(requested(), verified())
        .when(guess(at(20)))
        .thenNothing();
      verification
        .given(requested(), verified())
        .when(guess(at(20), false))
        .thenRefused("NO_PENDING_VERIFICATION");
      verification
        .given(requested(), verified())
        .when(guess(at(25 * 60)))
        .thenRefused("NO_PENDING_VERIFICATION");
    });

    it("that is wrong is recorded and refused in one decision", () => {
      const { state } = verification.given(requested(), failed(), failed());
      const decision = verificationDecider.decide(guess(at(3), false), state);
      expect(decision.events).to.deep.equal([failed()]);
      expect(decision.rejection).to.deep.equal({
        kind: "refused",
        code: "CODE_INCORRECT",
        params: { attemptsRemaining: 2 },
      });
    });

    it("is not judged any more after five wrong ones, not even the right one", () => {
      const five = times(5, () => failed());
      verification
        .given(requested(), ...five)
        .when(guess(at(6)))
        .thenRefused("TOO_MANY_ATTEMPTS", { retryAfterSeconds: 1 });
      verification
        .given(requested(), ...five)
        .when(guess(at(6), false))
        .thenRefused("TOO_MANY_ATTEMPTS");
    });

    it("stops for a day after ten wrong ones of one day, for guesses and for messages", () => {
      // The tenth comes at minute 11.
      const ten = [
        requested("c-1"),
        ...times(5, () => failed()),
        requested("c-2", 1, 6),
        ...times(5, () => failed("c-2")),
      ];
      const dayLater = 24 * 60 + 11;
      verification
        .given(...ten)
        .when(guess(at(12)))
        .thenRefused("TOO_MANY_ATTEMPTS", { retryAfterSeconds: (dayLater - 12) * 60 });
      verification
        .given(...ten)
        .when(request(at(12)))
        .thenRefused("SEND_LIMIT_REACHED", { retryAfterSeconds: (dayLater - 12) * 60 });
      verification
        .given(...ten)
        .when(request(at(dayLater, -1)))
        .thenRefused("SEND_LIMIT_REACHED");
      expect(decided(ten, request(at(dayLater)))).to.deep.equal([anew(dayLater)]);
      const { state } = verification.given(...ten);
      expect(state.challenge && pendingOf(state, state.challenge, at(12)).attemptsRemaining).to.equal(0);
    });

    it("has what is left of the day where that is less than what is left of the code", () => {
      const eight = [
        requested("c-1"),
        ...times(4, () => failed()),
        requested("c-2", 1, 12),
        ...times(4, () => failed("c-2")),
      ];
      const history = [...eight, requested("c-3", 1, 12)];
      const { state } = verification.given(...history);
      const decision = verificationDecider.decide(guess(at(13), false), state);
      expect(decision.rejection?.params).to.deep.equal({ attemptsRemaining: 1 });
    });

    it("comes too late after ten minutes, and to nothing where none is under way", () => {
      verification
        .given(requested())
        .when(guess(at(10)))
        .thenRefused("CODE_EXPIRED");
      verification
        .given(requested(), ...times(5, () => failed()))
        .when(guess(at(10)))
        .thenRefused("CODE_EXPIRED");
      verification
        .given()
        .when(guess(at(0)))
        .thenRefused("NO_PENDING_VERIFICATION");
      verification
        .given(requested())
        .when(guess(at(1), true, { challengeId: "c-0" }))
        .thenRefused("NO_PENDING_VERIFICATION");
      verification
        .given(requested())
        .when(guess(at(1), true, { challengeId: "c-1" }))
        .then(verified());
    });

    it("proves nothing about another destination than the code was sent to", () => {
      const now = guess(at(1), true, { destination: "countess@example.com" });
      verification.given(requested()).when(now).thenRefused("NO_PENDING_VERIFICATION");
      verification
        .given(requested(), Voided.create({ channel: "email", challengeId: "c-1" }))
        .when(guess(at(2)))
        .thenRefused("NO_PENDING_VERIFICATION");
    });
  });

  describe("what came of a message", () => {
    const recordSent = { type: "RecordSent", channel: "email", challengeId: "c-1", send: 1 } as const;
    const recordFailed = { ...recordSent, type: "RecordSendFailed", reason: "too-late" } as const;

    it("is recorded once, whichever came first", () => {
      verification.given(requested()).when(recordSent).then(sent());
      verification.given(requested(), sent()).when(recordFailed).thenNothing();
      verification
        .given(requested())
        .when(recordFailed)
        .then(SendFailed.create({ channel: "email", challengeId: "c-1", send: 1, reason: "too-late" }));
      verification
        .given(requested())
        .when({ ...recordSent, send: 2 })
        .thenNothing();
      verification.given().when(recordSent).thenNothing();
    });

    it("calls for a notice to the address until now, once a challenge", () => {
      const change = (send: number) =>
        Requested.create({
          ...{ channel: "email-change", challengeId: "c-1", send, destination: "countess@example.com" },
          ...{ informs: destination, expiresAt: iso(10) },
        });
      const taken = (send: number) => Sent.create({ channel: "email-change", challengeId: "c-1", send });
      const notice = NoticeRequested.create({
        ...{ channel: "email-change", challengeId: "c-1", destination, about: "c***@example.com" },
      });
      const record = { ...recordSent, channel: "email-change" } as const;
      verification.given(change(1)).when(record).then(taken(1), notice);
      verification
        .given(change(1), taken(1), notice, change(2))
        .when({ ...record, send: 2 })
        .then(taken(2));
      const settle = { type: "RecordNotice", challengeId: "c-1", outcome: "sent" } as const;
      const settled = NoticeSettled.create({ channel: "email-change", challengeId: "c-1", outcome: "sent" });
      verification.given(change(1), taken(1), notice).when(settle).then(settled);
      verification.given(change(1), taken(1)).when(settle).thenNothing();
    });
  });

  it("voids an open challenge to another destination, and nothing else", () => {
    const others = (to: string | null) => ({ type: "VoidOthers", channel: "email", destination: to }) as const;
    verification
      .given(requested())
      .when(others("countess@example.com"))
      .then(Voided.create({ channel: "email", challengeId: "c-1" }));
    verification
      .given(requested())
      .when(others(null))
      .then(Voided.create({ channel: "email", challengeId: "c-1" }));
    verification.given(requested()).when(others(destination)).thenNothing();
    verification.given(requested(), verified()).when(others(null)).thenNothing();
    verification.given().when(others(null)).thenNothing();
  });

  it("stays bounded, however long it goes on", () => {
    let state = verificationDecider.initial;
    for (let minute = 0, revision = 0; minute < 30 * 24 * 60; minute += 7) {
      const decided = [
        verificationDecider.decide(request(at(minute), { challengeId: `c-${minute}` }), state),
        ...times(3, () => undefined),
      ];
      for (const decision of decided) {
        const { events } = decision ?? verificationDecider.decide(guess(at(minute), false), state);
        for (const event of events) {
          state = verificationDecider.evolve(state, { ...event, revision: revision++, at: iso(minute) });
        }
      }
    }
    expect(state.sends.length).to.be.at.most(20);
    expect(state.wrong.length).to.be.at.most(30);
  });
});

describe("destinations, masked", () => {
  it("show enough to be recognised and no more", () => {
    expect(maskedEmail("ada@example.com")).to.equal("a***@example.com");
    expect(maskedEmail("a@b")).to.equal("a***@b");
    expect(maskedPhone("+4915112345678")).to.equal("+49*********78");
    expect(maskedPhone("+155")).to.equal("+1555");
  });
});

const profile = (event: Parameters<typeof Registered.create>[0]) => ({
  stream: streams.profile(ada),
  event: Registered.create(event),
});
const onChannel = (event: VerificationEvent) => ({
  stream: streams.verification(ada, event.data.channel),
  event,
});

describe("verification projection", () => {
  it("joins what the profile says with what happened to the code", () => {
    const { documents } = project(verificationProjection).given(
      profile({ source: "claims", email: destination }),
      onChannel(requested("c-1", 1, 1)),
      onChannel(sent()),
      onChannel(failed()),
    );
    const { email, phone } = documents.get("verification") ?? expect.fail("no document");
    expect(email).to.deep.include({ destination, verified: false, verifiedAt: null });
    expect(email.ledger.challenge).to.deep.include({ id: "c-1", wrong: 1, send: 1, status: "open" });
    expect(phone).to.deep.include({ destination: null, verified: false });
  });

  it("follows the profile in what is verified", () => {
    const { documents } = project(verificationProjection).given(
      profile({ source: "platform", sourceRevision: 1, email: destination, emailVerified: true, phone: "+4930123456" }),
      { stream: streams.profile(ada), event: DestinationVerified.create({ channel: "phone", challengeId: "c" }) },
      {
        stream: streams.profile(ada),
        event: Updated.create({ source: "customer", phone: "+4930999999", phoneVerified: false, previous: {} }),
      },
      {
        stream: streams.profile(ada),
        event: EmailChanged.create({ email: "c@x.example", previous: null, challengeId: "c" }),
      },
    );
    const { email, phone } = documents.get("verification") ?? expect.fail("no document");
    expect(email).to.deep.include({ destination: "c@x.example", verified: true, verifiedAt: iso(3) });
    expect(phone).to.deep.include({ destination: "+4930999999", verified: false, verifiedAt: null });
  });

  it("keeps nothing of an erased customer, and leaves the change of an address alone", () => {
    project(verificationProjection)
      .given(profile({ source: "claims", email: destination }), {
        stream: streams.profile(ada),
        event: CustomerErased.create({}),
      })
      .thenNothing();
    project(verificationProjection)
      .given(onChannel(Voided.create({ channel: "email-change", challengeId: "c" })))
      .thenNothing();
  });
});

describe("verification duties", () => {
  const due = project(dueWorkProjection([verificationDuties]));
  const stream = streams.verification(ada, "email");

  it("keep a message until it has an outcome; a late one of an earlier message leaves the newer's", () => {
    const row = (send: number, minute: number) => ({
      "verification.email": {
        duty: "verification-send-code",
        dueAt: at(minute, 25).toISOString(),
        stream,
        subject: `c-1 ${send}`,
      },
    });
    due.given(onChannel(requested())).then(row(1, 0));
    due.given(onChannel(requested()), onChannel(sent())).thenNothing();
    due.given(onChannel(requested()), onChannel(requested("c-1", 2)), onChannel(sent())).then(row(2, 1));
    due.given(onChannel(requested()), onChannel(verified())).thenNothing();
  });

  it("keep a notice beside the code", () => {
    const notice = NoticeRequested.create({
      channel: "email-change",
      challengeId: "c-1",
      destination,
      about: "c***@x",
    });
    due.given(onChannel(notice)).then({
      "verification.email-change.notice": {
        duty: "verification-send-notice",
        dueAt: iso(0),
        stream: streams.verification(ada, "email-change"),
        subject: "c-1",
      },
    });
    const settled = NoticeSettled.create({ channel: "email-change", challengeId: "c-1", outcome: "failed" });
    due.given(onChannel(notice), onChannel(settled)).thenNothing();
  });
});
