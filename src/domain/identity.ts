/** Who may do what: an admin everything, a deployer pushes to and reads the apps named. */
export type Role = 'admin' | 'deployer';

/** A stored public key and who it stands for. */
export interface Key {
  id: number;
  name: string;
  /** `SHA256:…`, base64 without padding, as `ssh-keygen -l` prints it. */
  fingerprint: string;
  /** `ssh-ed25519 AAAA…` without comment. */
  publicKey: string;
  role: Role;
  /** Apps a deployer may use; empty for admins. */
  apps: string[];
  /** Milliseconds since the epoch. */
  createdAt: number;
}

/** Who a connection speaks for, once the key's signature is verified (or the local socket's owner). */
export interface Identity {
  name: string;
  role: Role;
  /** undefined for the local socket. */
  fingerprint: string | undefined;
  apps: string[];
}

export function mayUse(identity: Identity, app: string): boolean {
  return identity.role === 'admin' || identity.apps.includes(app);
}
