/**
 * `npm run import -- <file.ndjson>`: sends a file of `{"path","body"}` lines through the batch endpoint of the running
 * stack.
 *
 * Exit codes: 0 everything is in, 1 some lines were refused (listed in a file), 2 wrong usage, 3 the stack is not
 * reachable, 5 stopped early: the same command goes on where this one stopped.
 */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, readFileSync } from "node:fs";
import { mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { startProgress } from "#infrastructure/progress.js";
import { dataFolderPath } from "./data-folder.js";
import { type StackFile, stackFileName } from "./stack.js";

/** Where and as whom to import. */
export type ImportTarget = { readonly commandApi: string; readonly org: string; readonly serviceToken: string };

export type ImportResult = {
  readonly lines: number;
  /** Lines this run did not send, because an earlier one had. */
  readonly skipped: number;
  readonly applied: number;
  /** Already known, or older than what is known. */
  readonly unchanged: number;
  readonly rejected: number;
  /** Where the refused lines are listed with the reason of each, when there are any. */
  readonly rejectedFile?: string;
  readonly seconds: number;
  readonly finished: boolean;
};

/** The stack did not take lines for longer than an import waits. */
export class ImportInterrupted extends Error {}

type NumberedLine = { readonly number: number; readonly text: string };
type LineAnswer = { path: string | null; status: number; applied?: boolean; problem?: { code?: string } };

/** Limits of `POST /internal/ingest/batch`; the newline counts. */
const mostLines = 1_000;
const mostBytes = 5 * 1024 * 1024;

/**
 * Imports a file. Lines of one record go through one lane, so they keep their order; lanes run at once. Progress is
 * the number of lines answered without a gap, kept in a file named by the content's digest: an import that was stopped
 * goes on there, one that finished starts anew, and sending a line twice is harmless.
 *
 * @param options `folder` holds progress and refused lines; `lanes` is how many batches are under way at once,
 *   `batchLines` how many lines one has at most; `patienceMs` how long a batch is repeated while the stack is unreachable or overloaded
 * @throws ImportInterrupted when the stack stays unreachable
 */
export async function importFile(
  file: string,
  target: ImportTarget,
  options: {
    readonly folder: string;
    readonly lanes?: number;
    readonly batchLines?: number;
    readonly patienceMs?: number;
    readonly signal?: AbortSignal;
    readonly showProgress?: boolean;
  },
): Promise<ImportResult> {
  const { lanes: laneCount = 4, batchLines = mostLines, patienceMs = 60_000 } = options;
  const began = performance.now();
  const stop = new AbortController(); // one lane's failure stops the others
  const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
  const { digest, lines } = await inspect(file, `${target.commandApi} ${target.org}`);
  await mkdir(options.folder, { recursive: true });
  const progressFile = join(options.folder, `${digest}.json`);
  const rejectedFile = join(options.folder, `${digest}.rejected.ndjson`);
  const skipped = Math.min(await linesDone(progressFile), lines);
  if (skipped === 0) await rm(rejectedFile, { force: true });

  const counts = { applied: 0, unchanged: 0, rejected: 0 };
  const rejections = createWriteStream(rejectedFile, { flags: "a" });
  const progress = options.showProgress
    ? startProgress({ label: "Importing", unit: "lines", total: lines, start: skipped })
    : undefined;
  const lanes = Array.from({ length: laneCount }, () => new Lane(Math.min(batchLines, mostLines)));
  let read = skipped;
  let saved = skipped;

  const answered = (line: NumberedLine, answer: LineAnswer) => {
    if (answer.status >= 300) {
      counts.rejected += 1;
      rejections.write(`${JSON.stringify({ line: line.number, ...answer })}\n`);
    } else if (answer.applied) counts.applied += 1;
    else counts.unchanged += 1;
  };
  const saveProgress = async () => {
    const done = Math.min(read, ...lanes.map((lane) => lane.firstUnanswered - 1));
    progress?.update(done);
    if (done <= saved) return;
    saved = done;
    await writeFile(`${progressFile}.tmp`, JSON.stringify({ file: resolve(file), lines, done }));
    await rename(`${progressFile}.tmp`, progressFile);
  };
  let saving = Promise.resolve();
  const send = async (lane: Lane) => {
    const batch = lane.take();
    if (batch.length === 0) return;
    await sendBatch(batch, target, { patienceMs, signal, answered });
    lane.answered();
    saving = saving.then(saveProgress);
    await saving;
  };

  try {
    let number = 0;
    for await (const text of createInterface({ input: createReadStream(file), crlfDelay: Number.POSITIVE_INFINITY })) {
      number += 1;
      if (number <= skipped) continue;
      if (signal.aborted) break;
      read = number;
      if (text.trim() === "") continue;
      const lane = lanes[laneOf(text, laneCount)] as Lane;
      if (!lane.hasRoomFor(text)) {
        await lane.free; // one batch of a lane at a time: its order is the file's
        lane.free = send(lane);
        lane.free.catch(() => {}); // seen by whoever awaits the lane next
      }
      lane.add({ number, text });
    }
    await Promise.all(
      lanes.map(async (lane) => {
        await lane.free;
        if (!signal.aborted) await send(lane);
      }),
    );
  } catch (error) {
    if (!options.signal?.aborted) throw error;
  } finally {
    stop.abort();
    await Promise.allSettled(lanes.map((lane) => lane.free));
    progress?.stop();
    await new Promise((done) => rejections.end(done));
    if ((await stat(rejectedFile)).size === 0) await rm(rejectedFile);
  }
  const finished = saved >= lines;
  if (finished) await rm(progressFile, { force: true });
  return {
    lines,
    skipped,
    ...counts,
    ...(counts.rejected > 0 ? { rejectedFile } : {}),
    seconds: (performance.now() - began) / 1000,
    finished,
  };
}

/** Lines waiting for their batch, and the batch under way. */
class Lane {
  private readonly mostLines: number;
  private waiting: NumberedLine[] = [];
  private bytes = 0;
  private underWay: readonly NumberedLine[] = [];
  /** Settles when the batch under way is answered. */
  free: Promise<void> = Promise.resolve();

  constructor(mostLines: number) {
    this.mostLines = mostLines;
  }

  hasRoomFor(text: string): boolean {
    return this.waiting.length < this.mostLines && this.bytes + Buffer.byteLength(text) + 1 <= mostBytes;
  }
  add(line: NumberedLine): void {
    this.waiting.push(line);
    this.bytes += Buffer.byteLength(line.text) + 1;
  }
  take(): readonly NumberedLine[] {
    this.underWay = this.waiting;
    this.waiting = [];
    this.bytes = 0;
    return this.underWay;
  }
  answered(): void {
    this.underWay = [];
  }
  get firstUnanswered(): number {
    return this.underWay[0]?.number ?? this.waiting[0]?.number ?? Number.POSITIVE_INFINITY;
  }
}

/** Lines of one record share a lane. */
function laneOf(text: string, lanes: number): number {
  const path = /"path"\s*:\s*"([^"]*)"/.exec(text)?.[1] ?? "";
  let hash = 0;
  for (let index = 0; index < path.length; index++) hash = (hash * 31 + path.charCodeAt(index)) >>> 0;
  return hash % lanes;
}

/** Sends a batch until each of its lines has a final answer; what the stack could not take is sent again. */
async function sendBatch(
  batch: readonly NumberedLine[],
  target: ImportTarget,
  options: {
    readonly patienceMs: number;
    readonly signal: AbortSignal;
    readonly answered: (line: NumberedLine, answer: LineAnswer) => void;
  },
): Promise<void> {
  let open = batch;
  let lastProgress = performance.now();
  for (let attempt = 0; open.length > 0; attempt++) {
    const { answers, retryAfterMs, why } = await post(open, target, options.signal);
    const again: NumberedLine[] = [];
    open.forEach((line, index) => {
      const answer = answers?.[index];
      if (!answer || answer.status === 429 || answer.status >= 500) again.push(line);
      else options.answered(line, answer);
    });
    if (again.length < open.length) {
      lastProgress = performance.now();
      attempt = 0;
    }
    open = again;
    if (open.length === 0) return;
    if (performance.now() - lastProgress > options.patienceMs) {
      throw new ImportInterrupted(`The stack did not take any line for ${options.patienceMs / 1000} s: ${why}.`);
    }
    await delay(retryAfterMs ?? Math.min(100 * 2 ** attempt, 5_000), undefined, { signal: options.signal });
  }
}

async function post(
  lines: readonly NumberedLine[],
  target: ImportTarget,
  signal: AbortSignal,
): Promise<{ answers?: LineAnswer[]; retryAfterMs?: number; why: string }> {
  let response: Response;
  let text: string;
  try {
    response = await fetch(`${target.commandApi}/internal/ingest/batch`, {
      method: "POST",
      headers: {
        orgid: target.org,
        authorization: `Bearer ${target.serviceToken}`,
        "content-type": "application/x-ndjson",
      },
      body: lines.map((line) => `${line.text}\n`).join(""),
      signal: AbortSignal.any([AbortSignal.timeout(120_000), signal]),
    });
    text = await response.text();
  } catch (error) {
    if (signal.aborted) throw error;
    const { message, cause } = error as Error;
    return { why: cause instanceof Error ? cause.message || message : message };
  }
  if (response.ok) {
    const answers = text
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as LineAnswer);
    return { answers, why: "it answered 5xx or 429 to every line" };
  }
  // The batch as a whole: overload passes, anything else would be refused again and again.
  if (response.status !== 429 && response.status < 500) {
    throw new Error(`The command API refused the batch: ${response.status} ${text.slice(0, 500)}`);
  }
  const retryAfter = Number(response.headers.get("retry-after"));
  return {
    why: `it answered ${response.status}`,
    ...(retryAfter > 0 ? { retryAfterMs: Math.min(retryAfter * 1000, 30_000) } : {}),
  };
}

/** Number of lines of a file, and a digest of its content and of where it goes. */
async function inspect(file: string, destination: string): Promise<{ digest: string; lines: number }> {
  const hash = createHash("sha256").update(destination);
  let lines = 0;
  let last = 0x0a;
  for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    for (let at = chunk.indexOf(0x0a); at !== -1; at = chunk.indexOf(0x0a, at + 1)) lines += 1;
    last = chunk[chunk.length - 1] ?? last;
  }
  return { digest: hash.digest("hex").slice(0, 32), lines: last === 0x0a ? lines : lines + 1 };
}

async function linesDone(progressFile: string): Promise<number> {
  try {
    const { done } = JSON.parse(await readFile(progressFile, "utf8")) as { done: number };
    return Number.isSafeInteger(done) && done > 0 ? done : 0;
  } catch {
    return 0; // none yet, or one that a full disk cut short: sending again is harmless
  }
}

/** The running stack as `DATA_DIR/stack.json` tells it, each part overridden by the environment. */
function findTarget(dataFolder: string): ImportTarget {
  const { COMMAND_API_URL, SERVICE_TOKEN, ORG_ID } = process.env;
  let stack: Partial<StackFile> = {};
  try {
    stack = JSON.parse(readFileSync(join(dataFolder, stackFileName), "utf8"));
  } catch {
    // not running here; the environment may say enough
  }
  const commandApi = COMMAND_API_URL || stack.commandApi;
  const serviceToken = SERVICE_TOKEN || stack.serviceToken;
  const org = ORG_ID || stack.org;
  if (!commandApi || !serviceToken || !org) {
    throw new ImportInterrupted(
      `No running stack was found in ${dataFolder}: start one by \`npm start\`, or set COMMAND_API_URL, ORG_ID and SERVICE_TOKEN.`,
    );
  }
  return { commandApi, org, serviceToken };
}

async function main(): Promise<number> {
  const file = process.argv[2];
  if (process.argv.length !== 3 || !file || file.startsWith("-")) {
    process.stderr.write("usage: npm run import -- <file.ndjson>\n");
    return 2;
  }
  if (!(await stat(file).catch(() => undefined))?.isFile()) {
    process.stderr.write(`There is no file ${file}.\n`);
    return 2;
  }
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
  const dataFolder = dataFolderPath();
  try {
    const target = findTarget(dataFolder);
    const folder = join(dataFolder, "imports");
    const result = await importFile(file, target, { folder, signal: stop.signal, showProgress: true });
    const figure = (value: number) => Math.round(value).toLocaleString("en");
    const sent = result.applied + result.unchanged + result.rejected;
    console.log(
      `${figure(result.lines)} lines: ${figure(result.applied)} applied, ${figure(result.unchanged)} known already, ` +
        `${figure(result.rejected)} refused, ${figure(result.skipped)} done before; ` +
        `${result.seconds.toFixed(1)} s, ${figure(sent / result.seconds)} lines/s`,
    );
    if (!result.finished) {
      process.stderr.write("Stopped early: the same command goes on from here.\n");
      return 5;
    }
    if (result.rejectedFile) process.stderr.write(`The refused lines are listed in ${result.rejectedFile}\n`);
    return result.rejected > 0 ? 1 : 0;
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    return error instanceof ImportInterrupted ? 3 : 1;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = await main();
