import { createHash } from 'node:crypto';

const MAX_LABEL = 63;

/**
 * A name for an object of Kubernetes: a label of RFC 1035, which is also one of RFC 1123 (lower-case letters, digits and
 * hyphens, a letter first, at most 63 characters). The parts are joined by `--`, as in the names of units; what had to be
 * changed or cut ends in a hash of the whole, so that two names never become one.
 */
export function kubernetesName(...parts: string[]): string {
  const whole = parts.join('--');
  const plain = whole
    .toLowerCase()
    .replace(/[^a-z0-9-]/g, '-')
    .replace(/^-+|-+$/g, '');
  // No app is called dinp.
  const name = /^[a-z]/.test(plain) ? plain : `dinp--${plain}`;
  if (plain === whole && name.length <= MAX_LABEL) return name;
  const hash = createHash('sha256').update(whole).digest('hex').slice(0, 8);
  return `${name.slice(0, MAX_LABEL - hash.length - 1).replace(/-+$/, '')}-${hash}`;
}
