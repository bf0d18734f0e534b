import type { EventStoreDBClient } from "@eventstore/db-client";
import type { CallOptions, Channel, Client, Metadata, ServiceClientConstructor } from "@grpc/grpc-js";

/** The driver's protected members that open a call on its channel, with its credentials and its reconnecting. */
type Driver = {
  GRPCStreamCreator<Call>(
    constructor: ServiceClientConstructor,
    debugName: string,
    creator: (client: Client) => Call,
  ): () => Promise<Call>;
  callArguments(options: object, callOptions: CallOptions): [Metadata, CallOptions];
  getChannel(): Promise<Channel>;
};

/**
 * Opens a call over the driver's connection: its discovery, credentials, keep-alive and reconnecting, none of its
 * streams.
 *
 * @param deadline when the whole call must be over; absent for one that lasts
 */
export function openCall<Call>(
  client: EventStoreDBClient,
  constructor: ServiceClientConstructor,
  name: string,
  make: (client: Client, metadata: Metadata, options: CallOptions) => Call,
  deadline?: Date,
): Promise<Call> {
  const driver = client as unknown as Driver;
  const [metadata, options] = driver.callArguments({}, { deadline: deadline ?? Number.POSITIVE_INFINITY });
  return driver.GRPCStreamCreator(constructor, name, (raw) => make(raw, metadata, options))();
}

/** Ends every call and closes the connection, which the driver's `dispose` leaves open. */
export async function disconnect(client: EventStoreDBClient): Promise<void> {
  await client.dispose();
  (await (client as unknown as Driver).getChannel()).close();
}
