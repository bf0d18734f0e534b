import { connect, createServer } from "node:net";

const host = "127.0.0.1";

/** Whether this port can be listened on right now. */
export function isPortFree(port: number, address = host): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host: address, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/**
 * Ports are picked below the range that systems take for outgoing connections (from 32768 on Linux). Inside it, an
 * address could be lost while its server is started again: to some outgoing connection, or to a client's own
 * reconnecting, which now and then connects a socket to itself.
 */
const range = { first: 20_000, count: 12_000 };
/** Processes that start at the same time begin at different places, so they do not pick the same free port. */
let next = (process.pid * 16) % range.count;

/**
 * Picks free ports of this machine, all different.
 *
 * @param preferred for each one, the port it had last time: taken again when it is still free
 */
export async function pickPorts<K extends string>(
  names: readonly K[],
  preferred: Partial<Record<K, number>> = {},
): Promise<Record<K, number>> {
  const ports = {} as Record<K, number>;
  const taken = new Set(Object.values(preferred));
  for (const name of names) {
    const wanted = preferred[name];
    ports[name] = wanted && (await isPortFree(wanted)) ? wanted : await nextFreePort(taken);
  }
  return ports;
}

async function nextFreePort(taken: ReadonlySet<unknown>): Promise<number> {
  for (let tries = 0; tries < range.count; tries++) {
    const port = range.first + next;
    next = (next + 1) % range.count;
    if (!taken.has(port) && (await isPortFree(port))) return port;
  }
  throw new Error("this machine has no free port on 127.0.0.1");
}

/** Whether something accepts connections on this port. */
export function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host });
    const done = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => done(true));
    socket.once("error", () => done(false));
    socket.setTimeout(1_000, () => done(false));
  });
}

/** Sends one line and gives what comes back first, or an empty string. */
export function askLine(port: number, line: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ port, host }, () => socket.write(line));
    const done = (answer: string) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("data", (data) => done(data.toString()));
    socket.once("error", () => done(""));
    socket.setTimeout(1_000, () => done(""));
  });
}
