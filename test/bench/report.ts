/** One line of the table. */
export interface Row {
  /** What is measured. */
  what: string;
  /** What it is measured against; empty where nothing is. */
  against: string;
  theirs: string;
  ours: string;
  /** `0.16×`, or empty. */
  ratio: string;
  /** What was aimed for, in words; empty for what is only told. */
  target: string;
  /** undefined without a target. */
  met: boolean | undefined;
}

const HEAD = ['', 'against', 'theirs', 'dinp', 'ratio', 'target', ''];

export function milliseconds(value: number): string {
  return value < 1000 ? `${value.toFixed(0)} ms` : `${(value / 1000).toFixed(value < 10_000 ? 2 : 1)} s`;
}

export function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1e6)} MB`;
}

/** A line about times of which ours should be at most `limit` of theirs; no target without a limit. */
export function compared(
  what: string,
  against: string,
  values: { theirs: number; ours: number; ratio: number; limit?: number },
): Row {
  const { theirs, ours, ratio, limit } = values;
  return {
    what,
    against,
    theirs: milliseconds(theirs),
    ours: milliseconds(ours),
    ratio: `${ratio.toFixed(2)}×`,
    target: limit === undefined ? '' : `≤ ${limit.toFixed(2)}×`,
    met: limit === undefined ? undefined : ratio <= limit,
  };
}

/** The table as Markdown, which is read well in a terminal, too. */
export function renderTable(rows: readonly Row[]): string {
  const cells = rows.map((row) => [
    row.what,
    row.against,
    row.theirs,
    row.ours,
    row.ratio,
    row.target,
    row.met === undefined ? '' : row.met ? 'met' : '**MISSED**',
  ]);
  const widths = HEAD.map((head, column) => Math.max(head.length, ...cells.map((line) => line[column]!.length)));
  const line = (texts: readonly string[]) => `| ${texts.map((text, i) => text.padEnd(widths[i]!)).join(' | ')} |`;
  return [line(HEAD), line(widths.map((width) => '-'.repeat(width))), ...cells.map(line)].join('\n');
}
