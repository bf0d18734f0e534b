import { createHmac, createSecretKey, type KeyObject, randomBytes } from "node:crypto";
import { LRUCache } from "lru-cache";
import { Binary, type Collection, type MongoClient, MongoBulkWriteError } from "mongodb";
import type { OwnerKey } from "#domain/core/identifiers.js";
import type { MasterKey } from "./environment.js";
import { open, seal } from "./sealing.js";

/** The data keys of one owner, unwrapped. */
export type OwnerKeys = {
  /** Seals personal data; null once destroyed: what it sealed is erased. */
  readonly customer: KeyObject | null;
  /** Seals what the law makes us keep; outlives an erasure. */
  readonly legal: KeyObject;
  /** Keys the hashes of commands; derived from the customer's key and gone with it. */
  readonly hashing: KeyObject | null;
};

export type PersonalDataKeys = {
  /** Keys known from the last five minutes; undefined when they must be looked up. */
  cached(owner: OwnerKey): OwnerKeys | undefined;
  /** Looks keys up for opening; null when the owner never had any. Calls of one moment share a query. */
  find(owner: OwnerKey): Promise<OwnerKeys | null>;
  /** Keys for sealing, made on first use and read back before they are handed out. */
  findOrCreate(owner: OwnerKey): Promise<OwnerKeys>;
  /**
   * Destroys the customer's key for good and leaves a tombstone, also where there was no key yet. Repeatable. Other
   * processes forget the key within five minutes, or when told by {@link PersonalDataKeys.forget}.
   */
  destroy(owner: OwnerKey): Promise<void>;
  /** Drops keys from this process's cache. */
  forget(owner: OwnerKey): void;
  /**
   * HMAC-SHA-256 under the customer's key, base64url: a bare hash of a short body can be reversed by trying.
   *
   * @returns undefined when the key is destroyed
   */
  hmac(owner: OwnerKey, text: string): Promise<string | undefined>;
  /** Wraps every key that is under an older master key again under the current one; returns how many. */
  rewrap(): Promise<number>;
  /** @throws MasterKeyMismatch when stored keys are under a master key that is missing or not the one they need */
  check(): Promise<void>;
};

/** Stored keys cannot be unwrapped with the master keys given: a configuration fault, or a foreign key database. */
export class MasterKeyMismatch extends Error {
  constructor(masterKeyId: string, why: "missing" | "different") {
    super(
      why === "missing"
        ? `stored data keys are wrapped under master key "${masterKeyId}", which MASTER_KEYS does not name`
        : `master key "${masterKeyId}" in MASTER_KEYS is not the one that wrapped the stored data keys`,
    );
    this.name = "MasterKeyMismatch";
  }
}

type KeyDocument = {
  readonly _id: OwnerKey;
  readonly masterKeyId: string;
  /** Wrapped; absent in a tombstone. */
  readonly customer?: Binary;
  readonly legal: Binary;
  readonly createdAt: Date;
  readonly destroyedAt?: Date;
};

const cacheMs = 5 * 60_000;
const cacheSize = 20_000;
const batchSize = 1_000;

type Lookup = { create: boolean; settle: PromiseWithResolversOf<OwnerKeys | null> };
type PromiseWithResolversOf<T> = {
  promise: Promise<T>;
  resolve: (value: T) => void;
  reject: (reason: unknown) => void;
};

/**
 * The key store: one document per owner in a database of its own. Losing it erases every customer, so it is written
 * with majority and journal and is backed up by itself.
 *
 * @param client its MongoDB; may be another server than the read models'
 * @param masterKeys the current one first, older ones for reading
 */
export function createPersonalDataKeys(
  client: MongoClient,
  database: string,
  masterKeys: readonly MasterKey[],
): PersonalDataKeys {
  const collection: Collection<KeyDocument> = client.db(database).collection("keys", {
    readConcern: { level: "majority" },
    readPreference: "primary",
    writeConcern: { w: "majority", journal: true },
  });
  const masters = new Map(masterKeys.map(({ id, key }) => [id, createSecretKey(key)]));
  const current = masterKeys[0];
  if (!current) throw new Error("no master key given");
  const cache = new LRUCache<OwnerKey, OwnerKeys>({ max: cacheSize, ttl: cacheMs });
  const waiting = new Map<OwnerKey, Lookup>();
  let indexed = false;

  function unwrap(document: Pick<KeyDocument, "_id" | "masterKeyId">, kind: "customer" | "legal", wrapped: Binary) {
    const master = masters.get(document.masterKeyId);
    if (!master) throw new MasterKeyMismatch(document.masterKeyId, "missing");
    try {
      return createSecretKey(open(master, wrapped.buffer, `${document._id}|${kind}`));
    } catch {
      throw new MasterKeyMismatch(document.masterKeyId, "different");
    }
  }

  function wrap(owner: OwnerKey, kind: "customer" | "legal", key: Uint8Array): Binary {
    const master = masters.get((current as MasterKey).id) as KeyObject;
    return new Binary(seal(master, key, `${owner}|${kind}`));
  }

  function remember(document: KeyDocument): OwnerKeys {
    const customer = document.customer ? unwrap(document, "customer", document.customer) : null;
    let legal: KeyObject | undefined;
    let hashing: KeyObject | undefined;
    // Two of the three are made when first used: whoever folds a whole log meets every owner, and mostly needs one.
    const keys: OwnerKeys = {
      customer,
      get legal() {
        legal ??= unwrap(document, "legal", document.legal);
        return legal;
      },
      get hashing() {
        if (customer === null) return null;
        hashing ??= createSecretKey(createHmac("sha256", customer).update("command hash").digest());
        return hashing;
      },
    };
    cache.set(document._id, keys);
    return keys;
  }

  function newDocument(owner: OwnerKey): KeyDocument {
    return {
      _id: owner,
      masterKeyId: (current as MasterKey).id,
      customer: wrap(owner, "customer", randomBytes(32)),
      legal: wrap(owner, "legal", randomBytes(32)),
      createdAt: new Date(),
    };
  }

  async function lookUp(owner: OwnerKey, create: boolean): Promise<OwnerKeys | null> {
    const lookup = waiting.get(owner) ?? { create: false, settle: withResolvers<OwnerKeys | null>() };
    lookup.create ||= create;
    if (waiting.size === 0) setImmediate(answerWaiting);
    waiting.set(owner, lookup);
    return lookup.settle.promise;
  }

  /** One query for everybody who asked since the last turn of the event loop, and one insert for the new ones. */
  async function answerWaiting(): Promise<void> {
    const lookups = [...waiting];
    waiting.clear();
    for (let start = 0; start < lookups.length; start += batchSize) {
      const batch = new Map(lookups.slice(start, start + batchSize));
      try {
        const found = await fetchDocuments([...batch.keys()]);
        const missing = [...batch].filter(([owner, { create }]) => create && !found.has(owner));
        if (missing.length > 0) {
          const owners = missing.map(([owner]) => owner);
          await insertNew(owners.map(newDocument));
          // Read back: another process may have been first, and only what a majority holds may seal.
          for (const [owner, document] of await fetchDocuments(owners)) found.set(owner, document);
        }
        for (const [owner, { create, settle }] of batch) {
          const document = found.get(owner);
          if (document) settleWith(settle, () => remember(document));
          else if (create) settle.reject(new Error("a data key was not found after it was stored"));
          else settle.resolve(null);
        }
      } catch (error) {
        for (const { settle } of batch.values()) settle.reject(error);
      }
    }
  }

  async function fetchDocuments(owners: readonly OwnerKey[]): Promise<Map<OwnerKey, KeyDocument>> {
    const documents = await collection.find({ _id: { $in: [...owners] } }).toArray();
    return new Map(documents.map((document) => [document._id, document]));
  }

  async function insertNew(documents: KeyDocument[]): Promise<void> {
    try {
      await collection.insertMany(documents, { ordered: false });
    } catch (error) {
      const duplicate = 11_000;
      const onlyDuplicates =
        error instanceof MongoBulkWriteError &&
        [error.writeErrors].flat().every((writeError) => writeError.code === duplicate) &&
        error.result.getWriteConcernError() === undefined;
      if (!onlyDuplicates) throw error;
    }
  }

  const keys: PersonalDataKeys = {
    cached: (owner) => cache.get(owner),

    async find(owner) {
      return cache.get(owner) ?? lookUp(owner, false);
    },

    async findOrCreate(owner) {
      return cache.get(owner) ?? ((await lookUp(owner, true)) as OwnerKeys);
    },

    async destroy(owner) {
      const { legal, createdAt, masterKeyId } = newDocument(owner);
      const literal = <T>(value: T) => ({ $literal: value });
      await collection.updateOne(
        { _id: owner },
        [
          {
            $set: {
              // The legal key and the master key's name belong together: both as found, or both new.
              legal: { $ifNull: ["$legal", literal(legal)] },
              masterKeyId: { $ifNull: ["$masterKeyId", literal(masterKeyId)] },
              createdAt: { $ifNull: ["$createdAt", literal(createdAt)] },
              destroyedAt: { $ifNull: ["$destroyedAt", "$$NOW"] },
            },
          },
          { $unset: "customer" },
        ],
        { upsert: true },
      );
      cache.delete(owner);
    },

    forget: (owner) => void cache.delete(owner),

    async hmac(owner, text) {
      const { hashing } = await keys.findOrCreate(owner);
      return hashing ? createHmac("sha256", hashing).update(text).digest("base64url") : undefined;
    },

    async rewrap() {
      let rewrapped = 0;
      for await (const document of collection.find({ masterKeyId: { $ne: current.id } })) {
        const change = (kind: "customer" | "legal", wrapped: Binary) => ({
          [kind]: wrap(document._id, kind, unwrap(document, kind, wrapped).export()),
        });
        const { modifiedCount } = await collection.updateOne(
          // Only as it was read: an erasure in between must not bring the key back.
          { _id: document._id, masterKeyId: document.masterKeyId, customer: { $exists: !!document.customer } },
          {
            $set: {
              masterKeyId: current.id,
              ...change("legal", document.legal),
              ...(document.customer ? change("customer", document.customer) : {}),
            },
          },
        );
        rewrapped += modifiedCount;
      }
      return rewrapped;
    },

    async check() {
      if (!indexed) await collection.createIndex({ masterKeyId: 1 });
      indexed = true;
      const samples = collection.aggregate<KeyDocument>([
        { $sort: { masterKeyId: 1 } },
        { $group: { _id: "$masterKeyId", sample: { $first: "$$ROOT" } } },
        { $replaceRoot: { newRoot: "$sample" } },
      ]);
      for await (const document of samples) unwrap(document, "legal", document.legal);
    },
  };
  return keys;
}

function settleWith<T>(settle: PromiseWithResolversOf<T>, compute: () => T): void {
  try {
    settle.resolve(compute());
  } catch (error) {
    settle.reject(error);
  }
}

function withResolvers<T>(): PromiseWithResolversOf<T> {
  let resolve: (value: T) => void = () => {};
  let reject: (reason: unknown) => void = () => {};
  const promise = new Promise<T>((res, rej) => {
    resolve = res;
    reject = rej;
  });
  return { promise, resolve, reject };
}
