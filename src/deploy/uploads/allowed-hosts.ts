import { DinpError } from '../../domain/errors.ts';
import { classifyAddress, isBlock, isInBlock } from './classify-address.ts';

const HOST_NAME = /^(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*$/;

/** Says what is wrong with an entry of `uploads.allow`; undefined where it is a host name, `*.domain`, address or block. */
export function allowedHostProblem(entry: string): string | undefined {
  if (isBlock(entry) || HOST_NAME.test(entry.toLowerCase())) return undefined;
  return `"${entry}" is neither a host name, nor *.DOMAIN, nor a block such as 10.1.0.0/16`;
}

/** Where artifacts may be fetched from: the internet, and what the operator's `uploads.allow` names besides. */
export class AllowedHosts {
  readonly #names: readonly string[];
  readonly #blocks: readonly string[];

  constructor(allow: readonly string[]) {
    this.#blocks = allow.filter(isBlock);
    this.#names = allow.filter((entry) => !isBlock(entry)).map((entry) => entry.toLowerCase());
  }

  /**
   * @param host as the URL has it, without brackets
   * @param addresses what it resolves to
   * @throws DinpError refused when one of them is none that artifacts are fetched from: what a name resolves to next time is
   * somebody else's choice
   */
  check(host: string, addresses: readonly string[]): void {
    const name = host.toLowerCase().replace(/\.$/, '');
    if (this.#names.some((allowed) => matches(name, allowed))) return;
    for (const address of addresses) {
      const is = classifyAddress(address);
      if (is === 'public' || this.#blocks.some((block) => isInBlock(address, block))) continue;
      const where = address === host ? address : `${host} (${address})`;
      throw new DinpError('refused', `${where} is ${describe(is)}, and nothing is fetched from there.`, {
        hint: `If artifacts shall come from it, the operator adds it to the server's config:\n  uploads: {allow: [${name}]}`,
      });
    }
  }
}

function matches(name: string, allowed: string): boolean {
  return allowed.startsWith('*.') ? name.endsWith(allowed.slice(1)) : name === allowed;
}

function describe(is: ReturnType<typeof classifyAddress>): string {
  switch (is) {
    case undefined:
      return 'no address';
    case 'metadata':
      return "a cloud's metadata service";
    case 'loopback':
      return 'this server itself';
    case 'cgnat':
      return "in a provider's own network";
    case 'multicast':
      return 'a multicast address';
    case 'unspecified':
      return 'an unspecified address';
    case 'link-local':
    case 'private':
    case 'reserved':
    case 'public':
      return `a ${is} address`;
  }
}
