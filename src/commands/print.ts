import type { Call } from './context.ts';
import { type Column, renderTable } from './table.ts';

/** Prints rows: as JSON where asked, else as a table, or `empty` where there are none. */
export async function printRows<Row>(
  call: Call,
  rows: readonly Row[],
  options: { json: boolean | undefined; view: (row: Row) => object; columns: Column<Row>[]; empty: string },
): Promise<void> {
  if (options.json) return printJson(call, rows.map(options.view));
  await call.out.stdout(
    rows.length === 0 ? `${options.empty}\n` : renderTable(options.columns, rows, call.out.columns),
  );
}

/** For programs: indented JSON, whose field names stay. */
export async function printJson(call: Call, value: unknown): Promise<void> {
  await call.out.stdout(`${JSON.stringify(value, null, 2)}\n`);
}
