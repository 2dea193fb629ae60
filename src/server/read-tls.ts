import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { DinpError } from '../domain/errors.ts';
import type { CertificateFiles, TlsSettings } from '../router/tls.ts';
import type { ServerConfig } from './config.ts';

/**
 * How host names get HTTPS, as the config says. Of certificate files only the certificate is read, for its names; the key
 * is read by Caddy. @throws DinpError config
 */
export function readTls(router: ServerConfig['router']): TlsSettings | undefined {
  const { tls, tlsListen, email, ca, caRoot, certificates } = router;
  if (tls === 'off') {
    if (certificates.length === 0) return undefined;
    throw new DinpError('config', 'router.certificates are given, but router.tls is off.', {
      hint: 'Set router.tls to files, acme or internal.',
    });
  }
  if (tls === 'files' && certificates.length === 0) {
    throw new DinpError('config', 'router.tls is files, but router.certificates has none.', {
      hint: 'Give some: certificates: [{cert: /etc/ssl/example.pem, key: /etc/ssl/example.key}]',
    });
  }
  const files = certificates.map((each) => new CertificateFile(each));
  return {
    ...{ from: tls, listen: tlsListen, email, ca, caRoot },
    get certificates() {
      return files.map((file) => file.read());
    },
  };
}

/** Read again once it has changed, so that a renewed certificate reaches the routers with the next change of routes. */
class CertificateFile {
  readonly #files: { cert: string; key: string };
  #changedAt = 0;
  #last: CertificateFiles;

  constructor(files: { cert: string; key: string }) {
    this.#files = files;
    this.#last = readCertificate(files);
  }

  read(): CertificateFiles {
    try {
      const changedAt = statSync(this.#files.cert).mtimeMs;
      if (changedAt !== this.#changedAt) this.#last = readCertificate(this.#files);
      this.#changedAt = changedAt;
    } catch {
      // In the middle of being replaced: routers go on with the one before.
    }
    return this.#last;
  }
}

function readCertificate({ cert, key }: { cert: string; key: string }): CertificateFiles {
  try {
    const bytes = readFileSync(cert);
    const names = namesOf(new X509Certificate(bytes));
    const fingerprint = createHash('sha256').update(bytes).digest('hex').slice(0, 16);
    return { cert, key, names, fingerprint };
  } catch (cause) {
    throw new DinpError(
      'config',
      `the certificate ${cert} of router.certificates cannot be read: ${(cause as Error).message}`,
      {
        hint: 'It is a PEM file: the certificate first, then those that signed it.',
        cause,
      },
    );
  }
}

/** The DNS names of a certificate (RFC 5280, 4.2.1.6). */
function namesOf({ subjectAltName = '' }: X509Certificate): string[] {
  return subjectAltName.split(', ').flatMap((name) => (name.startsWith('DNS:') ? [name.slice(4).toLowerCase()] : []));
}
