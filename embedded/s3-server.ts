/**
 * The local S3: a process of its own around s3rver, which keeps objects as files and checks signatures.
 *
 *     node dist/embedded/s3-server.js --port N --directory DIR --bucket NAME
 *
 * Its credentials are fixed by s3rver: access key and secret key are both `S3RVER`.
 */
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { parseArgs } from "node:util";

type S3rver = {
  configureBuckets(): Promise<unknown>;
  callback(): (request: import("node:http").IncomingMessage, response: import("node:http").ServerResponse) => void;
};
type S3rverOptions = { directory: string; silent: boolean; configureBuckets: { name: string; configs: string[] }[] };

// The class itself, not its `.default`: it extends Koa and inherits Koa's own `default`.
const S3rverClass = createRequire(import.meta.url)("@20minutes/s3rver") as new (options: S3rverOptions) => S3rver;

const { values } = parseArgs({
  options: {
    port: { type: "string" },
    directory: { type: "string" },
    bucket: { type: "string" },
  },
});
const { port, directory, bucket } = values;
if (!port || !directory || !bucket) {
  process.stderr.write("usage: s3-server --port N --directory DIR --bucket NAME\n");
  process.exit(2);
}

const s3rver = new S3rverClass({ directory, silent: true, configureBuckets: [{ name: bucket, configs: [] }] });
await s3rver.configureBuckets();
const handle = s3rver.callback();

/**
 * An upload of unknown size makes the minio client first ask for unfinished uploads of the key
 * (ListMultipartUploads), the one call s3rver does not have. There never are any to resume.
 */
const noUploads = (name: string) =>
  '<?xml version="1.0" encoding="UTF-8"?>' +
  `<ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Bucket>${name}</Bucket>` +
  "<IsTruncated>false</IsTruncated></ListMultipartUploadsResult>";

/**
 * s3rver computes the signature of a query with `encodeURIComponent`, which leaves `!'()*` as they are where SigV4
 * wants them escaped: a link with `filename*=UTF-8''…` would be refused. This process is its alone.
 */
const encode = globalThis.encodeURIComponent;
globalThis.encodeURIComponent = (value) =>
  encode(value).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);

const server = createServer((request, response) => {
  const url = new URL(request.url ?? "/", "http://local");
  const name = /^\/([a-z0-9.-]+)\/?$/.exec(url.pathname)?.[1];
  if (request.method === "GET" && name && url.searchParams.has("uploads")) {
    response.writeHead(200, { "content-type": "application/xml" }).end(noUploads(name));
    return;
  }
  handle(request, response);
});
server.on("error", (error) => {
  process.stderr.write(`The S3 server could not start: ${error.message}\n`);
  process.exit(1);
});
server.listen(Number(port), "127.0.0.1", () => process.stdout.write(`s3 ready on http://127.0.0.1:${port}\n`));

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.on(signal, () => {
    server.close(() => process.exit(0));
    server.closeIdleConnections();
    setTimeout(() => process.exit(0), 2_000).unref();
  });
}
