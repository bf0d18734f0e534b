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
 * Picks free ports of this machine, all different.
 *
 * @param preferred for each one, the port it had last time: taken again when it is still free
 */
export async function pickPorts<K extends string>(
  names: readonly K[],
  preferred: Partial<Record<K, number>> = {},
): Promise<Record<K, number>> {
  const ports = {} as Record<K, number>;
  const open: ReturnType<typeof createServer>[] = [];
  try {
    for (const name of names) {
      const wanted = preferred[name] ?? 0;
      // Listening until all are chosen keeps the system from handing out one port twice.
      const server = (await listen(wanted)) ?? (await listen(0));
      if (!server) throw new Error("this machine has no free port on 127.0.0.1");
      open.push(server);
      ports[name] = (server.address() as { port: number }).port;
    }
  } finally {
    await Promise.all(open.map((server) => new Promise((resolve) => server.close(resolve))));
  }
  return ports;
}

function listen(port: number): Promise<ReturnType<typeof createServer> | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(undefined));
    server.listen({ port, host, exclusive: true }, () => resolve(server));
  });
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
