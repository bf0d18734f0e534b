import { expect } from "chai";
import { Redis } from "ioredis";
import { logStart } from "#infrastructure/event-store.js";
import { type Answer, startApi, type TestApi } from "../support/api.js";
import { inboxes, wrongCode } from "../support/inboxes.js";
import { keptInMongo, keptInRedis, keptInTheLog } from "../support/traces.js";

/**
 * Codes are derived whenever they are needed. Here everything that can go right or wrong with them happens, and then
 * every place that keeps anything is searched for them.
 */
describe("codes of verification", function () {
  this.timeout(60_000);
  let api: TestApi;
  const codes: string[] = [];
  const answers: string[] = [];
  const redisCommands: string[] = [];
  let now = Date.now();

  before(async () => {
    api = await startApi({ projections: true, worker: true, standIns: true, clock: () => new Date(now) });
    const redis = new Redis(api.environment.REDIS_URL ?? "");
    const monitor = await redis.monitor();
    monitor.on("monitor", (_time: string, args: string[]) => redisCommands.push(args.join(" ")));
    await live();
    monitor.disconnect();
    redis.disconnect();
  });
  after(() => api?.stop());

  async function live(): Promise<void> {
    const boxes = inboxes(api);
    const ada = await api.as("ada", { email: "ada@example.com", name: "Ada" });
    const call = async (path: string, body: object, headers: Record<string, string> = {}): Promise<Answer> => {
      const answer = await ada.post(`/client-data/${path}`, { body, headers });
      answers.push(JSON.stringify([...answer.headers, answer.body]));
      return answer;
    };
    const guess = async (path: string, code: string) => {
      // A wrong guess with a key, so that it would stand in a hash; the right one with and without.
      codes.push(code, wrongCode(code), wrongCode(code, 2));
      expect((await call(path, { code: wrongCode(code) }, { "idempotency-key": "wrong" })).status).to.equal(422);
      expect((await call(path, { code: wrongCode(code, 2) })).status).to.equal(422);
      expect((await call(path, { code }, { "idempotency-key": "right" })).status).to.equal(200);
      expect((await call(path, { code })).status).to.equal(200);
      // What cannot be read is refused without being repeated.
      expect((await call(path, { code, also: code })).status).to.equal(400);
      await api.settled();
    };
    await ada.put("/client-data/profile", { body: { phone: "+4915112345678" } });

    await boxes.control("mail", "refuse", { code: 451, times: 2, at: "data" });
    expect((await call("verification/email/send", {})).status).to.equal(202);
    await api.settled();
    now += 30_000;
    await api.settled();
    await guess("verification/email/verify", await boxes.codeMailedTo("ada@example.com"));

    const busy = { match: "POST /2010-04-01", status: 429, body: { code: 20429 }, times: 2 };
    await boxes.control("twilio", "failures", busy);
    expect((await call("verification/phone/send", {})).status).to.equal(202);
    await api.settled();
    now += 30_000;
    await api.settled();
    await guess("verification/phone/verify", await boxes.codeTextedTo("+4915112345678"));

    expect((await call("profile/email-change", { newEmail: "countess@example.com" })).status).to.equal(202);
    await api.settled();
    await guess("profile/email-change/verify", await boxes.codeMailedTo("countess@example.com"));
    for (const path of ["verification/status", "profile", "activity", "dashboard"]) {
      answers.push(JSON.stringify((await ada.get(`/client-data/${path}`)).body));
    }
  }

  /** The codes found in a text, as numbers or words of their own: not as a part of a longer number or id. */
  const foundIn = (text: string) =>
    codes.filter((code) => new RegExp(`(?<![0-9A-Za-z.+/_-])${code}(?![0-9A-Za-z+/_-])`).test(text));

  it("are there to be searched for, and found where they stand", () => {
    expect(codes).to.have.length(9);
    expect(foundIn(`{"code":"${codes[0]}"}`)).to.deep.equal([codes[0]]);
    expect(foundIn(`code=${codes[1]}&x`)).to.deep.equal([codes[1]]);
    expect(foundIn(`1${codes[0]}`)).to.deep.equal([]);
  });

  it("stand in no event, as it is stored or opened", async () => {
    let raw = 0;
    for await (const { text } of keptInTheLog(api.eventStore)) {
      raw++;
      expect(foundIn(text), text).to.deep.equal([]);
    }
    expect(raw).to.be.greaterThan(20);
    const opened = await api.newEvents(logStart);
    expect(opened.map(({ type }) => type)).to.include.members([
      "verification.Requested.v1",
      "verification.AttemptFailed.v1",
      "verification.Verified.v1",
      "profile.EmailChanged.v1",
    ]);
    for (const event of opened) expect(foundIn(JSON.stringify(event)), event.type).to.deep.equal([]);
  });

  it("stand in no collection of either database", async () => {
    const names = [api.database.databaseName, api.environment.KEYS_DATABASE ?? ""];
    let documents = 0;
    for await (const { where, text } of keptInMongo(api.environment.MONGODB_URL ?? "", names)) {
      documents++;
      expect(foundIn(text), `${where}: ${text}`).to.deep.equal([]);
    }
    expect(documents).to.be.greaterThan(10);
  });

  it("never went through Redis, neither as it is now nor in any command", async () => {
    expect(redisCommands.join("\n")).to.include("verification");
    for (const command of redisCommands) expect(foundIn(command), command.slice(0, 500)).to.deep.equal([]);
    for await (const { where, text } of keptInRedis(api.environment.REDIS_URL ?? "")) {
      expect(foundIn(text), where).to.deep.equal([]);
    }
  });

  it("stand in no line of a log, and in no answer", () => {
    expect(api.logLines.length).to.be.greaterThan(20);
    expect(api.logLines.join("")).to.include("a code is not sent yet");
    for (const line of api.logLines) {
      expect(foundIn(line), line).to.deep.equal([]);
      expect(line).to.not.match(/(ada|countess)@example\.com|4915112345678/);
    }
    for (const answer of answers) expect(foundIn(answer), answer).to.deep.equal([]);
  });
});
