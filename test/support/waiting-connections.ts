import { readFileSync, writeFileSync } from 'node:fs';

const SETTING = '/proc/sys/net/ipv4/tcp_migrate_req';

/**
 * Tells the kernel to hand connections that wait over to Caddy's new listening socket, as the Caddy unit of
 * scripts/install does; as it was once it is disposed.
 */
export function keepWaitingConnections(): Disposable {
  const before = readFileSync(SETTING, 'utf8');
  writeFileSync(SETTING, '1');
  return { [Symbol.dispose]: () => writeFileSync(SETTING, before) };
}
