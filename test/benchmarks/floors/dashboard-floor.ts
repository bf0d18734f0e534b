/**
 * Floor of GET dashboard: verify the token, one `findOne` by `_id` on the very documents the product reads, send
 * what was found. Environment: TOKENS, MONGODB_URL, DATABASE, COLLECTION, ID_SUFFIX.
 */
import { MongoClient } from "mongodb";
import { ownerKey } from "#domain/core/identifiers.js";
import { answer, serve } from "./floor-server.js";

const { MONGODB_URL = "", DATABASE, COLLECTION = "", ID_SUFFIX = "" } = process.env;
const client = await new MongoClient(MONGODB_URL).connect();
const dashboards = client.db(DATABASE).collection<{ _id: string }>(COLLECTION);

serve(async (caller, _request, response) => {
  const document = await dashboards.findOne({ _id: `${ownerKey(caller)}${ID_SUFFIX}` });
  answer(response, document ? 200 : 404, { data: document });
});
