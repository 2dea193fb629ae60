import type { Dispatcher } from 'undici';
import { request } from 'undici';
import { DinpError } from '../../domain/errors.ts';
import { canceled } from '../abort.ts';
import { isLoopback } from '../image-name.ts';

export interface Credentials {
  username: string;
  password: string;
}

/** One challenge of a WWW-Authenticate header (RFC 9110, 11.6.1). */
export interface Challenge {
  scheme: string;
  params: Record<string, string>;
}

/** Reads the challenges of a WWW-Authenticate header; what cannot be read is left out. */
export function parseChallenges(header: string): Challenge[] {
  const challenges: Challenge[] = [];
  const token = /\s*,?\s*([A-Za-z0-9!#$%&'*+.^_`|~-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+)))?/y;
  for (let match = token.exec(header); match !== null && match[0] !== ''; match = token.exec(header)) {
    const [, name = '', quoted, plain] = match;
    const value = quoted?.replace(/\\(.)/g, '$1') ?? plain;
    if (value === undefined) challenges.push({ scheme: name.toLowerCase(), params: {} });
    else if (challenges.length > 0) challenges[challenges.length - 1]!.params[name.toLowerCase()] = value;
  }
  return challenges;
}

export interface TokenRequest {
  /** Host (with port) of the registry that asks. */
  registry: string;
  challenge: Challenge;
  /** Empty: what the challenge names. */
  scopes: readonly string[];
  credentials: Credentials | undefined;
  /** Host names, besides the registry's own, that may be given the credentials. */
  authHosts: readonly string[];
  dispatcher: Dispatcher;
  signal: AbortSignal | undefined;
}

const hostOf = (address: string): string => new URL(`http://${address}`).hostname;

/** Docker Hub hands its tokens out at a host of its own. */
const HUB_REALM = 'auth.docker.io';

/**
 * Checks the address that a registry names for its tokens: http only for loopback, no user part, and credentials leave only for
 * the registry's own host or a host that the operator named.
 * @throws DinpError denied
 */
export function checkRealm(ask: Pick<TokenRequest, 'registry' | 'challenge' | 'credentials' | 'authHosts'>): URL {
  const refuse = (why: string): DinpError =>
    new DinpError('denied', `The registry ${ask.registry} asks for a token in a way that is not safe: ${why}.`);
  const text = ask.challenge.params.realm;
  if (text === undefined || !URL.canParse(text)) throw refuse('it names no address to get one from');
  const realm = new URL(text);
  if (realm.protocol !== 'https:' && !(realm.protocol === 'http:' && isLoopback(realm.hostname))) {
    throw refuse(`${realm.protocol}//${realm.host} is not encrypted`);
  }
  if (realm.username !== '' || realm.password !== '') throw refuse('its address holds a user name');
  const own = hostOf(ask.registry);
  const known = realm.hostname === own || ask.authHosts.includes(realm.hostname);
  const hub = /(?:^|\.)docker\.io$/.test(own) && realm.hostname === HUB_REALM;
  if (ask.credentials !== undefined && !known && !hub) {
    throw new DinpError(
      'denied',
      `The registry ${ask.registry} wants its password sent to another host, ${realm.host}.`,
      {
        hint: `If that host belongs to it, add it to the registry's authHosts: [${realm.hostname}]`,
      },
    );
  }
  return realm;
}

/**
 * Gets a bearer token (distribution spec, "Token Authentication").
 * @returns the Authorization header and when it ends, milliseconds since the epoch
 * @throws DinpError denied, unavailable
 */
export async function fetchToken(ask: TokenRequest): Promise<{ header: string; expires: number }> {
  const realm = checkRealm(ask);
  const service = ask.challenge.params.service;
  if (service !== undefined) realm.searchParams.set('service', service);
  const asked = ask.scopes.length > 0 ? ask.scopes : [ask.challenge.params.scope];
  for (const scope of asked) if (scope !== undefined) realm.searchParams.append('scope', scope);
  const headers = ask.credentials === undefined ? {} : { authorization: basicHeader(ask.credentials) };
  let response: Dispatcher.ResponseData;
  try {
    response = await request(realm, {
      headers,
      dispatcher: ask.dispatcher,
      headersTimeout: 20_000,
      bodyTimeout: 20_000,
      ...(ask.signal === undefined ? {} : { signal: ask.signal }),
    });
  } catch (cause) {
    if (ask.signal?.aborted) throw canceled(ask.signal);
    throw new DinpError(
      'unavailable',
      `The token server ${realm.host} of the registry ${ask.registry} does not answer.`,
      { cause },
    );
  }
  const text = await response.body.text();
  if (response.statusCode === 401 || response.statusCode === 403) {
    throw new DinpError(
      'denied',
      `The registry ${ask.registry} refuses the user name or password that is configured for it.`,
    );
  }
  const answer = response.statusCode === 200 ? parseToken(text) : undefined;
  if (answer === undefined) {
    throw new DinpError(
      'unavailable',
      `The token server ${realm.host} answered ${response.statusCode} without a token.`,
    );
  }
  // Used until shortly before its end, so that an upload that has begun does not meet an expired token.
  return { header: `Bearer ${answer.token}`, expires: Date.now() + Math.max(5, answer.seconds - 10) * 1000 };
}

function parseToken(text: string): { token: string; seconds: number } | undefined {
  try {
    const json = JSON.parse(text) as { token?: unknown; access_token?: unknown; expires_in?: unknown };
    const token = json.token ?? json.access_token;
    if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) return undefined;
    return { token, seconds: typeof json.expires_in === 'number' ? json.expires_in : 60 };
  } catch {
    return undefined;
  }
}

/** Whether a token asked for with the first scopes also does for the second: `repository:a:pull,push` for `repository:a:pull`. */
export function covers(has: readonly string[], wants: readonly string[]): boolean {
  return wants.every((want) => {
    const { name, actions } = takeApart(want);
    return has.some((scope) => {
      const other = takeApart(scope);
      return other.name === name && actions.every((action) => other.actions.includes(action));
    });
  });
}

function takeApart(scope: string): { name: string; actions: string[] } {
  const colon = scope.lastIndexOf(':');
  return { name: scope.slice(0, colon), actions: scope.slice(colon + 1).split(',') };
}

/** The Authorization header of basic authentication (RFC 7617). */
export function basicHeader(credentials: Credentials): string {
  return `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')}`;
}
