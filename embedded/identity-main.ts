/**
 * The local token issuer as a process of its own, for `docker compose`. It keeps its key and its address in DATA_DIR,
 * where `token.js` finds them.
 *
 *     PORT=8090 HOST=0.0.0.0 ISSUER_URL=http://localhost:8090 DATA_DIR=/data node dist/embedded/identity-main.js
 */
import { runProcess } from "#infrastructure/lifecycle.js";
import { dataFolderPath, openDataFolder } from "./data-folder.js";
import { createIssuerKey, type IssuerKey, startIssuer } from "./identity.js";
import { localOrg, people } from "./people.js";
import { issuerKeyFileName, stackFileName } from "./stack.js";

const keySpaceBytes = 1024 * 1024;

runProcess("identity", async ({ log, onStop }) => {
  const folder = await openDataFolder(dataFolderPath(), keySpaceBytes);
  onStop("data folder", () => folder.release());
  const kept = await folder.read<IssuerKey>(issuerKeyFileName);
  const key = kept ?? (await createIssuerKey());
  if (!kept) await folder.write(issuerKeyFileName, key);
  const issuer = await startIssuer({
    key,
    port: Number(process.env.PORT || 8090),
    host: process.env.HOST || "127.0.0.1",
    ...(process.env.ISSUER_URL ? { url: process.env.ISSUER_URL } : {}),
    org: localOrg,
    people,
  });
  onStop("issuer", () => issuer.stop());
  await folder.write(stackFileName, { issuer: issuer.url, org: localOrg });
  log.info({ issuer: issuer.url }, "listening");
});
