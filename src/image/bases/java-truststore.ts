import { createHash } from 'node:crypto';

const MAGIC = 0xfeedfeed;
const VERSION = 2;
const TRUSTED_CERTIFICATE = 2;
/** Java's own password of its truststore; it keeps nothing secret. */
const PASSWORD = 'changeit';

/**
 * A truststore as Java reads it (the JKS format of sun.security.provider.JavaKeyStore), with the same bytes for the same
 * certificates: keytool would write the time of day into it.
 * @param pem certificates, one after the other
 */
export function javaTruststore(pem: string): Buffer {
  const certificates = [...pem.matchAll(/-----BEGIN CERTIFICATE-----([\s\S]+?)-----END CERTIFICATE-----/g)].map(
    ([, base64 = '']) => Buffer.from(base64, 'base64'),
  );
  const parts = [uint32(MAGIC), uint32(VERSION), uint32(certificates.length)];
  for (const der of certificates) {
    const alias = createHash('sha256').update(der).digest('hex');
    parts.push(uint32(TRUSTED_CERTIFICATE), text(alias), Buffer.alloc(8), text('X.509'), uint32(der.length), der);
  }
  const body = Buffer.concat(parts);
  const seal = createHash('sha1')
    .update(Buffer.from(PASSWORD, 'utf16le').swap16())
    .update('Mighty Aphrodite')
    .update(body)
    .digest();
  return Buffer.concat([body, seal]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Java's modified UTF-8, which is ASCII for what is written here. */
function text(value: string): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(value.length);
  return Buffer.concat([length, Buffer.from(value, 'ascii')]);
}
