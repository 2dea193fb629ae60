import { coversHost } from '../domain/host-names.ts';

/** How host names get HTTPS. */
export interface TlsSettings {
  /** Where certificates come from that no file has: ACME, Caddy's own authority, or nowhere. */
  from: 'acme' | 'internal' | 'files';
  /** Where HTTPS listens, `:443`. */
  listen: string;
  /** For the ACME account. */
  email: string | undefined;
  /** ACME directory; undefined: Let's Encrypt. */
  ca: string | undefined;
  /** File of certificates by which the ACME directory is trusted, as routers find it. */
  caRoot: string | undefined;
  readonly certificates: CertificateFiles[];
}

/** A certificate and its key, in files that routers read. */
export interface CertificateFiles {
  cert: string;
  key: string;
  /** Names that it is for. */
  names: string[];
  /** Changes with its content, so that routers read a renewed one. */
  fingerprint: string;
}

/** Names that no public authority gives certificates for (RFC 6761, RFC 8375). */
const NOT_PUBLIC = /(?:^|\.)(?:localhost|local|internal|test|example|invalid|home\.arpa)$/;

/** Whether a host name is served by HTTPS, so that plain HTTP leads there. */
export function hasHttps(tls: TlsSettings | undefined, host: string): boolean {
  if (tls === undefined) return false;
  return hasCertificateFile(tls, host) || getsCertificate(tls, host);
}

/** Whether a file has the certificate. */
export function hasCertificateFile(tls: TlsSettings, host: string): boolean {
  return tls.certificates.some(({ names }) => names.some((name) => coversHost(name, host)));
}

/** Whether one can be issued: by ACME not for wildcards, which needs changes of DNS, nor for names that only some know. */
function getsCertificate({ from, ca }: TlsSettings, host: string): boolean {
  if (from !== 'acme') return from === 'internal';
  return !host.startsWith('*.') && (ca !== undefined || (host.includes('.') && !NOT_PUBLIC.test(host)));
}

/** The port of a listen address such as `:443` or `0.0.0.0:8443`. */
export function portOf(listen: string): number {
  return Number(listen.slice(listen.lastIndexOf(':') + 1));
}
