import { DinpError } from '../domain/errors.ts';

/**
 * Reads `NAME=VALUE` lines as dotenv files have them: empty lines and `#` comments are skipped, `export ` may stand
 * before a name; a value in single quotes is taken as it is, one in double quotes knows \n \r \t \" \\ and \$, both may span lines;
 * any other value ends with its line, or before ` #`.
 * @returns pairs in order; names are not checked
 * @throws DinpError usage naming the line, never its value
 */
export function parseEnvFile(text: string): [name: string, value: string][] {
  const source = text.replace(/^\ufeff/, '').replace(/\r\n?/g, '\n');
  const pairs: [string, string][] = [];
  let at = 0;
  while (at < source.length) {
    const line = restOfLine(source, at);
    if (/^\s*(?:#|$)/.test(line)) {
      at += line.length + 1;
      continue;
    }
    const head = /^\s*(?:export\s+)?([^\s=]+)\s*=[ \t]*/.exec(line);
    if (head === null) throw badLine(source, at, 'is not NAME=VALUE');
    const start = at + head[0].length;
    const { value, end } = readValue(source, start);
    pairs.push([head[1]!, value]);
    at = end + 1;
  }
  return pairs;
}

/** Writes values so that parseEnvFile reads the same ones. */
export function formatEnvFile(values: Record<string, string>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name}=${formatValue(value)}\n`)
    .join('');
}

function formatValue(value: string): string {
  if (/^[^\s'"#\\$]*$/.test(value)) return value;
  const escaped = value
    .replace(/[\\"$]/g, '\\$&')
    .replaceAll('\r', '\\r')
    .replaceAll('\n', '\\n')
    .replaceAll('\t', '\\t');
  return `"${escaped}"`;
}

function restOfLine(source: string, at: number): string {
  const end = source.indexOf('\n', at);
  return source.slice(at, end === -1 ? undefined : end);
}

/** The value that begins at `start`, and where its last line ends. */
function readValue(source: string, start: number): { value: string; end: number } {
  const quote = source[start];
  if (quote !== '"' && quote !== "'") {
    const line = restOfLine(source, start);
    return { value: line.replace(/(?:^|\s)#.*$/, '').trim(), end: start + line.length };
  }
  const body = quote === "'" ? /'([^']*)'/y : /"((?:[^"\\]|\\[\s\S])*)"/y;
  body.lastIndex = start;
  const match = body.exec(source);
  if (match === null) throw badLine(source, start, `has a value whose ${quote} is not closed`);
  const tail = restOfLine(source, body.lastIndex);
  if (!/^\s*(?:#.*)?$/.test(tail)) throw badLine(source, start, 'has text behind the closing quote');
  return { value: quote === "'" ? match[1]! : unescaped(match[1]!), end: body.lastIndex + tail.length };
}

const ESCAPES: Record<string, string> = { n: '\n', r: '\r', t: '\t', '"': '"', '\\': '\\', $: '$' };

/** Escapes that are not known stay as they are, as in shells. */
function unescaped(text: string): string {
  return text.replace(/\\([\s\S])/g, (all, char: string) => ESCAPES[char] ?? all);
}

function badLine(source: string, at: number, problem: string): DinpError {
  const line = source.slice(0, at).split('\n').length;
  return new DinpError('usage', `line ${line} ${problem}.`, {
    hint: 'One setting a line, such as  DATABASE_URL=postgres://…',
  });
}
