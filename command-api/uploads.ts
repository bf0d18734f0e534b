import { createHash } from "node:crypto";
import type { Readable } from "node:stream";
import busboy from "busboy";
import type { Request } from "express";
import { agrees, contentTypeOf, TextCheck, textTypeOf } from "#infrastructure/content-types.js";
import { type FieldError, Problem } from "#infrastructure/http/problem-details.js";
import type { ObjectStorage } from "#infrastructure/object-storage.js";

/** A file of a form, already in the object store and named by nothing yet. */
export type ReceivedFile = {
  /** Name of the form's field. */
  readonly field: string;
  /** As the client has it, without folders. */
  readonly name: string;
  readonly key: string;
  readonly size: number;
  /** Hex. */
  readonly sha256: string;
  /** What the bytes are, whatever the client says. */
  readonly contentType: string;
};

export type ReceivedForm = {
  readonly fields: Readonly<Record<string, string>>;
  readonly files: readonly ReceivedFile[];
};

export type FormRules = {
  /** Names of the fields that may hold a file, and of those that hold text. */
  readonly fileFields: readonly string[];
  readonly textFields: readonly string[];
  readonly maxFiles: number;
  /** Largest file and types taken, as far as the fields that came so far tell; asked again when all are here. */
  readonly maxBytes: (fields: Readonly<Record<string, string>>) => number;
  readonly accepts: (contentType: string, fields: Readonly<Record<string, string>>) => boolean;
  /** Key of a fresh object to put a file under: not one that anything names. */
  readonly freshKey: () => string;
};

/** Bytes of one text field. */
const fieldBytes = 16 * 1024;
/** A client that sends nothing for so long, while we wait for it, has gone. */
const stallMs = 20_000;

/**
 * Receives a form with files: each file goes straight into the object store, in bounded memory, while it is counted,
 * digested and looked at. Fields may come in any order. Either all of it is received, or nothing stays behind: what was
 * stored is removed again, and what cannot be removed is an orphan, which a sweep finds.
 *
 * @returns the form, once its last byte is here and every file is stored
 * @throws Problem 400 `MULTIPART_INVALID`, `UNKNOWN_FIELD`; 408 `REQUEST_TIMEOUT`; 413 `FILE_TOO_LARGE`; 415
 *   `FILE_TYPE_NOT_ALLOWED`, `CONTENT_TYPE_MISMATCH`; 422 `EMPTY_FILE`, `TOO_MANY_FILES`
 * @throws ProviderUnavailable when the object store is away, slow or full
 */
export async function receiveForm(req: Request, storage: ObjectStorage, rules: FormRules): Promise<ReceivedForm> {
  const declaredLength = Number(req.headers["content-length"] ?? 0);
  // Not a byte is read of what cannot fit.
  if (declaredLength > rules.maxFiles * (rules.maxBytes({}) + fieldBytes) + 1024 * 1024)
    throw tooLarge(rules.maxBytes({}));
  const parser = openParser(req, rules);
  const fields: Record<string, string> = {};
  const files: ReceivedFile[] = [];
  const storing = new Set<Promise<void>>();
  const streams = new Set<Readable>();
  const keys: string[] = [];
  const faults: FieldError[] = [];
  let stall: NodeJS.Timeout | undefined;

  try {
    await new Promise<void>((resolve, reject) => {
      let settled = false;
      // A broken body makes the parser tell of an error and of its end, in this order or the other.
      const settle = (problem?: unknown) => {
        if (settled) return;
        settled = true;
        if (problem === undefined) resolve();
        else reject(problem);
      };
      const invalid = (detail: string) => settle(new Problem(400, "MULTIPART_INVALID", { detail }));

      parser.on("field", (name, value, { nameTruncated, valueTruncated }) => {
        if (nameTruncated || valueTruncated) faults.push(fault(name, "TOO_LONG", "is too long"));
        else if (!rules.textFields.includes(name)) faults.push(unknown(name));
        else if (Object.hasOwn(fields, name)) faults.push(fault(name, "INVALID", "must be given once"));
        else fields[name] = value;
      });
      parser.on("file", (field, stream, { filename, mimeType }) => {
        if (settled || !rules.fileFields.includes(field)) {
          if (!settled) settle(new Problem(400, "UNKNOWN_FIELD", { errors: [unknown(field)] }));
          stream.resume();
          return;
        }
        streams.add(stream);
        const key = rules.freshKey();
        keys.push(key);
        const stored = storeMeasured(storage, stream, {
          key,
          declared: mimeType,
          maxBytes: () => rules.maxBytes(fields),
          accepts: (contentType) => rules.accepts(contentType, fields),
        })
          .then((file) => void files.push({ field, name: filename ?? "", key, ...file }))
          .catch(settle)
          .finally(() => streams.delete(stream));
        storing.add(stored);
      });
      parser.on("filesLimit", () => settle(new Problem(422, "TOO_MANY_FILES", { params: { limit: rules.maxFiles } })));
      parser.on("fieldsLimit", () => invalid("too many fields"));
      parser.on("partsLimit", () => invalid("too many parts"));
      parser.on("error", (error: Error) => invalid(error.message));
      parser.on("close", () => void Promise.all(storing).then(() => settle()));
      req.on("error", () => invalid("the request was cut short"));
      req.on("close", () => {
        if (!req.complete) invalid("the request was cut short");
      });
      stall = watchForStall(req, parser, () => settle(new Problem(408, "REQUEST_TIMEOUT")));
      req.pipe(parser);
    });
    if (faults.length > 0) {
      const code = faults.some((one) => one.code === "UNKNOWN_FIELD") ? "UNKNOWN_FIELD" : "VALIDATION_FAILED";
      throw new Problem(400, code, { errors: faults });
    }
    checkAgain({ fields, files }, rules);
    return { fields, files };
  } catch (error) {
    req.unpipe(parser);
    // What still comes is let go by; the answer need not wait for it.
    req.resume();
    for (const stream of streams) stream.destroy(new Error("given up"));
    await Promise.all(storing);
    await discard(storage, keys);
    throw error;
  } finally {
    clearInterval(stall);
  }
}

/** Removes objects that nothing will name. Where the store is away they become orphans, which a sweep finds. */
export async function discard(storage: Pick<ObjectStorage, "remove">, keys: readonly string[]): Promise<void> {
  await storage.remove(keys).catch(() => {});
}

function openParser(req: Request, { maxFiles, textFields }: FormRules): busboy.Busboy {
  const limits = {
    files: maxFiles,
    fields: textFields.length + 20,
    fieldSize: fieldBytes,
    fieldNameSize: 100,
    headerPairs: 50,
  };
  try {
    return busboy({ headers: req.headers, defParamCharset: "utf8", limits });
  } catch (error) {
    throw new Problem(400, "MULTIPART_INVALID", { detail: (error as Error).message });
  }
}

export type MeasureRules = {
  /** A fresh one. */
  readonly key: string;
  /** Type that the client says it is of. */
  readonly declared: string;
  readonly maxBytes: () => number;
  readonly accepts: (contentType: string) => boolean;
};

/**
 * Stores a stream under a fresh key while its bytes are counted, digested and looked at.
 *
 * @throws Problem 413, 415, 422 as {@link receiveForm} does, and nothing is stored; ProviderUnavailable
 */
export async function storeMeasured(
  storage: ObjectStorage,
  stream: Readable,
  { key, declared, maxBytes, accepts }: MeasureRules,
): Promise<Pick<ReceivedFile, "size" | "sha256" | "contentType">> {
  const hash = createHash("sha256");
  const text = new TextCheck();
  let contentType = "";
  let size = 0;
  const measured = async function* (): AsyncGenerator<Buffer> {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > maxBytes()) throw tooLarge(maxBytes());
      hash.update(chunk);
      text.add(chunk);
      yield chunk;
    }
    text.end();
    // Its beginning looked like text; all of it must be.
    if (contentType.startsWith("text/") && !text.holds) throw typeNotAllowed();
  };
  await storage.upload(key, measured(), async (head) => {
    if (head.length === 0) throw new Problem(422, "EMPTY_FILE");
    contentType = await recognise(head, text.holds, declared);
    if (!accepts(contentType)) throw typeNotAllowed();
    return contentType;
  });
  return { size, sha256: hash.digest("hex"), contentType };
}

/** What the bytes are; the client may say less than that, but nothing else. */
async function recognise(head: Buffer, text: boolean, declared: string): Promise<string> {
  const found = (await contentTypeOf(head)) ?? (text ? textTypeOf(head, declared) : undefined);
  if (found === undefined) throw typeNotAllowed();
  if (!agrees(declared, found)) {
    throw new Problem(415, "CONTENT_TYPE_MISMATCH", { params: { declared: declared.slice(0, 100), found } });
  }
  return found;
}

/** What only the whole form tells: a field that came after a file may forbid it. */
function checkAgain({ files, fields }: ReceivedForm, rules: FormRules): void {
  for (const { size, contentType } of files) {
    if (size > rules.maxBytes(fields)) throw tooLarge(rules.maxBytes(fields));
    if (!rules.accepts(contentType, fields)) throw typeNotAllowed();
  }
}

function tooLarge(limitBytes: number): Problem {
  return new Problem(413, "FILE_TOO_LARGE", { params: { limitBytes } });
}

function typeNotAllowed(): Problem {
  return new Problem(415, "FILE_TYPE_NOT_ALLOWED");
}

function fault(field: string, code: string, message: string): FieldError {
  return { field: field.slice(0, 100), code, message };
}

function unknown(field: string): FieldError {
  return fault(field, "UNKNOWN_FIELD", "is not a known field");
}

/** Tells when the client has sent nothing for a while although we were waiting for it. */
function watchForStall(req: Request, parser: busboy.Busboy, onStall: () => void): NodeJS.Timeout {
  let seen = req.socket.bytesRead;
  let since = performance.now();
  return setInterval(() => {
    const now = performance.now();
    // What the parser still holds waits for the object store: then nobody reads, and the client is not to blame.
    if (req.socket.bytesRead !== seen || req.complete || parser.writableLength > 0) since = now;
    seen = req.socket.bytesRead;
    if (now - since > stallMs) onStall();
  }, 1_000);
}
