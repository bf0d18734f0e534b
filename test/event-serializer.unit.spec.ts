import { expect } from "chai";
import { z } from "zod";
import { defineEvent, type EventDefinition, lifts } from "#domain/core/event-definition.js";
import { createEventSerializer, EventNotReadable, PersonalDataErased } from "#infrastructure/event-serializer.js";
import { CommandIds } from "#infrastructure/state-cache.js";
import { sampleMetadata, stored } from "./support/event-builders.js";
import { memoryKeys } from "./support/memory-keys.js";

const NoteTakenV1 = defineEvent("wishlist.NoteTaken.v1", {
  category: "wishlist",
  schema: z.object({ productId: z.string(), note: z.string() }),
  personal: ["note"],
});
const NoteTakenV2 = defineEvent("wishlist.NoteTaken.v2", {
  category: "wishlist",
  schema: z.object({ productId: z.string(), text: z.string(), pinned: z.boolean() }),
  personal: ["text"],
  previous: lifts(NoteTakenV1, ({ productId, note }) => ({ productId, text: note, pinned: false })),
});
const NoteTakenV3 = defineEvent("wishlist.NoteTaken.v3", {
  category: "wishlist",
  schema: z.object({ products: z.array(z.string()), text: z.string(), pinned: z.boolean() }),
  personal: ["text"],
  previous: lifts(NoteTakenV2, ({ productId, ...rest }) => ({ products: [productId], ...rest })),
});
const Invoiced = defineEvent("orders.Invoiced.v1", {
  category: "order",
  schema: z.object({
    number: z.string(),
    address: z.object({ name: z.string().optional(), phone: z.string().optional() }).nullish(),
    note: z.string().optional(),
    voucher: z.string().optional(),
  }),
  personal: ["address", "note"],
  kept: ["address.name", "voucher"],
  outlivesErasure: true,
});
const invoice = Invoiced.create({
  ...{ number: "A-1", address: { name: "Ada Lovelace", phone: "+4930123456" }, note: "ring twice", voucher: "V-9" },
});

const definitions = [NoteTakenV3, Invoiced] as unknown as EventDefinition[];
const stream = "wishlist-acme.ada";
const owner = "acme.ada";

function setUp() {
  const keys = memoryKeys();
  return { keys, serializer: createEventSerializer(definitions, keys) };
}

const taken = NoteTakenV3.create({ products: ["kettle"], text: "for Mum", pinned: true });

describe("event serializer", () => {
  it("gives back what it stored, with the place and the owner", async () => {
    const { serializer } = setUp();
    const toStore = await serializer.serialize(taken, { ...sampleMetadata, client: "phone" }, stream);
    const result = await serializer.deserialize(stored(toStore, { revision: 7 }));
    expect(result).to.deep.equal({
      kind: "event",
      event: {
        ...taken,
        id: toStore.id,
        stream,
        revision: 7,
        position: "00000000000000000100",
        owner,
        at: sampleMetadata.occurredAt,
        metadata: { ...sampleMetadata, client: "phone" },
      },
    });
  });

  it("stores no personal field and no client in the clear", async () => {
    const { serializer } = setUp();
    const toStore = await serializer.serialize(taken, { ...sampleMetadata, client: "Ada's phone" }, stream);
    expect(toStore.data).to.have.all.keys("products", "pinned", "$sealed");
    expect(JSON.stringify(toStore)).not.to.match(/Mum|phone/);
  });

  it("works synchronously once the owner's keys are known", async () => {
    const { serializer } = setUp();
    const first = serializer.serialize(taken, sampleMetadata, stream);
    expect(first).to.be.instanceOf(Promise);
    const toStore = await first;
    expect(serializer.serialize(taken, sampleMetadata, stream)).not.to.be.instanceOf(Promise);
    expect(serializer.deserialize(stored(toStore))).not.to.be.instanceOf(Promise);
  });

  it("lifts every older version, step by step, whatever name its personal fields had", async () => {
    const { keys, serializer } = setUp();
    const v1 = createEventSerializer([NoteTakenV1 as unknown as EventDefinition], keys);
    const old = await v1.serialize(
      NoteTakenV1.create({ productId: "kettle", note: "for Mum" }),
      sampleMetadata,
      stream,
    );
    const result = await serializer.deserialize(stored(old));
    expect(result.event).to.deep.include({
      type: NoteTakenV3.type,
      data: { products: ["kettle"], text: "for Mum", pinned: false },
    });
  });

  it("writes the newest version only", () => {
    const { serializer } = setUp();
    const old = NoteTakenV1.create({ productId: "kettle", note: "x" });
    expect(() => serializer.serialize(old, sampleMetadata, stream)).to.throw(/newest/);
  });

  it("refuses to store what breaks its schema, without quoting it", () => {
    const { serializer } = setUp();
    const wrong = { type: NoteTakenV3.type, data: { products: ["kettle"], text: { secret: "Mum" }, pinned: true } };
    expect(() => serializer.serialize(wrong, sampleMetadata, stream))
      .to.throw(/text \(invalid_type\)/)
      .with.property("message")
      .not.matches(/Mum/);
  });

  it("leaves unknown types to the reader", async () => {
    const { serializer } = setUp();
    const foreign = stored({ id: "1", type: "wishlist.FromTomorrow.v9", data: { a: 1 }, metadata: {} });
    expect(await serializer.deserialize(foreign)).to.deep.equal({ kind: "unknown", event: foreign });
  });

  it("gives an erased event when the customer's key is destroyed, and keeps what the law makes us keep", async () => {
    const { keys, serializer } = setUp();
    const note = stored(await serializer.serialize(taken, sampleMetadata, stream));
    const metadata = { ...sampleMetadata, client: "phone" };
    const invoiced = await serializer.serialize(invoice, metadata, "order-acme.ada.a1");
    await keys.destroy(owner);

    const erased = await serializer.deserialize(note);
    expect(erased.kind).to.equal("erased");
    expect(erased.event).to.deep.equal({
      id: note.id,
      type: NoteTakenV3.type,
      stream,
      revision: 0,
      position: note.position,
      owner,
    });
    const kept = await serializer.deserialize(stored(invoiced, { stream: "order-acme.ada.a1" }));
    expect(kept.event).to.deep.include({
      data: { number: "A-1", address: { name: "Ada Lovelace" }, voucher: "V-9" },
      metadata: sampleMetadata,
    });
  });

  it("seals what is kept for the law apart, and gives the event back whole as long as the person is there", async () => {
    const { serializer } = setUp();
    const place = { stream: "order-acme.ada.a1" };
    for (const data of [
      invoice.data,
      { number: "A-2", address: { name: "Ada Lovelace" } },
      { number: "A-3", address: { phone: "+4930123456" } },
      { number: "A-4", address: {} },
      { number: "A-5", address: null },
      { number: "A-6", voucher: "V-10" },
      { number: "A-7" },
    ]) {
      const toStore = await serializer.serialize(Invoiced.create(data), sampleMetadata, place.stream);
      expect(JSON.stringify(toStore)).not.to.match(/Lovelace|\+4930|ring|V-/);
      expect((await serializer.deserialize(stored(toStore, place))).event).to.deep.include({ data });
    }
  });

  it("records what outlives an erasure after it too, without the person", async () => {
    const { keys, serializer } = setUp();
    await keys.destroy(owner);
    const metadata = { ...sampleMetadata, client: "phone" };
    const place = { stream: "order-acme.ada.a1" };
    const toStore = await serializer.serialize(invoice, metadata, place.stream);
    expect(toStore.data).to.have.all.keys("number", "$kept");
    const opened = await serializer.deserialize(stored(toStore, place));
    expect(opened.event).to.deep.include({
      data: { number: "A-1", address: { name: "Ada Lovelace" }, voucher: "V-9" },
      metadata: sampleMetadata,
    });
  });

  it("refuses to seal under a destroyed key, but records what has nothing to seal", async () => {
    const { keys, serializer } = setUp();
    await keys.destroy(owner);
    const refused = await Promise.resolve(serializer.serialize(taken, sampleMetadata, stream)).catch((error) => error);
    expect(refused).to.be.instanceOf(PersonalDataErased);
    const plain = serializer.serialize(Invoiced.create({ number: "A-2" }), sampleMetadata, "order-acme.ada.a2");
    expect(await plain).to.have.property("type", Invoiced.type);
  });

  it("opens a seal only in the stream and under the type it was made for", async () => {
    const { keys, serializer } = setUp();
    const toStore = await serializer.serialize(taken, sampleMetadata, stream);
    await keys.findOrCreate("acme.bob");
    for (const place of [
      { stream: "wishlist-acme.bob" },
      { stream: "ticket-acme.ada.1" },
      { type: NoteTakenV2.type, data: { productId: "kettle", pinned: true, ...sealedOf(toStore.data) } },
    ]) {
      const error = await Promise.resolve()
        .then(() => serializer.deserialize(stored(toStore, place)))
        .catch((caught) => caught);
      expect(error).to.be.instanceOf(EventNotReadable);
    }
  });

  it("names an event that cannot be read, and nothing of its content", async () => {
    const { serializer } = setUp();
    const broken = stored({
      id: "e1",
      type: Invoiced.type,
      data: { number: 7, note: "Mum" },
      metadata: sampleMetadata,
    });
    expect(() => serializer.deserialize(broken)).to.throw(EventNotReadable, /e1 .*number \(invalid_type\)/);
    const foreign = stored({ id: "e2", type: Invoiced.type, data: { number: "7" }, metadata: undefined });
    expect(() => serializer.deserialize(foreign)).to.throw(EventNotReadable, /metadata/);
  });

  it("keeps the order when some keys must be looked up", async () => {
    const { keys, serializer } = setUp();
    const events = [];
    for (const customer of ["ada", "bob", "ada", "eve"]) {
      const name = `wishlist-acme.${customer}`;
      const event = NoteTakenV3.create({ products: [customer], text: customer, pinned: false });
      events.push(stored(await serializer.serialize(event, sampleMetadata, name), { stream: name }));
    }
    keys.forget("acme.bob");
    const results = await serializer.deserializeAll(events);
    expect(results.map(({ event }) => event.stream)).to.deep.equal(events.map((event) => event.stream));
  });
});

describe("command ids of a stream", () => {
  it("never forgets one, and takes 16 bytes or less for each of ten thousand", () => {
    const ids = new CommandIds();
    const commands = Array.from({ length: 10_000 }, () => crypto.randomUUID());
    for (const command of commands) ids.add(command);
    expect(commands.every((command) => ids.mayHave(command))).to.equal(true);
    expect(ids.bytes).to.be.at.most(160_000);
  });

  it("hardly ever takes another for one of them", () => {
    const ids = new CommandIds();
    for (let index = 0; index < 10_000; index++) ids.add(crypto.randomUUID());
    const wrong = Array.from({ length: 10_000 }, () => crypto.randomUUID()).filter((other) => ids.mayHave(other));
    expect(wrong.length).to.be.at.most(2);
  });
});

function sealedOf(data: unknown): object {
  return { $sealed: (data as Record<string, unknown>).$sealed };
}
