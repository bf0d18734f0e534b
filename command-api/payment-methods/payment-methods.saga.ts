import { setTimeout as delay } from "node:timers/promises";
import { type Owner, streams } from "#domain/core/identifiers.js";
import { type PaymentMethodsState, paymentMethodsDecider } from "#domain/payment-methods/payment-methods.decider.js";
import {
  letGo,
  type SagaHands,
  sagaHands,
  sagaSteps,
  settleAttach,
} from "#sagas/payment-methods/payment-methods.saga.js";
import type { CommandContext, Handled } from "#infrastructure/command-handler.js";
import { ProviderFault } from "#infrastructure/providers/provider-call.js";
import type { CommandDependencies } from "../dependencies.js";
import { commandIdOf } from "../idempotency.js";

type SagaDependencies = Pick<CommandDependencies, "commands" | "payments" | "clock" | "log">;

/** The provider's answer is waited for so long; then the customer is told that it is pending. */
const answerWithinMs = 5_000;
/** A repeat waits a little longer than the first request did: its record may just be on its way. */
const graceMs = 500;
const lookAgainMs = 100;

/** The saga's hands inside a request. */
export function requestHands(deps: SagaDependencies, owner: Owner, context: () => CommandContext): SagaHands {
  const { commands, payments } = deps;
  return sagaHands({ owner, commands, payments, context, isFault: (error) => error instanceof ProviderFault });
}

/**
 * Runs the saga of an attempt for as long as its request may wait. An outcome in time is recorded under the request's
 * own command id, a later one under another: so the log knows which answer was given, and a repeat gets the same.
 *
 * @returns the stream as of the outcome; undefined when it is not known yet, and then a duty sees to it
 */
export async function settleInTime(
  deps: SagaDependencies,
  owner: Owner,
  context: CommandContext,
  id: string,
): Promise<Handled<PaymentMethodsState> | undefined> {
  let isLate = false;
  let recording: Promise<unknown> = Promise.resolve();
  const late = { ...context, commandId: commandIdOf(["late", context.commandId]), idempotent: true };
  const noted: SagaDependencies["commands"] = {
    ...deps.commands,
    handle: (request) => {
      const handling = deps.commands.handle(request);
      recording = handling.catch(() => {});
      return handling;
    },
  };
  const hands = requestHands({ ...deps, commands: noted }, owner, () =>
    isLate ? late : { ...context, idempotent: true },
  );
  const work = async () => {
    await settleAttach(hands, id);
    await letGo(hands, id);
  };
  await inTime(deps, work);
  isLate = true;
  // What is being appended at this moment counts as in time.
  await recording;
  return recall(deps, owner, context, id);
}

/** Waits for the outcome of an attempt that another run of the same command, or another command, is about to record. */
export async function awaitOutcome<Found>(
  deps: SagaDependencies,
  requestedAt: string,
  look: () => Promise<Found | undefined>,
): Promise<Found | undefined> {
  const wait = answerWithinMs + graceMs;
  const [until, stop] = [Date.parse(requestedAt) + wait, performance.now() + wait];
  for (;;) {
    const found = await look();
    if (found !== undefined || deps.clock().getTime() >= until || performance.now() >= stop) return found;
    await delay(lookAgainMs);
  }
}

/** What this command recorded as the outcome of its attempt, if it did. */
export async function recall(
  { commands, clock }: SagaDependencies,
  owner: Owner,
  context: CommandContext,
  id: string,
): Promise<Handled<PaymentMethodsState> | undefined> {
  const handled = await commands.handle({
    decider: paymentMethodsDecider,
    stream: streams.paymentMethods(owner),
    // Decides nothing where the attempt is known: only the memory of the step is wanted.
    command: { type: "RequestAttach", id, provider: "stripe", token: "", setAsDefault: false, now: clock() },
    context: { ...context, idempotent: true, step: sagaSteps.outcome },
  });
  return handled.replayed ? handled : undefined;
}

/** Lets the provider let go within a request's time; what is not done then, a duty does. */
export async function letGoInTime(
  deps: SagaDependencies,
  owner: Owner,
  context: CommandContext,
  id: string,
): Promise<void> {
  const hands = requestHands(deps, owner, () => ({ ...context, idempotent: true }));
  await inTime(deps, () => letGo(hands, id));
}

/** Waits for work as long as a request may; it goes on afterwards, and its failure is only logged. */
async function inTime({ log }: SagaDependencies, work: () => Promise<void>): Promise<void> {
  const timer = new AbortController();
  const working = work()
    .catch((err: unknown) => log.warn({ err, area: "payment-methods" }, "left open at the provider, a duty sees to it"))
    .finally(() => timer.abort());
  await Promise.race([working, delay(answerWithinMs, undefined, { signal: timer.signal }).catch(() => {})]);
}
