import type { EventEmitter } from "node:events";
import { createRequire } from "node:module";

/** What the driver's class has that is needed here; it is not exported. */
type DriverConnection = EventEmitter & {
  /** Why it was closed. */
  readonly error: Error | null;
  writeCommand(command: unknown, options: unknown): Promise<void>;
};

const { Connection } = createRequire(import.meta.url)("mongodb/lib/cmap/connection.js") as {
  Connection: { prototype: DriverConnection };
};

/**
 * Ends a command's writing when its connection is closed. Where the socket takes no more, the driver waits for `drain`
 * or an error, and for nothing else: neither comes from a socket that was closed in good order just before (a server
 * that died, noticed between two events), nor from one that the driver itself gives up after a timeout. That command
 * would never end, whatever time limits there are.
 *
 * Written for driver 7.9.
 */
export function guardWrites(): void {
  if (isGuarded) return;
  isGuarded = true;
  const { writeCommand } = Connection.prototype;
  Connection.prototype.writeCommand = function (this: DriverConnection, command: unknown, options: unknown) {
    if (this.error) return Promise.reject(this.error);
    return new Promise((resolve, reject) => {
      const onClose = () => reject(this.error);
      this.once("close", onClose);
      writeCommand
        .call(this, command, options)
        .then(resolve, reject)
        .finally(() => this.off("close", onClose));
    });
  };
}

let isGuarded = false;
