/**
 * The peer of the benchmarks: the same wishlist on Emmett, MongoDB and Express. Runs as a child process with an IPC
 * channel: says `{port}` when it listens, and answers `{rebuild: true}` with `{rebuilt: {streams, events, seconds}}`.
 *
 * Environment: MONGODB_URL (with the database in its path), JWKS (the public key set as JSON), ISSUER, AUDIENCE.
 */
import { projections } from "@event-driven-io/emmett";
import { getApplication, Created, OK, on } from "@event-driven-io/emmett-expressjs";
import { getMongoDBEventStore, handleInlineProjections } from "@event-driven-io/emmett-mongodb";
import { createLocalJWKSet, jwtVerify } from "jose";
import { MongoClient } from "mongodb";
import { addProduct, wishlistProjection } from "./wishlist.js";

const client = await new MongoClient(process.env.MONGODB_URL).connect();
const eventStore = getMongoDBEventStore({ client, projections: projections.inline([wishlistProjection]) });

const keys = createLocalJWKSet(JSON.parse(process.env.JWKS));
const expected = { issuer: process.env.ISSUER, audience: process.env.AUDIENCE, algorithms: ["ES256"] };

/** Owner of the token, as the product's principal does it. */
async function ownerOf(request) {
  const { payload } = await jwtVerify(request.headers.authorization.slice("Bearer ".length), keys, expected);
  return `${payload.org}.${payload.sub}`;
}

const wishlistApi = (router) => {
  router.post(
    "/client-data/wishlist/:productId",
    on(async (request) => {
      const owner = await ownerOf(request);
      const { quantity = 1, note } = request.body ?? {};
      const { productId } = request.params;
      const { entry, added } = await addProduct(eventStore, owner, {
        productId,
        quantity,
        ...(note === undefined ? {} : { note }),
        addedAt: new Date().toISOString(),
      });
      return added ? Created({ url: `/client-data/wishlist/${productId}`, body: entry }) : OK({ body: entry });
    }),
  );
  router.get(
    "/client-data/wishlist",
    on(async (request) => {
      const owner = await ownerOf(request);
      const document = await eventStore.projections.inline.findOne({ streamType: "wishlist", streamId: owner });
      return OK({ body: { data: document?.items ?? [] } });
    }),
  );
};

/**
 * Rebuilds the read model of every stream. The package has no command for it, so this is the shortest correct loop
 * over what it exports: read the stream, fold it through the projection, write the result if nobody was faster.
 */
async function rebuild() {
  const collection = await eventStore.collectionFor("wishlist");
  const started = performance.now();
  let streams = 0;
  let events = 0;
  for await (const { streamName } of collection.find({}, { projection: { streamName: 1 } })) {
    const stream = await eventStore.readStream(streamName);
    const updates = { $set: {} };
    await handleInlineProjections({
      events: stream.events,
      projections: [wishlistProjection],
      readModels: {},
      streamId: streamName.slice("wishlist:".length),
      collection,
      updates,
      client: {},
    });
    const unchanged = { streamName, "metadata.streamPosition": stream.currentStreamVersion };
    await collection.updateOne(unchanged, updates, { useBigInt64: true });
    streams += 1;
    events += stream.events.length;
  }
  return { streams, events, seconds: (performance.now() - started) / 1000 };
}

process.on("message", async (message) => {
  if (message.rebuild) process.send({ rebuilt: await rebuild() });
});
process.on("disconnect", () => process.exit(0));

await eventStore.collectionFor("wishlist"); // makes the index before the first request
const server = getApplication({ apis: [wishlistApi] }).listen(0, "127.0.0.1", () => {
  process.send({ port: server.address().port });
});
