/** Milliseconds of one subject, one value a round. */
export type Timings<Name extends string> = Record<Name, number[]>;

/**
 * Measures subjects against each other: every round runs each of them once, every other round backwards, so that
 * whatever else the machine does meets all of them alike. One round before is not counted.
 * @param subjects gives the milliseconds of one run
 */
export async function interleave<Name extends string>(
  rounds: number,
  subjects: Record<Name, () => Promise<number>>,
  warmUp = true,
): Promise<Timings<Name>> {
  const names = Object.keys(subjects) as Name[];
  const timings = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Timings<Name>;
  for (let round = warmUp ? -1 : 0; round < rounds; round++) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      const milliseconds = await subjects[name]();
      if (round >= 0) timings[name].push(milliseconds);
    }
  }
  return timings;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Median of the rounds' own ratios: what a busy moment does to one round it does to both sides. */
export function pairedRatio(ours: readonly number[], theirs: readonly number[]): number {
  return median(ours.map((value, round) => value / theirs[round]!));
}
