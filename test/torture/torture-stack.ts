import { startOwnStack } from "../support/own-stack.js";
import { customerIds, customerLine, ingest } from "../support/population.js";
import type { TortureStack } from "./torture.js";

/** Few, so that commands often meet on one stream. */
const customers = customerIds(0, 12);

/** Starts a stack to be tortured, with customers that the platform has made known. */
export async function startTortureStack(
  say: (line: string) => void,
): Promise<TortureStack & { stop(): Promise<void> }> {
  const { stack, issuer, stackFile, stop } = await startOwnStack(say);
  try {
    const serviceToken = await issuer.serviceToken();
    const { gateway, commandApi, eventStore, mongodb } = stack.file;
    await ingest({ commandApi, org: issuer.org, serviceToken }, customers.map(customerLine));
    const tokens = await issuer.tokensOf(customers);
    return {
      stackFile,
      gateway,
      commandApi,
      eventStore,
      mongodb,
      database: stack.environment.MONGODB_DATABASE ?? "client-data",
      org: issuer.org,
      tokens: new Map(customers.map((customer, index) => [customer, tokens[index] as string])),
      serviceToken,
      verify: async () => [],
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
