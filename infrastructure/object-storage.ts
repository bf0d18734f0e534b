import { Client } from "minio";
import type { Environment } from "./environment.js";

/** Parts of an upload of unknown size: each is held in memory, so they are kept small. */
const partSize = 5 * 1024 * 1024;

export type ObjectStorage = {
  readonly client: Client;
  readonly bucket: string;
  /** Makes the bucket when it is missing; safe to call from several processes. */
  ensureBucket(): Promise<void>;
  /** One round trip. Throws when the store cannot be reached or refuses the credentials. */
  ping(): Promise<void>;
};

/** The object store of files and attachments, over any S3. Nothing is connected before the first call. */
export function createObjectStorage(
  environment: Pick<Environment, "S3_ENDPOINT" | "S3_ACCESS_KEY" | "S3_SECRET_KEY" | "S3_BUCKET" | "S3_REGION">,
): ObjectStorage {
  const { protocol, hostname, port } = new URL(environment.S3_ENDPOINT);
  const bucket = environment.S3_BUCKET;
  const client = new Client({
    endPoint: hostname.replace(/^\[|\]$/g, ""),
    ...(port ? { port: Number(port) } : {}),
    useSSL: protocol === "https:",
    accessKey: environment.S3_ACCESS_KEY,
    secretKey: environment.S3_SECRET_KEY,
    // Without a region every signature would first ask for the bucket's location.
    region: environment.S3_REGION,
    pathStyle: true,
    partSize,
  });
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
  };
}
