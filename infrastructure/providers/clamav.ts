import { createRequire } from "node:module";
import type { Readable } from "node:stream";
import { createProviderCall, type ProviderCallOptions, ProviderUnavailable } from "./provider-call.js";

/** What a scanner says of a file. `unscannable`: it answers, but will not scan this one (larger than its limit). */
export type ScanVerdict =
  | { readonly kind: "clean" }
  | { readonly kind: "infected"; readonly signature: string }
  | { readonly kind: "unscannable" };

export type Scanner = {
  /**
   * Scans a stream to its end.
   *
   * @param open gives the bytes, once per try
   * @throws ProviderUnavailable when the scanner is away, too slow or broke off; whatever `open` throws
   */
  scan(open: () => Promise<Readable>): Promise<ScanVerdict>;
};

/** One scan may take so long; clamd's own limit is two minutes. */
const scanMs = 60_000;
/** The client holds what clamd has not taken yet in memory, so few files are scanned at once. */
const atOnce = 2;

/**
 * clamd over TCP (INSTREAM), by clamscan.
 *
 * @param url `tcp://host:3310`
 * @param options.onCall told of every scan
 */
export function createScanner(
  url: string,
  { timeoutMs = scanMs, onCall }: { timeoutMs?: number; onCall?: ProviderCallOptions["onCall"] } = {},
): Scanner {
  const { hostname, port } = new URL(url);
  const call = createProviderCall({
    ...{ provider: "clamav", timeoutMs, attempts: 1, concurrency: atOnce },
    onCall,
  });
  let client: Promise<NodeClam> | undefined;

  const connect = async () => {
    const NodeClamScan = createRequire(import.meta.url)("clamscan") as new () => NodeClam;
    return new NodeClamScan().init({
      preference: "clamdscan",
      clamscan: { active: false },
      clamdscan: {
        host: hostname.replace(/^\[|\]$/g, ""),
        port: Number(port || 3310),
        timeout: timeoutMs,
        localFallback: false,
        bypassTest: true,
      },
    });
  };

  return {
    scan: (open) =>
      call(async (signal) => {
        client ??= connect();
        const scanner = await client;
        const bytes = await open();
        // Given up, it must not go on feeding the scanner.
        const stop = () => void bytes.destroy();
        signal.addEventListener("abort", stop, { once: true });
        try {
          return verdictOf(await scanner.scanStream(bytes));
        } catch (error) {
          if (sizeRefused(error)) return { kind: "unscannable" };
          throw error instanceof ProviderUnavailable ? error : new ProviderUnavailable("clamav", { cause: error });
        } finally {
          signal.removeEventListener("abort", stop);
          bytes.destroy();
        }
      }),
  };
}

/** What we use of clamscan, which has no types. */
type NodeClam = {
  init(options: object): Promise<NodeClam>;
  scanStream(stream: Readable): Promise<ScanResult>;
};
type ScanResult = { readonly isInfected: boolean | null; readonly viruses: readonly string[] };

function verdictOf({ isInfected, viruses }: ScanResult): ScanVerdict {
  // Neither yes nor no: the connection ended before clamd had said anything.
  if (isInfected === null) throw new ProviderUnavailable("clamav");
  return isInfected ? { kind: "infected", signature: viruses[0] ?? "unnamed" } : { kind: "clean" };
}

function sizeRefused(error: unknown): boolean {
  return /size limit exceeded/i.test(
    `${(error as Error).message} ${JSON.stringify((error as { data?: unknown }).data ?? "")}`,
  );
}
