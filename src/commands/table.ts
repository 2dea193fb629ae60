import { printable } from '../domain/names.ts';

export interface Column<Row> {
  title: string;
  /** Text of a cell; made printable here. */
  value(row: Row): string;
  /** For numbers. */
  right?: boolean;
  /** May be cut where the terminal is too narrow. */
  shrink?: boolean;
}

const GAP = '  ';
const SMALLEST = 8;

/**
 * Rows for people: aligned columns under a line of titles, no borders, every line within `width` characters where the
 * columns that may shrink allow it. Ends with a newline.
 */
export function renderTable<Row>(columns: Column<Row>[], rows: readonly Row[], width: number | undefined): string {
  const cells = rows.map((row) => columns.map((column) => printable(column.value(row))));
  const widths = columns.map((column, i) => Math.max(length(column.title), ...cells.map((row) => length(row[i]!))));
  if (width !== undefined) shrink(columns, widths, width);
  const lines = [columns.map((column) => column.title), ...cells].map((row) =>
    row
      .map((text, i) => fit(text, widths[i]!, columns[i]!.right === true))
      .join(GAP)
      .trimEnd(),
  );
  return `${lines.join('\n')}\n`;
}

/** Names and values below each other, for one thing; values that are undefined are left out. Ends with a newline. */
export function renderFields(fields: Record<string, string | readonly string[] | undefined>): string {
  const rows = Object.entries(fields).flatMap(([name, value]) =>
    [value ?? []].flat().map((text, i): [string, string] => [i === 0 ? `${name}:` : '', printable(text)]),
  );
  const width = Math.max(...Object.keys(fields).map(length)) + 1;
  return rows
    .map(([name, text]) => `${pad(name, width)}${GAP}${text}`.trimEnd())
    .join('\n')
    .concat('\n');
}

/** Takes from the widest column that may shrink until the line fits or nothing can give any more. */
function shrink<Row>(columns: Column<Row>[], widths: number[], width: number): void {
  const total = () => widths.reduce((sum, each) => sum + each, 0) + GAP.length * (widths.length - 1);
  const floors = columns.map((column) => Math.max(SMALLEST, length(column.title)));
  for (let excess = total() - width; excess > 0; excess--) {
    let widest: number | undefined;
    widths.forEach((each, i) => {
      if (columns[i]!.shrink && each > floors[i]! && (widest === undefined || each > widths[widest]!)) widest = i;
    });
    if (widest === undefined) return;
    widths[widest]!--;
  }
}

function fit(text: string, width: number, right: boolean): string {
  const cut = length(text) <= width ? text : `${[...text].slice(0, width - 1).join('')}…`;
  return right ? ' '.repeat(width - length(cut)) + cut : pad(cut, width);
}

function pad(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - length(text)));
}

function length(text: string): number {
  return [...text].length;
}
