import { readFileSync, renameSync, writeFileSync } from "node:fs";

/** What a stand-in remembers. */
export type KeptState<State> = {
  readonly value: State;
  /** Writes the value down, where it is kept at all; to be called after each change. */
  save(): void;
};

/**
 * State of a stand-in: in memory, or also in a file, so that a local stack finds its providers as it left them.
 *
 * @param file absent for memory only
 */
export function keepState<State>(file: string | undefined, initial: () => State): KeptState<State> {
  const value = (file === undefined ? undefined : read<State>(file)) ?? initial();
  return {
    value,
    save() {
      if (file === undefined) return;
      writeFileSync(`${file}.part`, JSON.stringify(value), { mode: 0o600 });
      renameSync(`${file}.part`, file);
    },
  };
}

function read<State>(file: string): State | undefined {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as State;
  } catch {
    return undefined; // none yet
  }
}
