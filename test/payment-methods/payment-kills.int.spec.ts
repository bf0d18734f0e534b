import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { pickPorts } from "../../embedded/ports.js";
import { type Answer, sendRequest, startApi, type TestApi } from "../support/api.js";
import { type Control, controlOf } from "../support/control.js";
import { atStripe, expectAgreement, inOurLog } from "./payments-fixture.js";

const dist = join(dirname(fileURLToPath(import.meta.url)), "../..");
const path = "/client-data/payment-methods";
const headersOf = { "idempotency-key": "killed" };

/** Somebody whose request is under way when the process is killed. */
type Victim = {
  readonly customer: string;
  /** Where Stripe stops it: before or after doing what this request asks. */
  readonly request: string;
  readonly mode: "hang-before" | "hang-after";
  readonly send: () => Promise<Answer>;
  /** Objects that Stripe has attached in the end, and how often it attached something. */
  readonly attached: number;
  readonly attachments: number;
};

describe("payment methods when processes are killed", function () {
  this.timeout(150_000);
  const children: ChildProcess[] = [];
  let api: TestApi;
  let stripe: Control;
  let base = "";
  let commandApi: ChildProcess;

  const owner = (customer: string) => ({ org: api.org, customer });

  function start(file: string, env: Record<string, string>): ChildProcess {
    const child = spawn(process.execPath, [join(dist, file)], {
      env: { PATH: process.env.PATH, ...api.environment, LOG_LEVEL: "error", ...env },
      stdio: ["ignore", "inherit", "inherit"],
    });
    children.push(child);
    return child;
  }

  async function startCommandApi(): Promise<void> {
    const { port } = await pickPorts(["port"]);
    commandApi = start("command-api/main.js", { PORT: String(port) });
    base = `http://127.0.0.1:${port}`;
    await until("the command API serves", async () => {
      return (await fetch(`${base}/readyz`).catch(() => undefined))?.ok ?? false;
    });
  }

  /** Duties that fall due in half a minute are due for it now. */
  const startWorker = () => start("test/support/worker-process.js", { PORT: "0", CLOCK_AHEAD_MS: "31000" });

  async function kill(child: ChildProcess): Promise<void> {
    child.kill("SIGKILL");
    await once(child, "exit");
  }

  async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
    const deadline = Date.now() + 100_000;
    while (!(await condition())) {
      if (Date.now() > deadline) throw new Error(`did not come true in time: ${what}`);
      await delay(50);
    }
  }

  /** Stops the next such request at Stripe, makes it, and waits until it has come there. */
  async function stopAt(request: string, mode: Victim["mode"], make?: () => unknown): Promise<void> {
    const count = async () => (await stripe.requests()).filter((one) => one.startsWith(request)).length;
    const before = await count();
    await stripe.fail({ match: request, mode });
    make?.();
    await until(`${request} has come`, async () => (await count()) > before);
  }

  const caller = async (customer: string) => {
    const { headers } = await api.as(customer);
    return (method: string, target: string, body?: object, more: Record<string, string> = {}) =>
      sendRequest(base, method, target, { headers: { ...headers, ...more }, ...(body ? { body } : {}) });
  };
  const collected = async (card: object): Promise<string> => (await stripe.act("payment-method", { card })).id;

  /** Somebody who adds a first card. */
  async function adding(request: string, mode: Victim["mode"]): Promise<Victim> {
    const customer = `adds-${request.replace(/\W+/g, "-")}-${mode}`;
    const send = await caller(customer);
    const id = await collected({ fingerprint: customer });
    const at = request === "attach" ? `POST /v1/payment_methods/${id}/attach` : request;
    const post = () => send("POST", path, { paymentMethodId: id }, headersOf);
    return { customer, request: at, mode, send: post, attached: 1, attachments: 1 };
  }

  /** Somebody who adds a card that is there already in another object. */
  async function merging(request: "expiry" | "detach", mode: Victim["mode"]): Promise<Victim> {
    const customer = `merges-${request}-${mode}`;
    const send = await caller(customer);
    const kept = await collected({ fingerprint: customer, exp_year: 2031 });
    expect((await send("POST", path, { paymentMethodId: kept })).status).to.equal(201);
    const renewed = await collected({ fingerprint: customer, exp_year: 2036 });
    const at = `POST /v1/payment_methods/${request === "expiry" ? kept : `${renewed}/detach`}`;
    const post = () => send("POST", path, { paymentMethodId: renewed }, headersOf);
    return { customer, request: at, mode, send: post, attached: 1, attachments: 2 };
  }

  async function removing(mode: Victim["mode"]): Promise<Victim> {
    const customer = `removes-${mode}`;
    const send = await caller(customer);
    const id = await collected({ fingerprint: customer });
    const { pk } = (await send("POST", path, { paymentMethodId: id })).body;
    const remove = () => send("DELETE", `${path}/${pk}`, undefined, headersOf);
    return {
      customer,
      request: `POST /v1/payment_methods/${id}/detach`,
      mode,
      send: remove,
      attached: 0,
      attachments: 1,
    };
  }

  before(async () => {
    api = await startApi({ projections: true, standIns: true });
    stripe = controlOf(api.providers, "stripe");
    await startCommandApi();
  });
  after(async () => {
    for (const child of children) child.kill("SIGKILL");
    await api?.stop();
  });

  it("agree with the provider in the end, wherever between two steps command API and worker were killed", async () => {
    const modes = ["hang-before", "hang-after"] as const;
    const victims: Victim[] = [];
    for (const mode of modes) {
      victims.push(await adding("GET /v1/customers/search", mode), await adding("POST /v1/customers", mode));
      victims.push(await adding("attach", mode), await merging("expiry", mode), await merging("detach", mode));
      victims.push(await removing(mode));
    }
    const first = new Map<Victim, Promise<Answer | Error>>();
    const stopped = (victim: Victim) =>
      stopAt(victim.request, victim.mode, () => {
        first.set(
          victim,
          victim.send().catch((error: Error) => error),
        );
      });
    // Those that are stopped at a request of their own go on together, the others one after the other.
    const isShared = ({ request }: Victim) => !request.includes("pm_");
    for (const victim of victims.filter(isShared)) await stopped(victim);
    await Promise.all(victims.filter((victim) => !isShared(victim)).map(stopped));
    await kill(commandApi);
    const intents = await Promise.all(victims.map(({ customer }) => inOurLog(api, owner(customer))));
    for (const methods of intents) expect(methods, "the intent is in the log").not.to.deep.equal([]);

    // The clients ask again, under the same key, while nothing has been finished yet.
    await startCommandApi();
    const answers = await Promise.all(victims.map(({ send }) => send()));
    expect(answers.map(({ status }, index) => [victims[index]?.customer, status])).to.deep.equal(
      victims.map(({ customer }) => [
        customer,
        customer.startsWith("adds") ? 202 : customer.startsWith("merges") ? 200 : 204,
      ]),
    );

    // Nobody should have got an answer before; on a slow machine some did, and then this is the same.
    for (const [index, victim] of victims.entries()) {
      const told = await first.get(victim);
      if (told instanceof Error || told === undefined) continue;
      expect([told.status, told.body], victim.customer).to.deep.equal([answers[index]?.status, answers[index]?.body]);
    }

    // Half a minute later the worker takes up what was left open, and is killed over it: before and after Stripe has done it.
    const [one, two] = victims.filter(({ request }) => request.endsWith("/attach"));
    const [three, four] = victims.filter(({ customer }) => customer.startsWith("removes"));
    const atWork = [
      [one, "hang-before"],
      [two, "hang-after"],
      [three, "hang-before"],
      [four, "hang-after"],
    ] as const;
    await stripe.reset();
    for (const [victim, mode] of atWork) await stripe.fail({ match: victim?.request ?? "-", mode });
    const worker = startWorker();
    await until("the worker is stopped in the middle of four duties", async () => {
      const requests = await stripe.requests();
      return atWork.every(([victim]) => requests.some((request) => request === victim?.request));
    });
    await kill(worker);
    await stripe.reset();
    startWorker();
    await until("everything is finished", async () => {
      const all = (await Promise.all(victims.map(({ customer }) => inOurLog(api, owner(customer))))).flat();
      return all.every(({ settled, letGo }) => settled && letGo === null);
    });

    for (const { customer, attached, attachments } of victims) {
      await expectAgreement(api, stripe, owner(customer));
      const there = await atStripe(stripe, owner(customer));
      const seen = {
        customers: there.customers.length,
        attached: there.attached.length,
        attachments: there.attachments,
      };
      expect(seen, customer).to.deep.equal({ customers: 1, attached, attachments });
    }
    // And whoever asks once more gets the answer that was given first.
    for (const [index, { send, customer }] of victims.entries()) {
      const again = await send();
      expect([again.status, again.body], customer).to.deep.equal([answers[index]?.status, answers[index]?.body]);
    }
  });
});
