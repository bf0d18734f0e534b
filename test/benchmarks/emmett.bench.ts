import { setTimeout as delay } from "node:timers/promises";
import { MongoClient } from "mongodb";
import { request, requestRows } from "#projectors/runner/requests.js";
import { customerIds } from "../support/population.js";
import { type Benchmark, type BenchResult, benchResult, median, rounded } from "./bench-result.js";
import { type Benches, database } from "./bench-stack.js";
import { type EmmettPeer, startEmmett } from "./emmett-peer.js";
import { inTurns, startLoadGenerator, summary } from "./rounds.js";

const command = { method: "POST", expect: [201] } as const;
const query = { method: "GET", path: "/client-data/wishlist", expect: [200] } as const;
/** Products on each list when queries and the rebuild are measured. */
const listLength = 5;

/**
 * The same wishlist, by this product and by Emmett on MongoDB, each on the same mongod, with the same tokens checked
 * the same way: the command, the query, and building the read model anew.
 */
export const emmett: Benchmark<Benches> = {
  name: "emmett",
  run: async (context) => {
    const { stack, issuer } = await context.empty();
    const peer = await startEmmett(stack.file.mongodb, "emmett", issuer);
    context.onStop(() => peer.stop());
    const customers = customerIds(0, context.quick ? 500 : 5_000);
    const load = await startLoadGenerator({ orgid: issuer.org, tokens: await issuer.tokensOf(customers) });
    context.onStop(() => load.stop());
    const { count } = context.rounds;
    const details = { peer: peer.versions, customers: customers.length };

    context.log(`  filling ${customers.length} wishlists on both sides ...`);
    const fill = { ...command, path: "/client-data/wishlist/first-{n}", connections: 16, requestsEach: listLength };
    await load.send({ ...fill, url: stack.file.commandApi });
    await load.send({ ...fill, url: peer.url });

    const rows: BenchResult[] = [await rebuildRow(stack.file.mongodb, peer, { ...details, listLength })];
    const compare = async (name: string, aim: number, ours: string, plan: (turn: number) => object) => {
      const send = (url: string) => (turn: number) =>
        load.send({ connections: 16, ...context.lengthOf(turn), ...command, path: "", ...plan(turn), url });
      const figures = await inTurns(count, { product: send(ours), floor: send(peer.url) });
      const perSecond = (reports: readonly { perSecond: number }[]) =>
        median(reports.map((report) => report.perSecond));
      rows.push(
        benchResult({
          name,
          unit: "requests/s",
          product: perSecond(figures.product),
          floor: perSecond(figures.floor),
          aim,
          better: "higher",
          details: {
            floor: "Emmett on MongoDB and Express, its defaults",
            ...details,
            inFlight: 16,
            product: summary(figures.product),
            peerLoad: summary(figures.floor),
          },
        }),
      );
    };
    await compare("emmett-query", 1, stack.file.queryApi, () => query);
    await compare("emmett-command", 2.5, stack.file.commandApi, (turn) => ({
      ...command,
      path: `/client-data/wishlist/more-${turn}-{n}`,
    }));
    return rows;
  },
};

/** Three rebuilds of the wishlist's read model by each side, in turns, over the lists just filled. */
async function rebuildRow(mongodb: string, peer: EmmettPeer, details: object): Promise<BenchResult> {
  const client = await new MongoClient(mongodb).connect();
  try {
    let events = 0;
    const figures = await inTurns(3, {
      product: () => rebuild(client),
      floor: async () => {
        const rebuilt = await peer.rebuild();
        events = rebuilt.events;
        return rebuilt.seconds;
      },
    });
    const [product, floor] = [median(figures.product), median(figures.floor)];
    return benchResult({
      name: "emmett-rebuild",
      unit: "s",
      product,
      floor,
      aim: 0.1,
      better: "lower",
      details: {
        floor: "Emmett: each stream read, folded through the inline projection and written back, one after the other",
        product: "from the request to the runner until the new generation is live",
        ...details,
        events,
        seconds: figures.product.map(rounded),
        peerSeconds: figures.floor.map(rounded),
      },
    });
  } finally {
    await client.close();
  }
}

/** Asks the runner to build the wishlist's read model anew; gives the seconds until it is done. */
async function rebuild(client: MongoClient): Promise<number> {
  const db = client.db(database);
  const started = performance.now();
  const id = await request(db, { kind: "rebuild", projection: "wishlist" });
  for (;;) {
    const row = await requestRows(db).findOne({ _id: id });
    if (row?.state === "done") return (performance.now() - started) / 1000;
    if (row?.state === "failed") throw new Error(`the rebuild failed: ${row.detail}`);
    await delay(10);
  }
}
