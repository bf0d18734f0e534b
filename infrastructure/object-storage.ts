import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import type { Socket } from "node:net";
import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { Client, CopyConditions } from "minio";
import type { Environment } from "./environment.js";
import { createUploads, partSize, type Upload } from "./object-storage-uploads.js";
import { createProviderCall, type ProviderCallOptions, ProviderUnavailable } from "./providers/provider-call.js";

/** The part of the environment that names the object store. */
export const objectStorageEnvironment = [
  "S3_ENDPOINT",
  "S3_PUBLIC_ENDPOINT",
  "S3_ACCESS_KEY",
  "S3_SECRET_KEY",
  "S3_BUCKET",
  "S3_REGION",
] as const;

export type StoredObject = { readonly size: number; readonly contentType: string };

/** A link that anybody who has it may follow until it expires. */
export type SignedLink = { readonly url: string; readonly expiresAt: string };

export type LinkOptions = {
  /** Default GET. */
  readonly method?: "GET" | "HEAD";
  /** What the store shall answer with, instead of what the object was stored with. */
  readonly contentType?: string;
  readonly disposition?: string;
};

/** A form that a client may post an object with, straight to the store. */
export type PostForm = SignedLink & { readonly fields: Readonly<Record<string, string>> };

/**
 * What we use of an object store. Every call is bounded in time and throws ProviderUnavailable when the store cannot
 * be reached, is too slow, is full or refuses us: a customer can do nothing about any of them but try again.
 */
export type ObjectStorage = {
  readonly client: Client;
  readonly bucket: string;
  /** Makes the bucket when it is missing; safe to call from several processes. */
  ensureBucket(): Promise<void>;
  /** One round trip. Throws when the store cannot be reached or refuses the credentials. */
  ping(): Promise<void>;
  /** Stores bytes of unknown number in bounded memory; see {@link Upload}. */
  readonly upload: Upload;
  /** Stores bytes at hand; replaces what is there. */
  put(key: string, bytes: Buffer, contentType: string): Promise<void>;
  /** Null when there is no such object. */
  stat(key: string): Promise<StoredObject | null>;
  /** The object's bytes; null when there is no such object. The caller reads or destroys the stream. */
  read(key: string): Promise<Readable | null>;
  /** Copies within the store, content type included; false when there is no such object. */
  copy(from: string, to: string): Promise<boolean>;
  /** Removes objects; fine when they are not there. */
  remove(keys: readonly string[]): Promise<void>;
  /** Objects whose keys begin with a prefix. */
  list(prefix: string): AsyncIterable<{ readonly key: string; readonly modifiedAt: Date }>;
  /** Ends uploads of a prefix that were begun before a time and never finished: their parts take room unseen. */
  abandonUploads(prefix: string, begunBefore: Date): Promise<number>;
  /** A link to one object, good for some seconds from now. Costs no round trip. */
  link(key: string, seconds: number, options?: LinkOptions): Promise<SignedLink>;
  /**
   * A link that is the same for everybody who asks within a quarter of an hour, so that caches and entity tags hold,
   * and good for at least as long again.
   */
  steadyLink(key: string, options?: LinkOptions): Promise<SignedLink>;
  /** A form that stores exactly one object of this key and type, of 1 to `maxBytes` bytes. */
  postForm(key: string, form: { contentType: string; maxBytes: number; seconds: number }): Promise<PostForm>;
};

const steadyLinkSeconds = 900;

/** The quarter of an hour that signed fields are signed in now: with another one comes another answer. */
export function steadyLinkPeriod(): string {
  return `#${Math.floor(Date.now() / (steadyLinkSeconds * 1_000))}`;
}

/** A connection on which nothing moves for so long is given up; one call may take longer. */
const silenceMs = 15_000;
const callMs = 40_000;
/** What fails sooner than this is tried once more: a connection that was closed while it lay idle, a hiccup. */
const quickMs = 2_000;

/**
 * The object store of files and attachments, over any S3. Nothing is connected before the first call.
 *
 * @param onCall told of every call
 */
export function createObjectStorage(
  environment: Pick<Environment, Exclude<(typeof objectStorageEnvironment)[number], "S3_PUBLIC_ENDPOINT">> & {
    readonly S3_PUBLIC_ENDPOINT?: string | undefined;
  },
  onCall?: ProviderCallOptions["onCall"],
): ObjectStorage {
  const bucket = environment.S3_BUCKET;
  const client = clientFor(environment.S3_ENDPOINT, environment);
  // What is signed for devices must name the host that they reach the store at.
  const signer = clientFor(environment.S3_PUBLIC_ENDPOINT ?? environment.S3_ENDPOINT, environment);
  const guarded = createProviderCall({
    ...{ provider: "object-storage", timeoutMs: callMs, attempts: 1 },
    onCall,
  });
  const call = <Result>(work: () => Promise<Result>) => guarded(() => twiceIfQuick(work).catch(fail));

  const sign = (key: string, seconds: number, from: Date, { method = "GET", ...options }: LinkOptions) =>
    signer.presignedUrl(method, bucket, key, seconds, overrides(options), from);

  return {
    client,
    bucket,
    async ensureBucket() {
      if (await client.bucketExists(bucket)) return;
      try {
        await client.makeBucket(bucket, environment.S3_REGION);
      } catch (error) {
        // Another process was first.
        if (!(await client.bucketExists(bucket))) throw error;
      }
    },
    async ping() {
      if (!(await client.bucketExists(bucket))) throw new Error("the bucket does not exist");
    },
    upload: createUploads(client, bucket, call),
    async put(key, bytes, contentType) {
      await call(() => client.putObject(bucket, key, bytes, bytes.length, { "Content-Type": contentType }));
    },
    stat: (key) =>
      call(async () => {
        const found = await unlessMissing(client.statObject(bucket, key));
        if (!found) return null;
        const contentType: unknown = found.metaData["content-type"];
        return { size: found.size, contentType: typeof contentType === "string" ? contentType : "" };
      }),
    read: (key) => call(() => unlessMissing(client.getObject(bucket, key))),
    copy: (from, to) =>
      call(async () => {
        const source = `/${bucket}/${encodeURIComponent(from).replaceAll("%2F", "/")}`;
        return (await unlessMissing(client.copyObject(bucket, to, source, new CopyConditions()))) !== null;
      }),
    async remove(keys) {
      // One by one: not every S3 takes a batch, and there are three at most.
      for (const key of keys) await call(() => client.removeObject(bucket, key));
    },
    async *list(prefix) {
      try {
        for await (const { name, lastModified } of client.listObjectsV2(bucket, prefix, true)) {
          if (name !== undefined && lastModified !== undefined) yield { key: name, modifiedAt: lastModified };
        }
      } catch (error) {
        fail(error);
      }
    },
    async abandonUploads(prefix, begunBefore) {
      let abandoned = 0;
      try {
        for await (const found of client.listIncompleteUploads(bucket, prefix, true)) {
          const { key, uploadId, initiated } = found as { key: string; uploadId: string; initiated?: Date };
          if (initiated === undefined || initiated >= begunBefore) continue;
          await client.abortMultipartUpload(bucket, key, uploadId);
          abandoned++;
        }
      } catch (error) {
        fail(error);
      }
      return abandoned;
    },
    // The store judges a link by its own clock, so it is signed by the real one.
    async link(key, seconds, options = {}) {
      const now = new Date();
      return { url: await sign(key, seconds, now, options), expiresAt: after(now, seconds) };
    },
    async steadyLink(key, options = {}) {
      const from = new Date(Math.floor(Date.now() / (steadyLinkSeconds * 1_000)) * steadyLinkSeconds * 1_000);
      const seconds = 2 * steadyLinkSeconds;
      return { url: await sign(key, seconds, from, options), expiresAt: after(from, seconds) };
    },
    async postForm(key, { contentType, maxBytes, seconds }) {
      const expires = new Date(Date.now() + seconds * 1_000);
      const policy = signer.newPostPolicy();
      policy.setBucket(bucket);
      policy.setKey(key);
      policy.setExpires(expires);
      policy.setContentType(contentType);
      policy.setContentLengthRange(1, maxBytes);
      const { postURL, formData } = await signer.presignedPostPolicy(policy);
      return { url: postURL, fields: formData as Record<string, string>, expiresAt: expires.toISOString() };
    },
  };
}

function clientFor(
  endpoint: string,
  environment: Pick<Environment, "S3_ACCESS_KEY" | "S3_SECRET_KEY" | "S3_REGION">,
): Client {
  const { protocol, hostname, port } = new URL(endpoint);
  const useSSL = protocol === "https:";
  const client = new Client({
    endPoint: hostname.replace(/^\[|\]$/g, ""),
    ...(port ? { port: Number(port) } : {}),
    useSSL,
    accessKey: environment.S3_ACCESS_KEY,
    secretKey: environment.S3_SECRET_KEY,
    // Without a region every signature would first ask for the bucket's location.
    region: environment.S3_REGION,
    pathStyle: true,
    partSize,
    // Its own tries write to the console; ours are bounded.
    retryOptions: { disableRetry: true, maximumRetryCount: 0, baseDelayMs: 100, maximumDelayMs: 100 },
    transportAgent: impatientAgent(useSSL),
  });
  return client;
}

/** Connections that break when nothing moves: the client itself would wait for ever. */
function impatientAgent(useSSL: boolean): HttpAgent {
  const options = { keepAlive: true, timeout: silenceMs };
  const agent = useSSL ? new HttpsAgent(options) : new HttpAgent(options);
  const connect = agent.createConnection.bind(agent);
  agent.createConnection = (options, callback) => {
    const socket = connect(options, callback) as Socket | undefined;
    socket?.on("timeout", () => socket.destroy(new Error("the object store fell silent")));
    return socket;
  };
  const reuse = agent.reuseSocket.bind(agent);
  agent.reuseSocket = (socket, request) => {
    reuse(socket, request);
    // While it lay idle it had the time that the store's `Keep-Alive` gave it, and Node leaves it at that.
    (socket as Socket).setTimeout(silenceMs);
  };
  return agent;
}

async function twiceIfQuick<Result>(work: () => Promise<Result>): Promise<Result> {
  const started = performance.now();
  try {
    return await work();
  } catch (error) {
    if (performance.now() - started > quickMs) throw error;
    await delay(100);
    return work();
  }
}

function overrides({ contentType, disposition }: LinkOptions): Record<string, string> {
  return {
    ...(contentType === undefined ? {} : { "response-content-type": contentType }),
    ...(disposition === undefined ? {} : { "response-content-disposition": disposition }),
  };
}

function after(time: Date, seconds: number): string {
  return new Date(time.getTime() + seconds * 1_000).toISOString();
}

const missingCodes: readonly unknown[] = ["NoSuchKey", "NotFound", "NoSuchUpload"];

async function unlessMissing<Result>(asked: Promise<Result>): Promise<Result | null> {
  try {
    return await asked;
  } catch (error) {
    if (missingCodes.includes((error as { code?: unknown }).code)) return null;
    throw error;
  }
}

function fail(error: unknown): never {
  throw error instanceof ProviderUnavailable ? error : new ProviderUnavailable("object-storage", { cause: error });
}
