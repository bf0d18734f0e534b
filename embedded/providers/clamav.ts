import { createServer, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import type { HttpStandIn, StandInServer } from "./stand-in.js";

/** The test file of the anti-virus industry, in two parts so that no scanner finds this file. */
export const eicar = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR", "-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].join("");

/**
 * A scan that goes wrong: an answer of ERROR, a broken connection, silence, a verdict that comes late, or one that
 * waits for `POST /control/clamav/release`.
 */
type PlayedScan = {
  readonly mode: "error" | "drop" | "hang" | "slow" | "hold";
  readonly times: number;
  readonly delayMs?: number;
};

/** With its place at the control endpoint, where failures can be asked of it. */
export type ClamavServer = StandInServer & { readonly control: HttpStandIn };

/** clamd's own limit of a stream, StreamMaxLength. */
const streamLimit = 100 * 1024 * 1024;

/**
 * clamd as far as we talk to it: PING, VERSION and INSTREAM over TCP, in the `n` and `z` forms. It knows one virus,
 * EICAR. `POST /control/clamav/play {"mode": "slow", "times": 1, "delayMs": 500}` makes the next scans go wrong;
 * `POST /control/clamav/scans` tells how many began and how many got their verdict.
 *
 * @param port 0 for any free one
 */
export async function startClamav(port: number): Promise<ClamavServer> {
  let played: PlayedScan[] = [];
  let held: (() => void)[] = [];
  const scans = { begun: 0, ended: 0 };
  const sockets = new Set<Socket>();

  const take = (): PlayedScan | undefined => {
    const [first, ...others] = played;
    if (!first) return undefined;
    played = first.times > 1 ? [{ ...first, times: first.times - 1 }, ...others] : others;
    return first;
  };

  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    let begun = false;
    const reader = new CommandReader({
      onCommand: (command, end) => {
        if (command === "PING") socket.end(`PONG${end}`);
        else if (command === "VERSION") socket.end(`ClamAV 1.4.6/27000/local stand-in${end}`);
        else socket.end(`UNKNOWN COMMAND${end}`);
      },
      onTooLong: (end) => socket.end(`INSTREAM size limit exceeded. ERROR${end}`),
      onStream: (infected, end) => {
        const verdict = infected ? "Eicar-Test-Signature FOUND" : "OK";
        const say = (text: string) => {
          scans.ended++;
          socket.end(`stream: ${text}${end}`);
        };
        const failure = take();
        if (failure?.mode === "drop") socket.resetAndDestroy();
        else if (failure?.mode === "error") say("Can't allocate memory ERROR");
        else if (failure?.mode === "slow") setTimeout(() => say(verdict), failure.delayMs ?? 0).unref();
        else if (failure?.mode === "hold") held.push(() => say(verdict));
        else if (failure === undefined) say(verdict);
      },
    });
    socket.on("data", (chunk) => {
      reader.read(chunk);
      if (reader.streaming && !begun) {
        begun = true;
        scans.begun++;
      }
    });
  });
  server.listen(port, "127.0.0.1");
  await new Promise<void>((resolve, reject) => {
    server.once("listening", resolve);
    server.once("error", reject);
  });

  const control: HttpStandIn = {
    name: "clamav",
    mount: "/clamav",
    handle: () => ({ status: 404 }),
    actions: {
      play: (asked) => {
        const { mode, times = 1, delayMs = 0 } = asked as Partial<PlayedScan>;
        if (!mode || !["error", "drop", "hang", "slow", "hold"].includes(mode)) throw new Error("no such failure");
        played.push({ mode, times, delayMs });
      },
      clear: () => {
        played = [];
      },
      release: () => {
        for (const answer of held) answer();
        held = [];
      },
      scans: () => scans,
    },
  };
  return {
    port: (server.address() as AddressInfo).port,
    control,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

type Listener = {
  /** A command and the mark that ends answers in its form. */
  readonly onCommand: (command: string, end: string) => void;
  readonly onStream: (infected: boolean, end: string) => void;
  readonly onTooLong: (end: string) => void;
};

/** Takes clamd's commands out of a byte stream: `zPING\0`, `nPING\n`, and INSTREAM with its length-prefixed chunks. */
class CommandReader {
  /** Whether chunks are being read. */
  streaming = false;
  #pending: Buffer = Buffer.alloc(0);
  #end = "\n";
  /** Bytes of the present chunk that are still to come, and bytes of the whole stream so far. */
  #left = 0;
  #length = 0;
  /** The end of what came before: a virus may lie across two chunks. */
  #tail: Buffer = Buffer.alloc(0);
  #infected = false;

  constructor(readonly listener: Listener) {}

  read(chunk: Buffer): void {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    while (this.streaming ? this.#readChunk() : this.#readCommand());
  }

  #readCommand(): boolean {
    const form = this.#pending[0];
    this.#end = form === 0x7a ? "\0" : "\n";
    const length = this.#pending.indexOf(this.#end);
    if (length < 0) return false;
    const command = this.#pending.toString("latin1", form === 0x7a || form === 0x6e ? 1 : 0, length).trim();
    this.#pending = this.#pending.subarray(length + 1);
    if (command === "INSTREAM") this.streaming = true;
    else this.listener.onCommand(command, this.#end);
    return true;
  }

  #readChunk(): boolean {
    if (this.#left === 0) {
      if (this.#pending.length < 4) return false;
      this.#left = this.#pending.readUInt32BE(0);
      this.#pending = this.#pending.subarray(4);
      if (this.#left > 0) return true;
      this.streaming = false;
      this.listener.onStream(this.#infected, this.#end);
      return true;
    }
    // A chunk may be as long as the file: what there is of it is looked at.
    const bytes = this.#pending.subarray(0, this.#left);
    if (bytes.length === 0) return false;
    this.#pending = this.#pending.subarray(bytes.length);
    this.#left -= bytes.length;
    this.#length += bytes.length;
    if (this.#length > streamLimit) {
      this.listener.onTooLong(this.#end);
      return false;
    }
    const seen = Buffer.concat([this.#tail, bytes]);
    this.#infected ||= seen.includes(eicar, 0, "latin1");
    this.#tail = Buffer.from(seen.subarray(-eicar.length));
    return true;
  }
}
