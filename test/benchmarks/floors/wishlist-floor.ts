/**
 * Floor of POST wishlist: verify the token, read the stream, append one event at the revision read, both by the
 * official client. It decides nothing, checks nothing and knows no repeats. Its streams are of a category that no
 * projection reads. Environment: TOKENS, EVENTSTORE_URL.
 */
import {
  type AppendExpectedRevision,
  EventStoreDBClient,
  jsonEvent,
  NO_STREAM,
  StreamNotFoundError,
  WrongExpectedVersionError,
} from "@eventstore/db-client";
import { ownerKey } from "#domain/core/identifiers.js";
import { answer, serve } from "./floor-server.js";

const store = EventStoreDBClient.connectionString(process.env.EVENTSTORE_URL ?? "");

async function revisionOf(stream: string): Promise<AppendExpectedRevision> {
  let revision: AppendExpectedRevision = NO_STREAM;
  try {
    for await (const { event } of store.readStream(stream)) if (event) revision = event.revision;
  } catch (error) {
    if (!(error instanceof StreamNotFoundError)) throw error;
  }
  return revision;
}

serve(async (caller, request, response) => {
  const stream = `floor-${ownerKey(caller)}`;
  const productId = (request.url ?? "").slice("/client-data/wishlist/".length);
  for (;;) {
    const expectedRevision = await revisionOf(stream);
    const addedAt = new Date().toISOString();
    const event = jsonEvent({
      type: "floor.ProductAdded.v1",
      data: { productId, quantity: 1, addedAt },
      // About the size of what the product keeps beside each event.
      metadata: {
        orgId: caller.org,
        customerId: caller.customer,
        actor: { type: "customer", id: caller.customer },
        commandId: "5f0c9e4e-8f0b-4b0e-9d3c-0d8a1b0f4a77",
        commandHash: "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
        step: 0,
        $correlationId: "5f0c9e4e-8f0b-4b0e-9d3c-0d8a1b0f4a77",
        $causationId: "5f0c9e4e-8f0b-4b0e-9d3c-0d8a1b0f4a77",
        occurredAt: addedAt,
      },
    });
    try {
      const { nextExpectedRevision } = await store.appendToStream(stream, event, { expectedRevision });
      return answer(response, 201, {
        data: { productId, quantity: 1, addedAt },
        version: Number(nextExpectedRevision),
      });
    } catch (error) {
      if (!(error instanceof WrongExpectedVersionError)) throw error;
    }
  }
});
