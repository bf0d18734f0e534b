import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import type { EventDefinition } from "#domain/core/event-definition.js";
import { ownerOfStream, streams } from "#domain/core/identifiers.js";
import { keptByLaw } from "#domain/privacy/privacy.policy.js";
import { storedEvents } from "#domain/stored-events.js";
import { createEventSerializer } from "#infrastructure/event-serializer.js";
import { sampleMetadata, stored } from "./support/event-builders.js";
import { memoryKeys } from "./support/memory-keys.js";

/**
 * One golden sample per shipped version of every stored event: `{type, data}` with the data as it was when that
 * version shipped, and for an older version `lifted`, the newest shape it must become. A sample is never edited.
 */
type Golden = { type: string; data: unknown; lifted?: unknown };

const folder = join(dirname(fileURLToPath(import.meta.url)), "../../test/golden");
const goldens = new Map(
  readdirSync(folder).map((file) => [file, JSON.parse(readFileSync(join(folder, file), "utf8")) as Golden]),
);

const owner = { org: "acme", customer: "ada" };
const streamOf: Record<string, string> = {
  order: streams.order(owner, "a1001"),
  transaction: streams.transaction(owner, "t1"),
  product: streams.product("acme", "kettle"),
};

/** Every shipped version, with the newest one it is lifted to. */
const versions = storedEvents.flatMap((newest) => {
  const chain: { version: EventDefinition; newest: EventDefinition }[] = [];
  for (let version: EventDefinition | undefined = newest; version; version = version.previous?.definition) {
    chain.push({ version, newest });
  }
  return chain;
});

describe("stored events", () => {
  it("has no golden sample of an event that is not on the list", () => {
    const known = versions.map(({ version }) => `${version.type}.json`);
    expect([...goldens.keys()].filter((file) => !known.includes(file))).to.deep.equal([]);
  });

  for (const { version, newest } of versions) {
    it(`still reads ${version.type} as it was shipped`, async () => {
      const golden = goldens.get(`${version.type}.json`);
      if (!golden) expect.fail(`add a golden sample: test/golden/${version.type}.json with {"type", "data"}`);
      expect(golden.type).to.equal(version.type);
      expect(version.schema.parse(golden.data), "the schema must keep every field of the sample").to.deep.equal(
        golden.data,
      );

      // Stored as a release of that version stored it, read as this release reads.
      const keys = memoryKeys();
      const stream = streamOf[version.category] ?? `${version.category}-acme.ada`;
      const shipped = createEventSerializer([version], keys);
      const toStore = await shipped.serialize({ type: version.type, data: golden.data }, sampleMetadata, stream);
      const sealed = [...version.personal, ...version.kept.map((path) => path.split(".", 1)[0] ?? "")];
      for (const field of sealed) expect(toStore.data).not.to.have.property(field);

      const result = await createEventSerializer(storedEvents, keys).deserialize(stored(toStore, { stream }));
      expect(result.kind).to.equal("event");
      expect(result.event).to.deep.include({ type: newest.type, data: golden.lifted ?? golden.data });
      if (newest.personal.length === 0) return;

      await keys.destroy(ownerOfStream(stream) ?? "");
      const left = await createEventSerializer(storedEvents, keys).deserialize(stored(toStore, { stream }));
      expect(left.kind).to.equal(newest.outlivesErasure ? "event" : "erased");
      if (left.kind !== "event") return;
      const data = { ...(left.event.data as Record<string, unknown>) };
      for (const path of newest.kept) {
        const [field = "", member = ""] = path.split(".");
        if (member === "") delete data[field];
        else if (data[field]) data[field] = without(data[field] as object, member);
      }
      for (const field of newest.personal) {
        expect(Object.keys((data[field] as object | undefined) ?? {}), `${field} after an erasure`).to.deep.equal([]);
      }
    });
  }

  it("keeps of a person after an erasure what the law's list names, and nothing else", () => {
    const kept = storedEvents.filter((definition) => definition.kept.length > 0);
    const list = Object.fromEntries(kept.map(({ type, kept }) => [type.replace(/\.v\d+$/, ""), [...kept]]));
    expect(list).to.deep.equal(keptByLaw);
    for (const { version } of versions) {
      const { type, kept, outlivesErasure } = version;
      if (kept.length > 0)
        expect(outlivesErasure, `${type} keeps something and must outlive an erasure`).to.equal(true);
    }
  });

  it("spells each name as area, fact and version, and lifts to a version of the same fact", () => {
    for (const { version, newest } of versions) {
      const fact = (type: string) => type.replace(/\.v\d+$/, "");
      expect(fact(version.type)).to.equal(fact(newest.type));
    }
  });
});

function without(fields: object, member: string): object {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => name !== member));
}
