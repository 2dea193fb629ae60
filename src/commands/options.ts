import { InvalidArgumentError } from 'commander';

const MAX_COUNT = 100_000;

/** A count for `-n`. @throws InvalidArgumentError, which commander makes a usage error of */
export function parseCount(text: string): number {
  const count = Number(text);
  if (/^\d+$/.test(text) && count > 0 && count <= MAX_COUNT) return count;
  throw new InvalidArgumentError(`It must be a number from 1 to ${MAX_COUNT}.`);
}
