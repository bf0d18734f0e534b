import { Readable } from "node:stream";
import { expect } from "chai";
import { ProviderUnavailable } from "#infrastructure/providers/provider-call.js";
import { createScanner, type Scanner } from "#infrastructure/providers/clamav.js";
import { type ClamavServer, eicar, startClamav } from "../embedded/providers/clamav.js";

describe("scanner", () => {
  let clamav: ClamavServer;
  let scanner: Scanner;

  before(async () => {
    clamav = await startClamav(0);
    scanner = createScanner(`tcp://127.0.0.1:${clamav.port}`, { timeoutMs: 700 });
  });
  after(() => clamav?.stop());

  const play = (asked: object) => clamav.control.actions?.play?.(asked);
  const scan = (...chunks: (string | Buffer)[]) =>
    scanner.scan(async () => Readable.from(chunks.map((chunk) => Buffer.from(chunk))));
  const failureOf = async (scanning: Promise<unknown>) => {
    const result = await scanning.catch((error: unknown) => error);
    expect(result).to.be.instanceOf(ProviderUnavailable);
  };

  it("tells clean from infected, also where a virus lies across two chunks of a large file", async () => {
    expect(await scan("hello")).to.deep.equal({ kind: "clean" });
    expect(await scan(eicar)).to.deep.equal({ kind: "infected", signature: "Eicar-Test-Signature" });
    const large = Buffer.alloc(3_000_000, "x");
    expect(await scan(large, eicar.slice(0, 20), eicar.slice(20), large)).to.have.property("kind", "infected");
    expect(await scan(large)).to.deep.equal({ kind: "clean" });
  });

  it("never takes a failure for a verdict, and is well again after it", async () => {
    for (const mode of ["error", "drop", "hang"]) {
      play({ mode });
      await failureOf(scan("hello"));
      expect(await scan("hello")).to.deep.equal({ kind: "clean" });
    }
    play({ mode: "slow", delayMs: 100 });
    expect(await scan(eicar)).to.have.property("kind", "infected");
  });

  it("scans few files at once and turns away what waits too long", async () => {
    play({ mode: "slow", delayMs: 200, times: 4 });
    const results = await Promise.all(Array.from({ length: 4 }, () => scan("hello")));
    expect(results).to.deep.equal(Array(4).fill({ kind: "clean" }));
    await failureOf(Promise.all(Array.from({ length: 5 }, () => scan("hello"))));
  });

  it("says so when the bytes cannot be had, or the scanner is away", async () => {
    await failureOf(
      scanner.scan(
        async () =>
          new Readable({
            read() {
              this.destroy(new Error("cut"));
            },
          }),
      ),
    );
    const nobody = createScanner("tcp://127.0.0.1:1", { timeoutMs: 700 });
    await failureOf(nobody.scan(async () => Readable.from([Buffer.from("x")])));
  });
});
