import { isDeepStrictEqual } from 'node:util';
import Handlebars from 'handlebars';
import { parseUnit } from './parser.ts';
import type { Entry, Unit } from './unit-file.ts';
import { encodeArgv, encodeEnv, encodeNumber, encodePath, encodeText, encodeWords } from './values.ts';
import { type ExecWord, readArgv, readLiteral, readWords, splitWords } from './words.ts';

/** A typed helper: how its arguments are written, and how they are read back from the text. */
interface Helper {
  encode(...args: never[]): string;
  /** The arguments again. */
  decode(value: string): unknown[];
}

const HELPERS: Record<string, Helper> = {
  argv: { encode: (words: ExecWord[]) => encodeArgv(words), decode: (value) => [readArgv(value)] },
  words: { encode: (words: ExecWord[]) => encodeWords(words), decode: (value) => [readWords(value)] },
  env: { encode: (name: string, value: string) => encodeEnv(name, value), decode: readEnv },
  text: { encode: (text: string) => encodeText(text), decode: (value) => [readLiteral(value)] },
  path: { encode: (path: string) => encodePath(path), decode: (value) => [readLiteral(value)] },
  number: { encode: (value: number) => encodeNumber(value), decode: (value) => [Number(value)] },
};

/** What a helper was called with while a template was rendered. */
interface Call {
  helper: Helper;
  args: unknown[];
}

interface Recorder {
  calls: Call[];
  /** true: write a placeholder instead of the value. */
  placeholders: boolean;
}

/** Renders a unit with its values; see loadTemplate. */
export type UnitTemplate = (values: Record<string, unknown>) => string;

/**
 * Compiles a unit template. In it, every value is written by a typed helper and is the whole value of its line
 * (`ExecStart={{argv run}}`); anything else is refused here.
 *
 * The rendered text is read back before it is given out: it must have exactly the lines that the template has,
 * and each value must come out as what went in. A value can therefore never add, swallow or change a line.
 *
 * @param partials texts of the partials that it uses, by name
 * @throws Error for a template that breaks these rules (a mistake of ours, not of a user)
 */
export function loadTemplate(name: string, source: string, partials: Record<string, string> = {}): UnitTemplate {
  for (const text of [source, ...Object.values(partials)]) {
    const problems = templateProblems(text);
    if (problems.length > 0) throw new Error(`Template ${name}: ${problems.join('; ')}`);
  }
  const handlebars = Handlebars.create();
  for (const [helperName, helper] of Object.entries(HELPERS)) handlebars.registerHelper(helperName, helperOf(helper));
  for (const [partial, text] of Object.entries(partials)) handlebars.registerPartial(partial, text);
  const knownHelpers = Object.fromEntries(Object.keys(HELPERS).map((known) => [known, true]));
  const template = handlebars.compile(source, { noEscape: true, strict: true, knownHelpers, knownHelpersOnly: true });
  return (values) => {
    const skeleton: Recorder = { calls: [], placeholders: true };
    const shape = template(values, { data: { recorder: skeleton } });
    const recorder: Recorder = { calls: [], placeholders: false };
    const text = template(values, { data: { recorder } });
    checkRendered(name, shape, text, recorder.calls);
    return text;
  };
}

/** What is wrong with the text of a template: values that pass no typed helper. Empty where it is fine. */
export function templateProblems(source: string): string[] {
  const problems: string[] = [];
  const visitor = new Handlebars.Visitor();
  visitor.MustacheStatement = (statement: hbs.AST.MustacheStatement) => {
    const helper = (statement.path as hbs.AST.PathExpression).original;
    const line = statement.loc.start.line;
    if (!Object.hasOwn(HELPERS, helper)) {
      problems.push(`line ${line}: {{${helper}}} passes no typed helper (${Object.keys(HELPERS).join(', ')})`);
    } else if (statement.params.length !== (helper === 'env' ? 2 : 1)) {
      problems.push(`line ${line}: {{${helper}}} has ${statement.params.length} values`);
    }
  };
  visitor.accept(Handlebars.parse(source));
  return problems;
}

function helperOf(helper: Helper): Handlebars.HelperDelegate {
  return (...given: unknown[]) => {
    const options = given.at(-1) as Handlebars.HelperOptions;
    const args = given.slice(0, -1);
    const recorder = options.data.recorder as Recorder;
    recorder.calls.push({ helper, args });
    return recorder.placeholders ? placeholder(recorder.calls.length - 1) : helper.encode(...(args as never[]));
  };
}

function placeholder(index: number): string {
  return `<value ${index}>`;
}

/** Compares the rendered text with its shape and with the values that were meant. @throws Error where they differ */
function checkRendered(name: string, shape: string, text: string, calls: Call[]): void {
  const meant = entriesOf(parseUnit(shape));
  const written = parseUnit(text);
  const found = entriesOf(written);
  const fail = (what: string) => new Error(`Template ${name}: the rendered text does not say what was meant: ${what}`);
  if (written.problems.length > 0) throw fail(`line ${written.problems[0]!.line}`);
  if (meant.length !== found.length) throw fail(`${found.length} lines instead of ${meant.length}`);
  let seen = 0;
  for (const [i, entry] of meant.entries()) {
    const other = found[i]!;
    if (entry.section !== other.section || entry.key !== other.key) throw fail(`${other.key} instead of ${entry.key}`);
    const call = calls[seen];
    if (call !== undefined && entry.value === placeholder(seen)) {
      if (!isDeepStrictEqual(call.helper.decode(other.value), call.args)) throw fail(`the value of ${entry.key}`);
      seen++;
    } else if (entry.value !== other.value) {
      throw fail(`the value of ${entry.key}`);
    }
  }
  if (seen !== calls.length) throw fail('a value that is not the whole value of its line');
}

function entriesOf(unit: Unit): (Entry & { section: string })[] {
  return unit.sections.flatMap((section) => [
    { section: section.name, key: '', value: '' },
    ...section.entries.map((entry) => ({ section: section.name, ...entry })),
  ]);
}

function readEnv(value: string): unknown[] {
  const words = splitWords(value);
  const text = words.length === 1 ? readLiteral(words[0]!) : '';
  const equals = text.indexOf('=');
  return [text.slice(0, equals), text.slice(equals + 1)];
}
