import { createServer as createHttpServer, request as sendOn } from "node:http";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** A way to a server that a test can close. */
export type TcpProxy = {
  readonly port: number;
  /** From now on nothing goes through, in neither direction; connections stay open. */
  hold(): void;
  release(): void;
  /** Breaks all connections; what was held is lost. */
  cut(): void;
  stop(): Promise<void>;
};

/** Stands between a process and a server of this machine. */
export async function startTcpProxy(port: number): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  let held = false;
  const join = (from: Socket, to: Socket) => {
    sockets.add(from);
    from.on("data", (chunk) => to.write(chunk));
    from.on("error", () => to.destroy());
    from.on("close", () => {
      sockets.delete(from);
      to.destroy();
    });
    if (held) from.pause();
  };
  const server = createServer((client) => {
    const upstream = connect(port, "127.0.0.1");
    join(client, upstream);
    join(upstream, client);
  });
  return {
    port: await listening(server),
    hold() {
      held = true;
      for (const socket of sockets) socket.pause();
    },
    release() {
      held = false;
      for (const socket of sockets) socket.resume();
    },
    cut() {
      for (const socket of sockets) socket.destroy();
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

/** How an object store fails: it is full, it answers no more, or its connections break. */
export type StoreFailure = "full" | "silent" | "gone";

export type StoreProxy = {
  readonly url: string;
  /** Fails like this whatever matches, until it is told undefined. */
  fail(failure: StoreFailure | undefined, matches?: (method: string, url: string) => boolean): void;
  /** `METHOD url` of what came. */
  readonly seen: readonly string[];
  stop(): Promise<void>;
};

/** Stands before an object store. Requests go on as they came: signatures name this host. */
export async function startStoreProxy(target: string): Promise<StoreProxy> {
  const seen: string[] = [];
  let failing: { failure: StoreFailure; matches: (method: string, url: string) => boolean } | undefined;
  const server = createHttpServer((request, response) => {
    const { method = "", url = "", headers } = request;
    seen.push(`${method} ${url}`);
    if (failing?.matches(method, url)) {
      const { failure } = failing;
      if (failure === "gone") request.socket.destroy();
      if (failure === "full") {
        request.resume().on("end", () => {
          response.writeHead(507, { "content-type": "application/xml" });
          response.end("<Error><Code>XMinioStorageFull</Code><Message>no space left</Message></Error>");
        });
      }
      return;
    }
    const onward = sendOn(`${target}${url}`, { method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    onward.on("error", () => response.destroy());
    request.pipe(onward);
  });
  return {
    url: `http://127.0.0.1:${await listening(server)}`,
    fail(failure, matches = () => true) {
      failing = failure && { failure, matches };
    },
    seen,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}
