import { type Collection, type Document, MongoError, MongoServerError } from "mongodb";
import { isMongoUnavailable } from "#infrastructure/mongo.js";
import { describeError } from "./parked.js";

/** A document as it is to be stored, with `_id`, `owner` and `_pos`. */
export type DocumentWrite = {
  readonly document: Document;
  /** Nothing is known to be there: inserting is far cheaper than comparing. */
  readonly isNew: boolean;
};

/** A document that MongoDB refuses (too large, say); its owner is parked when the batch is folded again. */
export class DocumentRefused extends Error {
  constructor(
    /** Name of the generation, `wishlist.v1.g2`. */
    readonly generation: string,
    readonly id: string,
    cause: unknown,
  ) {
    super(`the read model refuses a document: ${describeError(cause)}`, { cause });
    this.name = "DocumentRefused";
  }
}

/** Documents of one command: well below the 16 MB that a command may have. */
const perCommand = 1_000;

/**
 * Stores documents, each only where the collection has an older version of it or none. So a write may be repeated,
 * overtaken, or raced by another process: the newest version wins.
 *
 * The commands are sent as such: a `bulkWrite` measures every document twice, and as a retryable write it costs the
 * server a record of each statement, which nothing here needs. They are acknowledged by a majority, because the cursor
 * that follows must never stand behind documents that a server can still lose: with less, a MongoDB that dies and is
 * back between the two would take the cursor's update as if nothing were missing.
 *
 * @throws DocumentRefused for a document that MongoDB does not take
 * @throws the driver's error when it is away
 */
export async function writeDocuments(
  collection: Collection<Document>,
  writes: readonly DocumentWrite[],
): Promise<void> {
  const fresh = writes.filter(({ isNew }) => isNew).map(({ document }) => document);
  const replaced = writes.filter(({ isNew }) => !isNew).map(({ document }) => document);
  const commands = [
    ...chunks(fresh).map((documents) => () => insert(collection, documents)),
    ...chunks(replaced).map((documents) => () => replaceOlder(collection, documents)),
  ];
  for (const outcome of await Promise.allSettled(commands.map((run) => run()))) {
    if (outcome.status === "rejected") throw outcome.reason;
  }
}

async function insert(collection: Collection<Document>, documents: readonly Document[]): Promise<void> {
  const failed = await send(collection, { insert: collection.collectionName, documents }, documents, insert);
  // A duplicate key: somebody was there first, with an older version or with one as new.
  if (failed.length > 0) await replaceOlder(collection, failed);
}

async function replaceOlder(collection: Collection<Document>, documents: readonly Document[]): Promise<void> {
  const updates = documents.map((document) => ({
    // By `_id` alone, which spares the query planner; a missing `_pos` is less than any, so absence counts as older.
    q: { _id: document._id },
    u: [{ $replaceWith: { $cond: [{ $lt: ["$_pos", document._pos] }, { $literal: document }, "$$ROOT"] } }],
    upsert: true,
  }));
  const failed = await send(collection, { update: collection.collectionName, updates }, documents, replaceOlder);
  // Two upserts of one document met: it is there now.
  if (failed.length > 0) await replaceOlder(collection, failed);
}

/**
 * Sends a command about documents.
 *
 * @param half sends a part of them, when the whole is more than a command may hold
 * @returns those that failed because of a duplicate key
 */
async function send(
  collection: Collection<Document>,
  command: Document,
  documents: readonly Document[],
  half: (collection: Collection<Document>, documents: readonly Document[]) => Promise<void>,
): Promise<readonly Document[]> {
  const refused = (document: Document | undefined, cause: unknown) =>
    new DocumentRefused(collection.collectionName, String(document?._id), cause);
  let answer: Document;
  try {
    const options = { ordered: false, writeConcern: { w: "majority" } };
    answer = await collection.db.command({ ...command, ...options }, { ignoreUndefined: true });
  } catch (error) {
    if (isMongoUnavailable(error)) throw error;
    if (error instanceof MongoServerError && !documentFaults.has(error.code)) throw error;
    if (documents.length === 1) throw refused(documents[0], error);
    const middle = documents.length >> 1;
    await half(collection, documents.slice(0, middle));
    await half(collection, documents.slice(middle));
    return [];
  }
  if (answer.writeConcernError) throw new MongoError(answer.writeConcernError.errmsg);
  const failed: Document[] = [];
  for (const { index, code, errmsg } of (answer.writeErrors ?? []) as {
    index: number;
    code: number;
    errmsg: string;
  }[]) {
    if (code === duplicateKey) failed.push(documents[index] as Document);
    else if (serverStates.has(code)) throw new MongoError(errmsg);
    else throw refused(documents[index], new MongoError(errmsg));
  }
  return failed;
}

function* slices(documents: readonly Document[]): Generator<readonly Document[]> {
  for (let from = 0; from < documents.length; from += perCommand) yield documents.slice(from, from + perCommand);
}

const chunks = (documents: readonly Document[]) => [...slices(documents)];

const duplicateKey = 11_000;

/** Codes of a whole command that say a document in it is wrong: bad value, cannot be parsed, too large or too deep. */
const documentFaults: ReadonlySet<unknown> = new Set([2, 9, 15, 22, 10_334, 17_419, 17_420, 17_280]);

/** Codes that name a state of the server: stepped down, shutting down, interrupted, time limits, write concern. */
const serverStates: ReadonlySet<unknown> = new Set([
  6, 7, 50, 64, 89, 91, 100, 112, 189, 262, 9001, 10_107, 11_600, 11_602, 13_435, 13_436,
]);
