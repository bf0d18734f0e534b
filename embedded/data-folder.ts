import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The project's own folder: above `dist/embedded/`. */
export const projectFolder = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Where fetched server programs are kept: `CLIENT_DATA_CACHE`, or `.cache/servers` in the project. */
export const defaultCacheFolder = resolve(process.env.CLIENT_DATA_CACHE || join(projectFolder, ".cache", "servers"));
