import { Command, CommanderError, Option } from "commander";
import { exitCodes, type Outcome, report } from "./output.js";

/** `client-data`: the operator's and analyst's command. Verbs are loaded when named, so that each starts fast. */
const program = new Command("client-data")
  .description("Operate and question the event-sourced customer account service.")
  .option("--json", "one JSON object {v, command, status, data, problems} on stdout; streams as NDJSON")
  .configureOutput({ writeOut: (text) => process.stdout.write(text), writeErr: (text) => process.stderr.write(text) })
  .addHelpText(
    "after",
    `
Exit codes: 0 ok · 1 found (difference, failed check, lag over --max, parked) · 2 usage, configuration
            3 dependency unreachable · 4 refused for safety · 5 stopped early, the same command resumes
Times (T):  RFC 3339 with a zone, a date (its end, UTC), -24h / -90m / -7d, or <epoch>.<position>
Personal fields stay masked; --reveal with --reason TEXT opens them and records who and why.`,
  )
  .exitOverride();

/** Runs a verb through the reporter; commander hands the parsed options last. */
function verb(name: string, run: () => Promise<Outcome>): Promise<void> {
  return report(name, program.opts<{ json?: boolean }>().json === true, run).then((code) => {
    process.exitCode = code;
  });
}

const at = () => new Option("--at <T>", "as of this moment (commit time)");
const owner = (command: Command) =>
  command.option("--org <org>", "the organisation", process.env.CLIENT_DATA_ORG ?? "acme");
const reveal = (command: Command) =>
  command
    .option("--reveal", "open personal fields; needs --reason, and is recorded")
    .option("--reason <text>", "why they are opened");
const writes = (command: Command) =>
  command
    .option("--dry-run", "say what would happen, change nothing")
    .option("--yes", "needed in production for what changes something");

const streams = program.command("streams").description("the event streams");
streams
  .command("list")
  .description("streams with their event counts and times")
  .option("--org <org>", "of one organisation")
  .option("--customer <id>", "of one customer")
  .option("--category <category>", "of one category, e.g. wishlist")
  .option("--since <T>", "touched since")
  .option("--sort <field>", "events, last or stream", "stream")
  .option("--limit <n>", "at most so many", "100")
  .action((options) => verb("streams list", async () => (await import("./streams.js")).list(options)));
reveal(streams.command("show").argument("<stream>"))
  .description("the events of one stream")
  .addOption(at())
  .option("--from <revision>", "first revision", "0")
  .option("--limit <n>", "at most so many", "1000")
  .action((stream, options) => verb("streams show", async () => (await import("./streams.js")).show(stream, options)));
reveal(streams.command("tail").argument("[prefix]", "stream name prefix, e.g. order-acme"))
  .description("follow new events as NDJSON, until interrupted")
  .option("--since <T>", "start there instead of at the end")
  .option("--count <n>", "stop after so many events")
  .action((prefix, options) => verb("streams tail", async () => (await import("./streams.js")).tail(prefix, options)));

const projections = program.command("projections").description("the read models and what keeps them");
projections
  .command("list")
  .description("every projection: version, generation, position, state, parked owners")
  .action(() => verb("projections list", async () => (await import("./projections.js")).list()));
projections
  .command("lag")
  .description("how far each projection is behind the log")
  .option("--max <events>", "exit 1 when one is further behind", "0")
  .action((options) => verb("projections lag", async () => (await import("./projections.js")).lag(options)));
writes(projections.command("rebuild").argument("[projection...]").option("--all", "every projection"))
  .description("build a new generation beside the live one, then flip")
  .option("--wait <seconds>", "wait for it at most so long", "600")
  .action((names, options) =>
    verb("projections rebuild", async () => (await import("./projections.js")).rebuild(names, options)),
  );
projections
  .command("verify")
  .argument("[projection...]")
  .description("rebuild in memory and compare with the live documents, field by field")
  .option("--limit <n>", "show at most so many differences", "20")
  .action((names, options) =>
    verb("projections verify", async () => (await import("./projections.js")).verify(names, options)),
  );
const parked = projections.command("parked").description("owners whose events a projection could not apply");
parked.command("list").action(() => verb("projections parked list", async () => (await import("./parked.js")).list()));
parked
  .command("show")
  .argument("<projection>")
  .argument("<owner>", "as listed: <org>.<customer>")
  .action((name, key) => verb("projections parked show", async () => (await import("./parked.js")).show(name, key)));
writes(parked.command("retry").argument("<projection>").argument("[owner]", "default: all of them"))
  .description("apply the parked events again, in order")
  .action((name, key, options) =>
    verb("projections parked retry", async () => (await import("./parked.js")).retry(name, key, options)),
  );

const reactors = program.command("reactors").description("what has effects; never repeated by a rebuild");
reactors.command("list").action(() => verb("reactors list", async () => (await import("./reactors.js")).list()));
writes(reactors.command("restart"))
  .description("after a restore of the event store: begin again at the end of the log")
  .action((options) => verb("reactors restart", async () => (await import("./reactors.js")).restart(options)));

const replay = program.command("replay").description("fold events to a moment, without touching what is live");
reveal(owner(replay.command("customer").argument("<id>")))
  .description("every read model of one customer")
  .addOption(at())
  .action((id, options) => verb("replay customer", async () => (await import("./replay.js")).customer(id, options)));
reveal(replay.command("stream").argument("<stream>"))
  .description("the state a decision would see")
  .addOption(at())
  .action((name, options) => verb("replay stream", async () => (await import("./replay.js")).stream(name, options)));
reveal(replay.command("projection").argument("<projection>"))
  .description("all documents of one read model, as NDJSON")
  .addOption(at())
  .option("--to <target>", "a folder, or - for stdout", "-")
  .action((name, options) =>
    verb("replay projection", async () => (await import("./replay.js")).projection(name, options)),
  );

program
  .command("doctor")
  .description("configuration, services, positions, lease, parked owners: what is wrong and how to mend it")
  .option("--after-restore", "name the cursors that lie past the end of the restored log")
  .action((options) => verb("doctor", async () => (await import("./doctor.js")).doctor(options)));

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  // Help and version end well; every other word from commander is a wrong call.
  process.exitCode = error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
}
