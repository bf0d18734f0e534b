/** The shape of a measured row, one for all benchmarks, and the small statistics they share. */

/** One measured row: the product against a floor (or a peer, or itself at another size) taken in the same run. */
export type BenchResult = {
  /** Short and stable, for example `dashboard-16`: programs compare runs by it. */
  readonly name: string;
  /** What both figures are counted in, for example `requests/s` or `ms`. */
  readonly unit: string;
  /** Median over the rounds. */
  readonly product: number;
  /** Median over the rounds of what the product is held against; `details.floor` says what that is. */
  readonly floor: number;
  /** `product / floor`. */
  readonly ratio: number;
  /** The ratio to reach: at least this where higher is better, at most this where lower is better. */
  readonly aim: number;
  readonly better: "higher" | "lower";
  readonly met: boolean;
  /** What was measured how: rounds, connections, latencies, sizes. */
  readonly details: Readonly<Record<string, unknown>>;
};

/** What a benchmark is handed. */
export type BenchContext = {
  /** Short rounds and small data: shows that everything runs, not what it can do. */
  readonly quick: boolean;
  /** Progress, one line; goes to stderr. */
  readonly log: (line: string) => void;
};

/** A benchmark: gives one or more rows. */
export type Benchmark<Context extends BenchContext = BenchContext> = {
  readonly name: string;
  readonly run: (context: Context) => Promise<BenchResult[]>;
};

/** Completes a row with its ratio and whether the aim is met. */
export function benchResult(row: Omit<BenchResult, "ratio" | "met">): BenchResult {
  const ratio = row.product / row.floor;
  const met = row.better === "higher" ? ratio >= row.aim : ratio <= row.aim;
  const { name, unit, product, floor, aim, better, details } = row;
  return {
    name,
    unit,
    product: rounded(product),
    floor: rounded(floor),
    ratio: rounded(ratio),
    aim,
    better,
    met,
    details,
  };
}

/** Four significant digits: more would claim a precision that no run has. */
export function rounded(value: number): number {
  return Number.isFinite(value) ? Number(value.toPrecision(4)) : value;
}

/** The middle value, or the mean of the middle two; NaN for none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  if (sorted.length === 0) return Number.NaN;
  return Number.isInteger(middle)
    ? ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
    : (sorted[Math.floor(middle)] as number);
}

/** The value that a share of the values does not exceed (nearest rank); NaN for none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}
