import type { CaddyApps, Layout } from './caddy-config.ts';
import { hasCertificateFile, type TlsSettings } from './tls.ts';

/** https://caddyserver.com/docs/json/apps/tls/ as far as we write it. */
export interface CaddyTls {
  automation?: { policies?: Policy[] };
  certificates?: { load_files?: LoadFile[] };
}

/** https://caddyserver.com/docs/json/apps/pki/ as far as we write it. */
export interface CaddyPki {
  certificate_authorities?: Record<string, { name: string; install_trust: false }>;
}

interface Policy {
  '@id'?: string;
  subjects?: string[];
  issuers?: Issuer[];
}

type Issuer =
  | { module: 'internal'; ca: string }
  | { module: 'acme'; ca?: string; email?: string; trusted_roots_pem_files?: string[] };

interface LoadFile {
  certificate: string;
  key: string;
  tags?: string[];
}

/**
 * The config with certificates for exactly these of our host names: a policy for those that Caddy is to get, the files
 * that have others. What sites of others have stays; without hosts all of ours is gone.
 */
export function withCertificates(layout: Layout, apps: CaddyApps, hosts: string[]): CaddyApps {
  const { prefix, owner } = layout;
  const tls = hosts.length === 0 ? undefined : layout.tls;
  const mark = `${prefix}.${owner}`;
  const subjects = hosts.filter((host) => tls !== undefined && !hasCertificateFile(tls, host));
  const own = tls === undefined || subjects.length === 0 ? [] : [policyOf(prefix, mark, tls, subjects)];
  const policies = (apps.tls?.automation?.policies ?? []).filter((policy) => policy['@id'] !== `${mark}.tls`);
  const files = (apps.tls?.certificates?.load_files ?? []).filter(({ tags }) => !tags?.includes(mark));
  const ownFiles = (tls?.certificates ?? []).map(({ cert, key, fingerprint }) => ({
    certificate: cert,
    key,
    tags: [mark, fingerprint],
  }));
  // Ours first: of several that a name fits, Caddy takes the first.
  const next = withTls(apps, [...own, ...policies], [...files, ...ownFiles]);
  return own.length > 0 && tls?.from === 'internal' ? withAuthority(prefix, next) : next;
}

function policyOf(prefix: string, mark: string, tls: TlsSettings, subjects: string[]): Policy {
  const issuer: Issuer =
    tls.from === 'internal'
      ? { module: 'internal', ca: prefix }
      : {
          module: 'acme',
          ...(tls.ca === undefined ? {} : { ca: tls.ca }),
          ...(tls.email === undefined ? {} : { email: tls.email }),
          ...(tls.caRoot === undefined ? {} : { trusted_roots_pem_files: [tls.caRoot] }),
        };
  return { '@id': `${mark}.tls`, subjects, issuers: [issuer] };
}

/** Replaces both lists; what is empty is not there, so that taking out what was put in leaves no trace. */
function withTls(apps: CaddyApps, policies: Policy[], files: LoadFile[]): CaddyApps {
  const { automation, certificates, ...others } = apps.tls ?? {};
  const { policies: _policies, ...automationRest } = automation ?? {};
  const { load_files: _files, ...certificatesRest } = certificates ?? {};
  const tls: CaddyTls = {
    ...others,
    ...filled('automation', { ...automationRest, ...(policies.length > 0 && { policies }) }),
    ...filled('certificates', { ...certificatesRest, ...(files.length > 0 && { load_files: files }) }),
  };
  const { tls: _tls, ...rest } = apps;
  return { ...rest, ...filled('tls', tls) };
}

/** An authority of our own, which Caddy does not put into the machine's trust store as it does with its usual one. */
function withAuthority(prefix: string, apps: CaddyApps): CaddyApps {
  const authorities = apps.pki?.certificate_authorities ?? {};
  if (prefix in authorities) return apps;
  const own = { name: prefix, install_trust: false as const };
  return { ...apps, pki: { ...apps.pki, certificate_authorities: { ...authorities, [prefix]: own } } };
}

function filled<K extends string, T extends object>(key: K, value: T): { [P in K]?: T } {
  return Object.keys(value).length === 0 ? {} : ({ [key]: value } as { [P in K]?: T });
}
