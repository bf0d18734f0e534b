import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { expect } from "chai";
import { z } from "zod";
import {
  ingestedCatalogue,
  outsideCatalogue,
  type ProductCatalogue,
} from "#infrastructure/providers/product-catalogue.js";

const schema = z.object({ name: z.string() });
type Product = z.infer<typeof schema>;

describe("product catalogue", () => {
  describe("of somebody else's", () => {
    let server: Server;
    let catalogue: ProductCatalogue<Product>;
    let answer: (request: IncomingMessage, response: ServerResponse) => void;
    const problems: unknown[] = [];

    before(async () => {
      server = createServer((request, response) => answer(request, response));
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/shop/`;
      catalogue = outsideCatalogue({ url, schema, timeoutMs: 1_000, onProblem: (error) => void problems.push(error) });
    });
    after(async () => {
      await catalogue.close();
      server.closeAllConnections();
      server.close();
    });

    it("finds a product by its id and org, and believes its 404", async () => {
      answer = (request, response) => {
        expect(request.headers.orgid).to.equal("acme");
        if (request.url === "/shop/products/a%3Ab.c") response.end('{"name":"Lamp","price":1}');
        else response.writeHead(404).end("none");
      };
      const [found, missing] = await catalogue.lookupAll("acme", ["a:b.c", "x"]);
      expect(found).to.deep.equal({ kind: "found", product: { name: "Lamp" } });
      expect(missing).to.deep.equal({ kind: "not-found" });
      expect(problems).to.deep.equal([]);
    });

    it("is unavailable when it fails, babbles, floods, hangs or is gone, and never throws", async () => {
      const failures: (typeof answer)[] = [
        (_, response) => response.writeHead(500).end("broken"),
        (_, response) => response.end("not json"),
        (_, response) => response.end('{"name":5}'),
        (_, response) => response.end(JSON.stringify({ name: "x".repeat(100_000) })),
        () => {},
        (_, response) => void response.destroy(),
      ];
      for (const [index, failure] of failures.entries()) {
        answer = failure;
        const started = performance.now();
        expect(await catalogue.lookup("acme", "a"), `failure ${index}`).to.deep.equal({ kind: "unavailable" });
        expect(performance.now() - started).to.be.lessThan(10_000);
        expect(problems).to.have.length(index + 1);
      }
    });
  });

  it("made of ingested products never says that there is none", async () => {
    const products = new Map([["acme lamp", { name: "Lamp" }]]);
    const catalogue = ingestedCatalogue(
      async (org, ids) =>
        new Map(
          ids.flatMap((id) => {
            const product = products.get(`${org} ${id}`);
            return product ? [[id, product] as const] : [];
          }),
        ),
    );
    expect(await catalogue.lookup("acme", "lamp")).to.deep.equal({ kind: "found", product: { name: "Lamp" } });
    expect(await catalogue.lookup("acme", "sofa")).to.deep.equal({ kind: "unavailable" });
    const broken = ingestedCatalogue(() => Promise.reject(new Error("away")));
    expect(await broken.lookup("acme", "lamp")).to.deep.equal({ kind: "unavailable" });
  });
});
