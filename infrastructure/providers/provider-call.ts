import {
  BrokenCircuitError,
  bulkhead,
  circuitBreaker,
  ConsecutiveBreaker,
  ExponentialBackoff,
  handleType,
  retry,
  TaskCancelledError,
  TimeoutStrategy,
  timeout,
  wrap,
} from "cockatiel";

/** An outside party that we call; the label in metrics and logs. */
export type ProviderName =
  | "stripe"
  | "paypal"
  | "google-places"
  | "smtp"
  | "sms"
  | "clamav"
  | "object-storage"
  | "product-catalogue";

/**
 * The provider gave no usable answer in time: refused connection, time-out, 429 or 5xx. Whether it did what was asked
 * is not known, so the same call must be made again under the same key. Its message never reaches a customer.
 */
export class ProviderUnavailable extends Error {
  constructor(
    readonly provider: ProviderName,
    options?: { cause?: unknown; retryAfterSeconds?: number },
  ) {
    super(`${provider} gave no answer`, options?.cause === undefined ? undefined : { cause: options.cause });
    this.name = "ProviderUnavailable";
    this.retryAfterSeconds = options?.retryAfterSeconds;
  }

  readonly retryAfterSeconds: number | undefined;
}

/** The provider answered, but with what we cannot use: our request or its answer is at fault. Repeating will not help. */
export class ProviderFault extends Error {
  constructor(
    readonly provider: ProviderName,
    readonly reason: string,
    options?: { cause?: unknown },
  ) {
    super(`${provider}: ${reason}`, options);
    this.name = "ProviderFault";
  }
}

/** The provider will not deliver to this recipient: its number or mailbox does not exist, or wants no messages. */
export class RecipientRefused extends ProviderFault {
  constructor(provider: ProviderName, options?: { cause?: unknown }) {
    super(provider, "the recipient is refused", options);
    this.name = "RecipientRefused";
  }
}

/** The org has no credentials for this provider: 422 `INTEGRATION_NOT_CONFIGURED`. */
export class IntegrationNotConfigured extends Error {
  constructor(readonly provider: ProviderName) {
    super(`${provider} is not set up`);
    this.name = "IntegrationNotConfigured";
  }
}

export type ProviderCallOptions = {
  readonly provider: ProviderName;
  /** One try may take so long. */
  readonly timeoutMs: number;
  /** Tries altogether, with growing pauses between them; default 2. Only {@link ProviderUnavailable} is tried again. */
  readonly attempts?: number;
  /** Calls on their way at once, and as many again may wait; default 64. */
  readonly concurrency?: number;
  /** Told of every call. */
  readonly onCall?:
    | ((provider: ProviderName, outcome: "ok" | "unavailable" | "refused", seconds: number) => void)
    | undefined;
};

/** After so many failures in a row nobody waits for the provider any more, for this long. */
const breaker = { failures: 10, openMs: 5_000 };

export type ProviderCall = <Result>(work: (signal: AbortSignal) => Promise<Result>) => Promise<Result>;

/**
 * Bounds the calls to one provider: time, tries, calls at once, and a circuit breaker, so that a provider that hangs
 * costs a request little and the process nothing.
 *
 * The work is given a signal that aborts at its time limit; it throws {@link ProviderUnavailable} for what may be tried
 * again and anything else for an answer.
 *
 * @returns a function that does the work, or throws what the last try threw: ProviderUnavailable also when the time
 *   is up, the breaker is open or too many calls wait
 */
export function createProviderCall(options: ProviderCallOptions): ProviderCall {
  const { provider, timeoutMs, attempts = 2, concurrency = 64, onCall } = options;
  const transient = handleType(ProviderUnavailable).orType(TaskCancelledError);
  const policy = wrap(
    bulkhead(concurrency, concurrency),
    retry(transient, {
      maxAttempts: attempts - 1,
      backoff: new ExponentialBackoff({ initialDelay: 100, maxDelay: 2_000 }),
    }),
    circuitBreaker(transient, { halfOpenAfter: breaker.openMs, breaker: new ConsecutiveBreaker(breaker.failures) }),
    timeout(timeoutMs, TimeoutStrategy.Aggressive),
  );
  return async (work) => {
    const started = performance.now();
    const tell = (outcome: "ok" | "unavailable" | "refused") =>
      onCall?.(provider, outcome, (performance.now() - started) / 1_000);
    try {
      const result = await policy.execute(
        ({ signal }) => work(signal),
        // One of its own: on the library's common one every call would leave a listener.
        new AbortController().signal,
      );
      tell("ok");
      return result;
    } catch (error) {
      if (error instanceof ProviderUnavailable) {
        tell("unavailable");
        throw error;
      }
      if (error instanceof TaskCancelledError || error instanceof BrokenCircuitError || isTooMany(error)) {
        tell("unavailable");
        throw new ProviderUnavailable(provider, { cause: error });
      }
      tell("refused");
      throw error;
    }
  };
}

function isTooMany(error: unknown): boolean {
  return (error as { isBulkheadRejectedError?: boolean }).isBulkheadRejectedError === true;
}
