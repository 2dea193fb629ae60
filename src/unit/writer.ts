import { DinpError } from '../domain/errors.ts';
import { endsEscaped, strip } from './parser.ts';
import type { Entry, Section, Unit } from './unit-file.ts';

/**
 * Writes a unit as text; the reverse of parseUnit: what it gives, parsed, is the same unit.
 *
 * @throws DinpError refused for names and values that no unit file can hold: line breaks, white space at an end, a key
 *   with "="
 */
export function writeUnit(unit: Unit): string {
  return unit.sections.map(writeSection).join('\n');
}

function writeSection(section: Section): string {
  if (/[\u0000-\u001f"'\\\u007f]/.test(section.name)) throw cannotHold('section name', section.name);
  return `[${section.name}]\n${section.entries.map(writeEntry).join('')}`;
}

function writeEntry({ key, value }: Entry): string {
  if (key === '' || !holds(key) || /^[[#;\ufeff]|=/.test(key)) throw cannotHold('key', key);
  if (!holds(value)) throw cannotHold(`value of ${key}`, value);
  // White space at the end is not part of the value, and keeps a backslash from swallowing the next line.
  return `${key}=${value}${endsEscaped(value) ? ' ' : ''}\n`;
}

function holds(text: string): boolean {
  return !/[\n\r\0]/.test(text) && strip(text) === text;
}

function cannotHold(what: string, text: string): DinpError {
  return new DinpError('refused', `A unit file cannot hold this ${what}: ${JSON.stringify(text)}.`);
}
