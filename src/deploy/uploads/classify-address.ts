import { isIPv4, isIPv6 } from 'node:net';

/** What an address is to somebody who fetches from it; everything but `public` leads somewhere the internet does not. */
export type AddressClass =
  | 'public'
  | 'unspecified'
  | 'loopback'
  | 'private'
  | 'link-local'
  | 'cgnat'
  | 'multicast'
  /** Where clouds tell machines their credentials. */
  | 'metadata'
  /** Documentation, benchmarks, protocols that are not spoken, and what nobody was given yet. */
  | 'reserved';

type Rule = readonly [block: string, is: AddressClass];

/** The IANA registries of special-purpose addresses (RFC 6890 and what came since), the longest prefix first. */
const IPV4: readonly Rule[] = [
  ['169.254.169.254/32', 'metadata'],
  ['169.254.170.0/24', 'metadata'],
  ['168.63.129.16/32', 'metadata'],
  ['100.100.100.200/32', 'metadata'],
  ['192.0.0.192/32', 'metadata'],
  ['192.0.0.0/24', 'reserved'],
  ['192.0.2.0/24', 'reserved'],
  ['192.88.99.0/24', 'reserved'],
  ['198.51.100.0/24', 'reserved'],
  ['203.0.113.0/24', 'reserved'],
  ['169.254.0.0/16', 'link-local'],
  ['192.168.0.0/16', 'private'],
  ['198.18.0.0/15', 'reserved'],
  ['172.16.0.0/12', 'private'],
  ['100.64.0.0/10', 'cgnat'],
  ['0.0.0.0/8', 'unspecified'],
  ['10.0.0.0/8', 'private'],
  ['127.0.0.0/8', 'loopback'],
  ['224.0.0.0/4', 'multicast'],
  ['240.0.0.0/4', 'reserved'],
  ['0.0.0.0/0', 'public'],
];

const IPV6: readonly Rule[] = [
  ['::/128', 'unspecified'],
  ['::1/128', 'loopback'],
  ['fd00:ec2::254/128', 'metadata'],
  ['fd20:ce::254/128', 'metadata'],
  ['64:ff9b:1::/48', 'private'],
  ['2001:db8::/32', 'reserved'],
  ['2001::/23', 'reserved'],
  ['3fff::/20', 'reserved'],
  ['fe80::/10', 'link-local'],
  ['fec0::/10', 'private'],
  ['ff00::/8', 'multicast'],
  ['fc00::/7', 'private'],
  // Only this eighth of the space was given out.
  ['2000::/3', 'public'],
  ['::/0', 'reserved'],
];

/** Prefixes behind which an IPv4 address is meant: mapped, compatible, translated (SIIT, NAT64), 6to4; and the bits before it. */
const EMBEDDED: readonly (readonly [block: string, bitsBefore: number])[] = [
  ['::ffff:0:0/96', 96],
  ['::ffff:0:0:0/96', 96],
  ['64:ff9b::/96', 96],
  ['2002::/16', 16],
  ['::/96', 96],
];

/**
 * Says what kind of address this is, by the block that it lies in; IPv6 addresses that stand for an IPv4 address are
 * what that one is.
 * @param text an address as `node:net` and resolvers write it, without brackets; a zone (`%eth0`) is passed over
 * @returns undefined for what is no address
 */
export function classifyAddress(text: string): AddressClass | undefined {
  const address = parseAddress(text);
  if (address === undefined) return undefined;
  if (address.bits === 32) return find(IPV4, address);
  const special = IPV6.find(([block]) => block.endsWith('/128') && isIn(address, block));
  if (special !== undefined) return special[1];
  for (const [block, before] of EMBEDDED) {
    if (!isIn(address, block)) continue;
    return find(IPV4, { bits: 32, value: (address.value >> BigInt(96 - before)) & 0xffff_ffffn });
  }
  return find(IPV6, address);
}

/** An address as a number of 32 or 128 bits. */
interface Address {
  bits: 32 | 128;
  value: bigint;
}

function find(rules: readonly Rule[], address: Address): AddressClass {
  return rules.find(([block]) => isIn(address, block))![1];
}

/** Whether an address lies in a block such as `10.0.0.0/8`; IPv4 addresses that are mapped into IPv6 count as what they map. */
export function isInBlock(text: string, block: string): boolean {
  const address = parseAddress(text);
  return address !== undefined && isIn(unmapped(address), block);
}

/** Whether this is a block in CIDR notation, or one address. */
export function isBlock(text: string): boolean {
  const [network = '', length, ...more] = text.split('/');
  const address = parseAddress(network);
  if (address === undefined || network.includes('%') || more.length > 0) return false;
  return length === undefined || (/^\d{1,3}$/.test(length) && Number(length) <= address.bits);
}

function isIn(address: Address, block: string): boolean {
  const [network = '', length] = block.split('/');
  const { bits, value } = parseAddress(network)!;
  const shift = BigInt(bits - (length === undefined ? bits : Number(length)));
  return address.bits === bits && address.value >> shift === value >> shift;
}

function unmapped(address: Address): Address {
  return address.bits === 128 && address.value >> 32n === 0xffffn
    ? { bits: 32, value: address.value & 0xffff_ffffn }
    : address;
}

function parseAddress(text: string): Address | undefined {
  if (isIPv4(text)) return { bits: 32, value: ipv4Value(text) };
  if (!isIPv6(text)) return undefined;
  const [plain = ''] = text.split('%');
  const dotted = /[^:]*\.[^:]*$/.exec(plain)?.[0];
  const hex = dotted === undefined ? plain : plain.slice(0, -dotted.length) + hexGroups(ipv4Value(dotted));
  const [head = '', tail] = hex.split('::');
  const before = groups(head);
  const after = groups(tail ?? '');
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => '0');
  const all = tail === undefined ? before : [...before, ...zeros, ...after];
  return { bits: 128, value: BigInt(`0x${all.map((group) => group.padStart(4, '0')).join('')}`) };
}

function groups(text: string): string[] {
  return text === '' ? [] : text.split(':');
}

function ipv4Value(text: string): bigint {
  return text.split('.').reduce((value, part) => value * 256n + BigInt(part), 0n);
}

function hexGroups(value: bigint): string {
  return `${(value >> 16n).toString(16)}:${(value & 0xffffn).toString(16)}`;
}
