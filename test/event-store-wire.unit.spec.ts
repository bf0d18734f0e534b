/** The event store's own protocol-buffer code, held against the code that the protocol's authors generate. */
import { createRequire } from "node:module";
import { expect } from "chai";
import fc from "fast-check";
import { parseStreamMetadata } from "../embedded/event-store/stream-metadata.js";
import { TOMBSTONE_REVISION } from "../embedded/event-store/events.js";
import { LogTail } from "../embedded/event-store/log-tail.js";
import { MalformedMessage, ProtoReader, ProtoWriter } from "../embedded/event-store/protobuf.js";
import { dataOf, encodeRecord, idOf, recordInForm } from "../embedded/event-store/recorded-event.js";
import {
  BadRequest,
  decodeBatchAppendPart,
  decodeReadRequest,
  isRequestFault,
} from "../embedded/event-store/requests.js";

const require = createRequire(import.meta.url);
const streams = require("@eventstore/db-client/generated/streams_pb.js");
const shared = require("@eventstore/db-client/generated/shared_pb.js");

const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
const safeInteger = fc.oneof(
  fc.nat({ max: Number.MAX_SAFE_INTEGER }),
  fc.constantFrom(0, 127, 128, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 35, 2 ** 53 - 1),
);
const text = fc.string({ unit: "grapheme", minLength: 1, maxLength: 60 });

describe("event store wire format", () => {
  it("reads back every number it writes, and 2^64-1 as something huge", () => {
    const roundTrip = (value: number) => {
      const reader = new ProtoReader(new ProtoWriter().uint64(1, value).finish());
      reader.next();
      return reader.uint64();
    };
    fc.assert(fc.property(safeInteger, (value) => roundTrip(value) === value));
    expect(roundTrip(2 ** 64)).to.equal(2 ** 64);
    const largest = new ProtoReader(Buffer.from([8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]));
    largest.next();
    expect(largest.uint64AsBigInt()).to.equal(2n ** 64n - 1n);
  });

  it("never reads beyond a message, whatever the bytes", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          bytes,
          bytes.map((tail) => Buffer.concat([Buffer.from([0x0a]), tail])),
        ),
        (message) => {
          for (const decode of [decodeReadRequest, decodeBatchAppendPart]) {
            try {
              decode(message);
            } catch (error) {
              expect(isRequestFault(error), String(error)).to.equal(true);
            }
          }
        },
      ),
      { numRuns: 2_000 },
    );
    expect(() => decodeReadRequest(Buffer.from([0x0a, 0x7f, 1]))).to.throw(MalformedMessage);
    expect(() => decodeReadRequest(Buffer.alloc(0))).to.throw(BadRequest);
  });

  it("stores events as the generated code would encode them, with either form of id", () => {
    fc.assert(
      fc.property(
        fc.record({
          id: fc.uuid(),
          type: text,
          isJson: fc.boolean(),
          data: bytes,
          metadata: bytes,
          stream: text,
          revision: fc.oneof(
            safeInteger.filter((revision) => revision < TOMBSTONE_REVISION),
            fc.constant(TOMBSTONE_REVISION),
          ),
          position: safeInteger,
          created: fc.integer({ min: 1, max: 4_102_444_800_000 }),
        }),
        ({ stream, revision, position, created, ...event }) => {
          const record = encodeRecord(event, Buffer.from(stream), revision, position, created);
          expect(idOf(record)).to.equal(event.id);
          expect(dataOf(record).equals(event.data)).to.equal(true);
          for (const form of ["text", "structured"] as const) {
            const decoded = streams.ReadResp.ReadEvent.RecordedEvent.deserializeBinary(recordInForm(record, form));
            const id = decoded.getId();
            const { mostSignificantBits: high, leastSignificantBits: low } = id.getStructured()?.toObject() ?? {};
            const hex = (half: string) => BigInt.asUintN(64, BigInt(half)).toString(16).padStart(16, "0");
            expect(form === "text" ? id.getString().replaceAll("-", "") : hex(high) + hex(low)).to.equal(
              event.id.replaceAll("-", ""),
            );
            expect(Buffer.from(decoded.getStreamIdentifier().getStreamName_asU8()).toString()).to.equal(stream);
            expect(decoded.getStreamRevision()).to.equal(
              revision === TOMBSTONE_REVISION ? "9223372036854775807" : `${revision}`,
            );
            expect([decoded.getPreparePosition(), decoded.getCommitPosition()]).to.deep.equal([
              `${position}`,
              `${position}`,
            ]);
            expect(Object.fromEntries(decoded.getMetadataMap().toArray())).to.deep.equal({
              type: event.type,
              "content-type": event.isJson ? "application/json" : "application/octet-stream",
              created: `${BigInt(created) * 10_000n}`,
            });
            expect(Buffer.from(decoded.getCustomMetadata_asU8()).equals(event.metadata)).to.equal(true);
            expect(Buffer.from(decoded.getData_asU8()).equals(event.data)).to.equal(true);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it("understands appends as the generated code sends them, with either form of id", () => {
    fc.assert(
      fc.property(
        fc.uuid(),
        fc.uuid(),
        text,
        text,
        bytes,
        fc.boolean(),
        (correlationId, id, stream, type, data, structured) => {
          const uuid = (value: string) => {
            const message = new shared.UUID();
            if (!structured) return message.setString(value.toUpperCase());
            const number = BigInt(`0x${value.replaceAll("-", "")}`);
            const halves = new shared.UUID.Structured();
            halves.setMostSignificantBits(`${BigInt.asIntN(64, number >> 64n)}`);
            halves.setLeastSignificantBits(`${BigInt.asIntN(64, number)}`);
            return message.setStructured(halves);
          };
          const options = new streams.BatchAppendReq.Options();
          options.setStreamIdentifier(new shared.StreamIdentifier().setStreamName(Buffer.from(stream)));
          options.setStreamPosition("4294967299");
          const event = new streams.BatchAppendReq.ProposedMessage().setId(uuid(id)).setData(data);
          event.getMetadataMap().set("type", type).set("content-type", "application/json");
          const request = new streams.BatchAppendReq().setCorrelationId(uuid(correlationId)).setOptions(options);
          request.addProposedMessages(event);
          const part = decodeBatchAppendPart(Buffer.from(request.setIsFinal(true).serializeBinary()));
          expect(part.fault).to.equal(undefined);
          expect(part).to.include({ correlationId, isFinal: true });
          expect(part.options).to.deep.include({ stream, expected: 4294967299 });
          expect(part.events).to.deep.equal([{ id, type, isJson: true, data, metadata: Buffer.alloc(0) }]);
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe("event store stream metadata", () => {
  const parse = (document: unknown) => parseStreamMetadata(Buffer.from(JSON.stringify(document)));

  it("takes what is in range and ignores what is not", () => {
    expect(parse({ $maxCount: 3, $maxAge: 60, $tb: 5, mine: "x" })).to.deep.equal({
      maxCount: 3,
      maxAge: 60,
      truncateBefore: 5,
      isDeleted: false,
    });
    expect(parse({ $maxCount: 0, $maxAge: -1, $tb: 0 })).to.deep.equal({ truncateBefore: 0, isDeleted: false });
  });

  it("counts as empty when a known key has the wrong type, or it is no document at all", () => {
    const empty = { isDeleted: false };
    for (const wrong of [{ $maxCount: "3" }, { $tb: 1.5, $maxCount: 1 }, { $maxCount: 1, $acl: [] }, [], "x", null]) {
      expect(parse(wrong), JSON.stringify(wrong)).to.deep.equal(empty);
    }
    expect(parseStreamMetadata(Buffer.from("{"))).to.deep.equal(empty);
  });

  it("knows a soft deletion by a $tb that no revision reaches", () => {
    expect(parseStreamMetadata(Buffer.from('{"$tb":9223372036854775807}'))).to.deep.equal({ isDeleted: true });
  });
});

describe("event store log tail", () => {
  it("gives the records after a position, or says that it does not have them all", () => {
    const tail = new LogTail(0);
    const size = 1000;
    const record = (position: number) => ({
      position,
      stream: 1,
      revision: position,
      type: "t",
      created: 0,
      record: Buffer.alloc(size),
    });
    for (let position = 10; position <= 200_000; position += 10) tail.add(record(position));
    expect(tail.read(0, 10)).to.equal(undefined);
    expect(tail.read(199_950, 3)?.map(({ position }) => position)).to.deep.equal([199_960, 199_970, 199_980]);
    expect(tail.read(199_955, 100)).to.have.length(5);
    expect(tail.read(200_000, 10)).to.deep.equal([]);
    const kept = Array.from({ length: 20_000 }, (_, index) => index * 10).filter((position) => tail.read(position, 1));
    expect(kept.length).to.be.within(4_000, 10_000);
    for (const position of kept) expect(tail.read(position, 1)?.[0]?.position).to.equal(position + 10);
  });
});
