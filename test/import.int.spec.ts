import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { ImportInterrupted, type ImportTarget, importFile } from "../embedded/import.js";
import { startApi, type TestApi } from "./support/api.js";
import { order } from "./support/platform.js";

describe("import of a file", () => {
  let api: TestApi;
  let folder: string;
  let target: ImportTarget;

  before(async () => {
    api = await startApi();
    const { authorization = "" } = (await api.asService()).headers;
    target = { commandApi: api.commandApi, org: api.org, serviceToken: authorization.replace("Bearer ", "") };
  });
  after(() => api?.stop());
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "client-data-import-"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const fileOf = async (lines: readonly (object | string)[]) => {
    const file = join(folder, "lines.ndjson");
    await writeFile(file, lines.map((line) => `${typeof line === "string" ? line : JSON.stringify(line)}\n`).join(""));
    return file;
  };
  const orders = (name: string, count: number) =>
    Array.from({ length: count }, (_, number) => ({ path: `orders/${name}-${number}`, body: order(name) }));

  it("sends every line, then says of every line that it is known", async () => {
    const file = await fileOf(orders("i1", 50));
    const first = await importFile(file, target, { folder, batchLines: 7 });
    expect(first).to.include({ lines: 50, skipped: 0, applied: 50, unchanged: 0, rejected: 0, finished: true });
    const second = await importFile(file, target, { folder });
    expect(second).to.include({ lines: 50, skipped: 0, applied: 0, unchanged: 50, finished: true });
    expect(await readdir(folder)).to.deep.equal(["lines.ndjson"]);
  });

  it("keeps the lines of one record in order, whatever the lanes", async () => {
    const steps = ["new", "processing", "shipped", "delivered", "completed"];
    const file = await fileOf(
      steps.flatMap((status, step) =>
        orders("i2", 20).map(({ path, body }) => ({ path, body: { ...body, status, sourceRevision: step } })),
      ),
    );
    const result = await importFile(file, target, { folder, batchLines: 3, lanes: 6 });
    expect(result).to.include({ applied: 100, unchanged: 0, finished: true });
  });

  it("goes on where it was stopped", async () => {
    const file = await fileOf(orders("i3", 400));
    const stop = new AbortController();
    const importing = importFile(file, target, { folder, batchLines: 5, lanes: 2, signal: stop.signal });
    // Stopped as soon as it has noted any progress.
    const noted = async () => (await readdir(folder)).some((name) => /^[0-9a-f]{32}\.json$/.test(name));
    const deadline = Date.now() + 60_000;
    while (!(await noted()) && Date.now() < deadline) await new Promise(setImmediate);
    stop.abort();
    const stopped = await importing;
    expect(stopped.finished).to.equal(false);
    const resumed = await importFile(file, target, { folder });
    expect(resumed.finished).to.equal(true);
    expect(resumed.skipped).to.be.greaterThan(0).and.lessThan(400);
    expect(resumed.skipped + resumed.applied + resumed.unchanged).to.equal(400);
  });

  it("lists refused lines by number and takes all others", async () => {
    const file = await fileOf([
      ...orders("i4", 2),
      "no json",
      "",
      { path: "orders/i4-9", body: {} },
      ...orders("i4b", 1),
    ]);
    const result = await importFile(file, target, { folder });
    expect(result).to.include({ lines: 6, applied: 3, rejected: 2, finished: true });
    const listed = (await readFile(result.rejectedFile ?? "", "utf8"))
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(listed.map(({ line, problem }) => [line, problem.code]).sort()).to.deep.equal([
      [3, "MALFORMED_JSON"],
      [5, "VALIDATION_FAILED"],
    ]);
  });

  it("repeats what the other side could not take, and gives up in words when it stays away", async () => {
    let requests = 0;
    const flaky = createServer((request, response) => {
      let body = "";
      request.on("data", (chunk) => {
        body += chunk;
      });
      request.on("end", () => {
        requests += 1;
        const lines = body.trim().split("\n");
        if (requests === 1) return response.writeHead(503, { "retry-after": "0" }).end();
        // The second half of each batch fails, until only one line is left.
        const taken = Math.ceil(lines.length / 2);
        const answers = lines.map((_, index) =>
          index < taken ? { path: "x", status: 200, applied: true } : { path: "x", status: 503, problem: {} },
        );
        return response.end(answers.map((answer) => `${JSON.stringify(answer)}\n`).join(""));
      });
    });
    await new Promise<void>((resolve) => flaky.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(flaky.address() as AddressInfo).port}`;
    const file = await fileOf(orders("i5", 16));
    const result = await importFile(file, { ...target, commandApi: url }, { folder, lanes: 1 });
    expect(result).to.include({ applied: 16, finished: true });
    expect(requests).to.equal(6);
    await new Promise((resolve) => flaky.close(resolve));

    let failure: unknown;
    await importFile(file, { ...target, commandApi: url }, { folder, patienceMs: 300 }).catch((error) => {
      failure = error;
    });
    expect(failure).to.be.instanceOf(ImportInterrupted);
    expect((failure as Error).message).to.match(/did not take any line/);
  });
});
