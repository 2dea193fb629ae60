import { DinpError } from './errors.ts';
import { printable } from './names.ts';

const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const MAX_NAME = 253;

/**
 * A host name as DNS has it: lower case, names of other scripts in their ASCII form (`bücher.example` is
 * `xn--bcher-kva.example`, UTS 46), `*.` allowed as the whole first label, for any one label in its place.
 * @throws DinpError usage, with the name that was probably meant
 */
export function parseHostName(text: string): string {
  const refuse = (why: string, better?: string) =>
    new DinpError('usage', `"${printable(text)}" is no host name: ${why}.`, {
      hint: better === undefined ? 'A host name is such as www.example.org or *.example.org.' : `Use ${better}`,
    });
  const name = toAscii(text.trim());
  const problem = hostNameProblem(name);
  if (problem === undefined) return name;
  const bare = bareName(text);
  if (bare !== name && hostNameProblem(bare) === undefined)
    throw refuse('only the name is wanted, without scheme, port or path', bare);
  throw refuse(problem);
}

/** The same; undefined for what is no host name. */
export function findHostName(text: string): string | undefined {
  const name = toAscii(text.trim());
  return hostNameProblem(name) === undefined ? name : undefined;
}

/** What is wrong with a host name in its ASCII form; undefined where it is fine. */
export function hostNameProblem(name: string): string | undefined {
  if (name === '') return 'it is empty, or has characters that no name can have';
  if (name.length > MAX_NAME) return `it has ${name.length} characters, and at most ${MAX_NAME} are allowed`;
  const labels = name.replace(/^\*\./, '').split('.');
  if (name.startsWith('*.') && labels.length < 2)
    return 'a wildcard stands for one label of a domain such as example.org';
  const bad = labels.find((label) => !LABEL.test(label));
  if (bad === '') return 'between two dots there is nothing';
  if (bad !== undefined)
    return `"${printable(bad)}" may have letters, digits and inner hyphens, at most 63, and a "*" only as the whole first label`;
  if (/^\d+$/.test(labels.at(-1)!)) return 'it is an IP address or ends in a number';
  return undefined;
}

/** Whether `host` is `name`, or is what the wildcard `name` stands for. */
export function coversHost(name: string, host: string): boolean {
  if (!name.startsWith('*.')) return name === host;
  return host === name || host.slice(host.indexOf('.') + 1) === name.slice(2);
}

/** Empty where it cannot be one. */
function toAscii(text: string): string {
  const dotless = text.endsWith('.') ? text.slice(0, -1) : text;
  const wild = dotless.startsWith('*.') ? '*.' : '';
  const rest = dotless.slice(wild.length);
  // An address would be rewritten (0x7f.1 is 127.0.0.1); characters that end a name would cut it off.
  if (/[\s/?#@:[\]%\\]/.test(rest)) return '';
  const address = `http://${rest}`;
  const isAscii = /^[\x20-\x7e]*$/.test(rest);
  const ascii = isAscii ? rest.toLowerCase() : URL.canParse(address) ? new URL(address).hostname : '';
  return ascii === '' ? '' : wild + ascii;
}

/** The name in an address such as `https://www.example.org:8080/path`. */
function bareName(text: string): string {
  return toAscii(
    text
      .trim()
      .replace(/^[a-z][a-z0-9+.-]*:\/\//i, '')
      .replace(/[/?#].*$/, '')
      .replace(/:\d*$/, ''),
  );
}
