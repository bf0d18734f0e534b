/** Filters of `$all`: which records a reader is shown. They judge the record itself, a link by its own name and type. */

import type { LogRecord } from "./events.js";
import type { FilterExpression } from "./requests.js";
import { BadRequest } from "./requests.js";

export type RecordFilter = (record: LogRecord) => boolean;

/** Long enough for any list of alternatives, short enough to keep a bad pattern's damage small. */
const MAX_PATTERN_LENGTH = 2048;

/** Verdicts on stream names kept per filter. */
const MAX_VERDICTS = 10_000;

/**
 * The filter that applies under every other: the store keeps no log of persistent subscriptions to `$all`, but a
 * database may hold streams of that name, and the protocol never shows them.
 */
function isHiddenStream(name: string): boolean {
  return name.startsWith("$persistentsubscription-$all::") && /-(checkpoint|parked)$/.test(name);
}

/**
 * Compiles a filter.
 *
 * @param nameOf gives the name of a stream by its number
 * @throws BadRequest the pattern is not valid, or could take exponential time
 */
export function compileFilter(
  expression: FilterExpression | undefined,
  nameOf: (stream: number) => string,
): RecordFilter {
  const matches = expression === undefined ? undefined : compileExpression(expression);
  // A stream's name never changes: its verdict is found once and looked up after that.
  const verdicts = new Map<number, boolean>();
  const isStreamShown = (stream: number): boolean => {
    let verdict = verdicts.get(stream);
    if (verdict === undefined) {
      const name = nameOf(stream);
      verdict = !isHiddenStream(name) && (matches === undefined || expression?.on !== "stream" || matches(name));
      if (verdicts.size >= MAX_VERDICTS) verdicts.clear();
      verdicts.set(stream, verdict);
    }
    return verdict;
  };
  if (matches === undefined || expression?.on === "stream") return (record) => isStreamShown(record.stream);
  return (record) => matches(record.type) && isStreamShown(record.stream);
}

function compileExpression({ regex, prefixes }: FilterExpression): (text: string) => boolean {
  if (regex === "") return (text) => prefixes.some((prefix) => text.startsWith(prefix));
  if (regex.length > MAX_PATTERN_LENGTH) throw new BadRequest("The filter pattern is too long.");
  if (hasNestedQuantifier(regex))
    throw new BadRequest("The filter pattern repeats a repetition: it could take for ever.");
  try {
    const pattern = new RegExp(regex);
    return (text) => pattern.test(text);
  } catch {
    throw new BadRequest("The filter pattern is not a regular expression.");
  }
}

/**
 * A repeated group that itself repeats, such as `(a+)+`, makes backtracking matchers take exponential time. This
 * refuses all such patterns, the few harmless ones included.
 */
function hasNestedQuantifier(pattern: string): boolean {
  const groups: boolean[] = [];
  let closedGroupRepeats = false;
  for (let index = 0; index < pattern.length; index++) {
    const character = pattern[index] as string;
    const wasGroupRepeating = closedGroupRepeats;
    closedGroupRepeats = false;
    if (character === "\\") index++;
    else if (character === "[") {
      while (index < pattern.length && pattern[index] !== "]") index += pattern[index] === "\\" ? 2 : 1;
    } else if (character === "(") groups.push(false);
    else if (character === ")") {
      closedGroupRepeats = groups.pop() ?? false;
      if (closedGroupRepeats && groups.length > 0) groups[groups.length - 1] = true;
    } else if (character === "*" || character === "+" || character === "{") {
      if (wasGroupRepeating) return true;
      if (groups.length > 0) groups[groups.length - 1] = true;
    }
  }
  return false;
}
