import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

/** Compares with a unit file kept beside the tests; UPDATE_UNITS=1 writes them anew. */
export function sameAsKept(file: string, text: string): void {
  const path = new URL(`units/${file}`, import.meta.url);
  if (process.env.UPDATE_UNITS === '1' || !existsSync(path)) {
    assert.equal(process.env.UPDATE_UNITS, '1', `${file} is missing: run with UPDATE_UNITS=1 and read what it writes`);
    writeFileSync(path, text);
  }
  assert.equal(text, readFileSync(path, 'utf8'));
}
