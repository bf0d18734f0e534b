/** A request as a stand-in sees it; `path` is below the mount. */
export type WireRequest = {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
};

/** An answer: an object goes as JSON, text and bytes as they are. */
export type WireAnswer = {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: object | string | Buffer;
};

/**
 * A provider played on this machine, in the provider's own wire format: what it answers, it answers as the provider
 * would. Failures are not its business: the server plays them around it.
 */
export type HttpStandIn = {
  /** In the paths of the control endpoint. */
  readonly name: string;
  /** Path prefix of its base URL; empty for the one whose client knows no base path. */
  readonly mount: string;
  readonly handle: (request: WireRequest) => WireAnswer | Promise<WireAnswer>;
  /** What can be asked of it besides: `POST /control/<name>/<action>` with a JSON body; the result is answered as JSON. */
  readonly actions?: Readonly<Record<string, (body: unknown) => unknown>>;
};

/** A stand-in that speaks a protocol of its own, on a port of its own. */
export type StandInServer = { readonly port: number; stop(): Promise<void> };
