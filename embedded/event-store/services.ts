/** The services the store offers. Whatever is not here is answered UNIMPLEMENTED by the transport. */

import { randomUUID } from "node:crypto";
import type { EventLog } from "./event-log.js";
import type { GroupCommit } from "./group-commit.js";
import { type LimitedRead, serveRead } from "./read-calls.js";
import type { ReadRequest } from "./requests.js";
import { decodeReadRequest } from "./requests.js";
import type { SupportedMethod } from "./responses.js";
import { gossipResponse, supportedMethodsResponse } from "./responses.js";
import { INTERNAL_ERROR } from "./status.js";
import { serveSubscription } from "./subscriptions.js";
import type { Call, OpenCall, Service } from "./grpc.js";
import { openAppend, openBatchAppend, openDelete, requestFault } from "./write-calls.js";

/** The server version that clients are told: they choose their behaviour by it. */
const SERVER_VERSION = "24.10.0";

const STREAMS = "event_store.client.streams.Streams";
const SERVER_FEATURES = "event_store.client.server_features.ServerFeatures";
const GOSSIP = "event_store.client.gossip.Gossip";

/** Lower case, as the original server spells them. */
const SUPPORTED_METHODS: readonly SupportedMethod[] = [
  { service: STREAMS.toLowerCase(), method: "read", features: ["position", "events"] },
  { service: STREAMS.toLowerCase(), method: "append", features: [] },
  { service: STREAMS.toLowerCase(), method: "delete", features: [] },
  { service: STREAMS.toLowerCase(), method: "tombstone", features: [] },
  { service: STREAMS.toLowerCase(), method: "batchappend", features: ["deadline_duration"] },
  { service: GOSSIP.toLowerCase(), method: "read", features: [] },
  { service: SERVER_FEATURES.toLowerCase(), method: "getsupportedmethods", features: [] },
];

/** @param onFault hears of faults of the store itself, whose calls have then been failed */
export function streamsService(log: EventLog, commit: GroupCommit, onFault: (error: unknown) => void): Service {
  return {
    name: STREAMS,
    methods: {
      Append: (call) => openAppend(commit, call),
      BatchAppend: (call) => openBatchAppend(commit, call),
      Delete: (call) => openDelete("delete", commit, call),
      Tombstone: (call) => openDelete("tombstone", commit, call),
      Read: (call) => ({
        onMessage(message) {
          void read(log, call, message, onFault);
        },
      }),
    },
  };
}

async function read(log: EventLog, call: Call, message: Buffer, onFault: (error: unknown) => void): Promise<void> {
  try {
    const request = decodeReadRequest(message);
    if (isLimited(request)) await serveRead(log, call, request);
    else await serveSubscription(log, call, request);
  } catch (error) {
    try {
      call.fail(requestFault(error));
    } catch (fault) {
      onFault(fault);
      call.fail(INTERNAL_ERROR);
    }
  }
}

function isLimited(request: ReadRequest): request is LimitedRead {
  return request.count !== undefined;
}

/** What clients ask first: which methods there are. */
export function serverFeaturesService(): Service {
  return {
    name: SERVER_FEATURES,
    methods: { GetSupportedMethods: answerOnce(() => supportedMethodsResponse(SERVER_VERSION, SUPPORTED_METHODS)) },
  };
}

/**
 * How clients with several addresses find the leader: it is the one that they have just asked, under the address that
 * they asked it by. The server itself may know another one, or none, behind a forwarded port.
 */
export function gossipService(): Service {
  const instanceId = randomUUID();
  return {
    name: GOSSIP,
    methods: {
      Read: answerOnce((call) => {
        const { hostname, port } = new URL(`http://${call.header(":authority") ?? call.header("host")}`);
        return gossipResponse(instanceId, hostname.replace(/^\[|\]$/g, ""), Number(port || 80), new Date());
      }),
    },
  };
}

function answerOnce(response: (call: Call) => Buffer): OpenCall {
  return (call) => ({ onMessage: () => call.answer(response(call)) });
}
