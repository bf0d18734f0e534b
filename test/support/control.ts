import type { PlannedFailure } from "../../embedded/providers/failures.js";
import type { SeenRequest } from "../../embedded/providers/server.js";

/** The control endpoint of one stand-in. */
export type Control = {
  /** Plays a failure at the next request that matches, or several. */
  fail(failure: Partial<PlannedFailure>): Promise<void>;
  /** Takes back what was planned, and forgets what was seen. */
  reset(): Promise<void>;
  /** Requests that came since the last reset, as `METHOD path`. */
  requests(): Promise<string[]>;
  /** An action of the stand-in's own. */
  act(action: string, body?: object): Promise<any>;
};

/** Talks to the control endpoint of a stand-in. */
export function controlOf(providers: string, name: string): Control {
  const call = async (method: string, action: string, body?: object): Promise<any> => {
    const answer = await fetch(`${providers}/control/${name}/${action}`, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${action}: ${answer.status} ${text}`);
    return text === "" ? undefined : JSON.parse(text);
  };
  return {
    fail: (failure) => call("POST", "failures", failure),
    reset: async () => {
      await call("DELETE", "failures");
      await call("DELETE", "requests");
    },
    requests: async () => {
      const seen: SeenRequest[] = await call("GET", "requests");
      return seen.map(({ method, path }) => `${method} ${path.split("?")[0]}`);
    },
    act: (action, body = {}) => call("POST", action, body),
  };
}
