import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { expect } from "chai";
import { ProviderUnavailable } from "#infrastructure/providers/provider-call.js";
import { createScanner, type Scanner } from "#infrastructure/providers/clamav.js";
import { pickPorts } from "../embedded/ports.js";
import { type ClamavServer, eicar, startClamav } from "../embedded/providers/clamav.js";
import { clamd, serve } from "./support/outside-programs.js";

const isUnscannable = (verdict: unknown) => (verdict as { kind?: string } | undefined)?.kind === "unscannable";

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

  it("understands a real clamd", async function () {
    this.timeout(280_000);
    const found = await clamd();
    if (found === undefined) {
      console.log("    skipped: clamd needs Debian's apt, or a clamd in the cache, and there is neither");
      return;
    }
    const folder = await mkdtemp(join(tmpdir(), "client-data-clamd-"));
    await mkdir(join(folder, "database"));
    // One signature of our own: the real database takes a gigabyte of memory.
    const signature = `Eicar-Test-Signature:0:*:${Buffer.from(eicar).toString("hex")}\n`;
    await writeFile(join(folder, "database", "local.ndb"), signature);
    const { clamav: port } = await pickPorts(["clamav"]);
    const lines = [
      `TCPSocket ${port}`,
      "TCPAddr 127.0.0.1",
      `DatabaseDirectory ${join(folder, "database")}`,
      `TemporaryDirectory ${folder}`,
      "Foreground yes",
      "StreamMaxLength 1M",
      ...(process.getuid?.() === 0 ? ["User root"] : []),
    ];
    await writeFile(join(folder, "clamd.conf"), `${lines.join("\n")}\n`);
    const { program, env } = found;
    const stop = await serve(program, ["--config-file", join(folder, "clamd.conf")], { port, env, cwd: folder });
    try {
      const real = createScanner(`tcp://127.0.0.1:${port}`, { timeoutMs: 20_000 });
      const scanned = (...chunks: Buffer[]) => real.scan(async () => Readable.from(chunks));
      expect(await scanned(Buffer.from("hello"))).to.deep.equal({ kind: "clean" });
      const verdict = await scanned(Buffer.alloc(70_000, "x"), Buffer.from(eicar));
      expect(verdict).to.have.property("kind", "infected");
      expect(verdict).to.have.property("signature").that.matches(/Eicar/);
      const large = Array.from({ length: 40 }, () => Buffer.alloc(64 * 1024, "x"));
      // clamd answers and closes while we still send: its answer may be lost, and then the file is tried again.
      let last: unknown;
      for (let tries = 0; tries < 20 && !isUnscannable(last); tries++) {
        last = await scanned(...large).catch((error: unknown) => error);
        if (!isUnscannable(last)) expect(last).to.be.instanceOf(ProviderUnavailable);
      }
      expect(last).to.deep.equal({ kind: "unscannable" });
    } finally {
      await stop();
      await rm(folder, { recursive: true, force: true });
    }
  });
});
