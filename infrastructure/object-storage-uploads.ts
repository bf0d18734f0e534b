import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "minio";
import { ProviderUnavailable } from "./providers/provider-call.js";

/** S3 takes no smaller parts but the last. Each is held in memory until it is stored. */
export const partSize = 5 * 1024 * 1024;
/** Parts held at once by this process, whatever comes in: uploads beyond it wait, and their clients with them. */
const partsAtOnce = 6;
/** Whoever waits longer for a place than this is turned away. */
const placeMs = 20_000;

/**
 * Stores bytes of unknown number under a key, in bounded memory.
 *
 * @param key must be fresh for each upload: two of one key could mix their parts
 * @param source is read no faster than the store takes it
 * @param contentTypeOf is told the first bytes (a whole part, or all there are) before any of them leaves; it may
 *   throw, and nothing is stored
 * @returns the number of bytes
 * @throws ProviderUnavailable, or whatever `source` and `contentTypeOf` throw; no parts are left behind then, unless
 *   the store is away
 */
export type Upload = (
  key: string,
  source: AsyncIterable<Buffer>,
  contentTypeOf: (head: Buffer) => string | Promise<string>,
) => Promise<number>;

type Part = { readonly part: number; readonly etag: string };
type Call = <Result>(work: () => Promise<Result>) => Promise<Result>;

/** Uploads of one process to one bucket; they share a fixed number of part buffers. */
export function createUploads(client: Client, bucket: string, call: Call): Upload {
  const buffers = new PartBuffers(partsAtOnce);

  return async (key, source, contentTypeOf) => {
    const sent: Part[] = [];
    let headers: { "Content-Type": string } | undefined;
    let uploadId: string | undefined;
    let buffer: Buffer | undefined;
    let filled = 0;
    let size = 0;

    const describe = async (bytes: Buffer) => {
      headers ??= { "Content-Type": await contentTypeOf(bytes) };
      return headers;
    };
    const sendPart = async (bytes: Buffer) => {
      const described = await describe(bytes);
      const id = (uploadId ??= await call(() => client.initiateNewMultipartUpload(bucket, key, described)));
      const partNumber = sent.length + 1;
      const place = { bucketName: bucket, objectName: key, uploadID: id, partNumber, headers: {} };
      const { etag } = await call(() => client.uploadPart(place, bytes));
      sent.push({ part: partNumber, etag });
    };

    try {
      for await (const chunk of source) {
        for (let taken = 0; taken < chunk.length; ) {
          buffer ??= await buffers.take();
          const copied = chunk.copy(buffer, filled, taken);
          taken += copied;
          filled += copied;
          size += copied;
          if (filled < partSize) continue;
          await sendPart(buffer);
          buffers.giveBack(buffer);
          buffer = undefined;
          filled = 0;
        }
      }
      const rest = buffer?.subarray(0, filled) ?? Buffer.alloc(0);
      if (uploadId === undefined) {
        const described = await describe(rest);
        await call(() => client.putObject(bucket, key, rest, rest.length, described));
      } else {
        if (filled > 0) await sendPart(rest);
        const id = uploadId;
        await call(() => client.completeMultipartUpload(bucket, key, id, sent));
      }
      if (buffer) buffers.giveBack(buffer);
      return size;
    } catch (error) {
      // A call that was given up may still be reading the buffer: it is not used again.
      if (buffer) buffers.lose();
      if (uploadId !== undefined) {
        // Where this fails as well, the sweep of unfinished uploads comes by.
        await client.abortMultipartUpload(bucket, key, uploadId).catch(() => {});
      }
      throw error;
    }
  };
}

/** A fixed number of part buffers, made when first used and handed on; first come, first served. */
class PartBuffers {
  readonly #free: Buffer[] = [];
  readonly #waiting: (() => void)[] = [];
  #places: number;

  constructor(places: number) {
    this.#places = places;
  }

  async take(): Promise<Buffer> {
    if (this.#places > 0) this.#places--;
    else await this.#turn();
    // Memory of its own, not of Node's shared pool; its pages are taken when they are first written.
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(partSize);
  }

  giveBack(buffer: Buffer): void {
    this.#free.push(buffer);
    this.lose();
  }

  /** Frees the place, not the buffer. */
  lose(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#places++;
  }

  async #turn(): Promise<void> {
    const stop = new AbortController();
    let own: (() => void) | undefined;
    const called = new Promise<true>((resolve) => {
      own = () => resolve(true);
      this.#waiting.push(own);
    });
    const late = delay(placeMs, false, { signal: stop.signal, ref: false }).catch(() => false);
    if (await Promise.race([called, late])) {
      stop.abort();
      return;
    }
    const index = this.#waiting.indexOf(own as () => void);
    // Called in the same moment as it was late: the place is ours after all.
    if (index < 0) return;
    this.#waiting.splice(index, 1);
    throw new ProviderUnavailable("object-storage", { retryAfterSeconds: 5 });
  }
}
