import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { findServer, ServerMissing } from "../embedded/provision.js";

describe("finding server programs", () => {
  let folder: string;
  const say = () => {};
  const program = async (path: string, mode = 0o755) => {
    await mkdir(join(path, ".."), { recursive: true });
    await writeFile(path, "#!/bin/sh\n");
    await chmod(path, mode);
    return path;
  };
  const failure = (search: Promise<string>) =>
    search.then(
      (found) => expect.fail(`found ${found}`),
      (error: Error) => error,
    );

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "client-data-test-"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it("takes a program on PATH before one in the cache", async () => {
    const onPath = await program(join(folder, "bin", "mongod"));
    const cacheFolder = join(folder, "cache");
    const cached = await program(join(cacheFolder, "mongod-6.0.5"));
    expect(await findServer("mongod", { cacheFolder, say, path: join(folder, "bin") })).to.equal(onPath);
    expect(await findServer("mongod", { cacheFolder, say, path: join(folder, "none") })).to.equal(cached);
  });

  it("takes Valkey or Redis, whichever is there", async () => {
    const redis = await program(join(folder, "bin", "redis-server"));
    expect(await findServer("valkey", { cacheFolder: folder, say, path: join(folder, "bin") })).to.equal(redis);
  });

  it("passes over a file that cannot be run", async () => {
    await program(join(folder, "bin", "mongod"), 0o644);
    await mkdir(join(folder, "more", "mongod"), { recursive: true });
    const path = `${join(folder, "bin")}:${join(folder, "more")}`;
    const error = await failure(findServer("mongod", { cacheFolder: folder, say, path, platform: "darwin-arm64" }));
    expect(error).to.be.instanceOf(ServerMissing);
  });

  it("says in one sentence what is missing and three ways to get it", async () => {
    for (const [name, ways] of [
      ["mongod", ["mongod is on PATH", "set MONGODB_URL", "docker compose up"]],
      ["valkey", ["valkey-server or redis-server is on PATH", "set REDIS_URL", "docker compose up"]],
    ] as const) {
      const { message } = await failure(
        findServer(name, { cacheFolder: folder, say, path: join(folder, "bin"), platform: "linux-x64" }),
      );
      for (const way of ways) expect(message).to.contain(way);
      expect(message).to.contain("python3 is not on PATH").and.not.contain("\n");
    }
  });

  it("gives up fetching when pip fails, and leaves nothing behind in the cache", async () => {
    const python = await program(join(folder, "bin", "python3"));
    await writeFile(python, "#!/bin/sh\nexit 3\n");
    const cacheFolder = join(folder, "cache");
    const path = `${join(folder, "bin")}:/bin:/usr/bin`;
    const error = await failure(findServer("valkey", { cacheFolder, say, path, platform: "linux-x64" }));
    expect(error.message).to.contain("python3 ended with exit code 3");
    expect(await readdir(cacheFolder)).to.deep.equal([]);
  });

  it("refuses a wheel that is not the pinned one", async () => {
    const python = await program(join(folder, "bin", "python3"));
    // Stands for pip: writes some file where the wheel is expected, the argument after --dest.
    await writeFile(python, '#!/bin/sh\nwhile [ "$1" != --dest ]; do shift; done\necho other > "$2/x.whl"\n');
    const path = `${join(folder, "bin")}:/bin:/usr/bin`;
    const error = await failure(findServer("mongod", { cacheFolder: folder, say, path, platform: "linux-x64" }));
    expect(error.message).to.contain("not the expected file");
  });
});
