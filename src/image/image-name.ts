import { DinpError } from '../domain/errors.ts';
import { printable } from '../domain/names.ts';

/** A reference as people write it (`alpine`, `127.0.0.1:5000/base/static:1`, `app@sha256:…`), taken apart. */
export interface ImageName {
  /** `docker.io` where none is written; with its port. */
  host: string;
  /** Without host, tag and digest; `library/alpine` for Docker Hub's short names. */
  repository: string;
  /** undefined where only a digest is written; `latest` where neither is. */
  tag: string | undefined;
  digest: string | undefined;
}

const HUB = 'docker.io';
const REPOSITORY = /^[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*$/;
const HOST = /^(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::\d{1,5})?$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

/**
 * Takes an image reference apart, by the rules of the distribution project: the first part is a host when it holds a dot or a
 * colon or is `localhost`.
 * @param defaultHost the registry meant where no host is written
 * @throws DinpError usage
 */
export function parseImageName(text: string, defaultHost = HUB): ImageName {
  const wrong = (): DinpError => new DinpError('usage', `"${printable(text)}" is not an image reference.`);
  const [named = '', digest, ...more] = text.split('@');
  if (more.length > 0 || (digest !== undefined && !DIGEST.test(digest))) throw wrong();
  const slash = named.indexOf('/');
  const first = slash < 0 ? '' : named.slice(0, slash);
  const hasHost = first.includes('.') || first.includes(':') || first === 'localhost';
  const rest = hasHost ? named.slice(slash + 1) : named;
  const colon = rest.lastIndexOf(':');
  const path = colon < 0 ? rest : rest.slice(0, colon);
  const tag = colon < 0 ? undefined : rest.slice(colon + 1);
  if (hasHost && !HOST.test(first)) throw wrong();
  if (!REPOSITORY.test(path) || (tag !== undefined && !TAG.test(tag))) throw wrong();
  const host = hasHost ? (first === 'index.docker.io' ? HUB : first) : defaultHost;
  const repository = host === HUB && !path.includes('/') ? `library/${path}` : path;
  return { host, repository, tag: tag ?? (digest === undefined ? 'latest' : undefined), digest };
}

/** The reference in full, digest before tag. */
export function formatImageName(name: ImageName): string {
  const end = name.digest === undefined ? `:${name.tag ?? 'latest'}` : `@${name.digest}`;
  return `${name.host}/${name.repository}${end}`;
}

/** True for `localhost`, 127.0.0.0/8 and ::1, with or without a port: hosts that are spoken to in plain HTTP. */
export function isLoopback(host: string): boolean {
  const bare = host.startsWith('[') ? host.slice(1, host.indexOf(']')) : host.replace(/^([^:]*):\d+$/, '$1');
  return bare === 'localhost' || bare === '::1' || /^127(?:\.\d{1,3}){3}$/.test(bare);
}

/**
 * A branch's name as a registry tag: lower case, other characters as `-`. A name that would look like one of our other tags
 * (a SHA, `key-…`, `b12`) gets `branch-` before it.
 */
export function branchTag(branch: string): string {
  const slug = branch
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, '-')
    .replace(/^[.-]+|[.-]+$/g, '')
    .slice(0, 100);
  const taken =
    slug === '' ||
    /^(?:[0-9a-f]{40}|[0-9a-f]{64})(?:-|$)|^key-|^compiled-|^layer-|^(?:up|img)-[0-9a-f]{12}$|^b\d+$/.test(slug);
  return taken ? `branch-${slug}`.replace(/-$/, '') : slug;
}
