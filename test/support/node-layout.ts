import { cpSync, realpathSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { run } from '../unit/scripts/bash.ts';

/** This very Node with its headers, and npm, as Node's own images have them under /usr/local; and whom this machine trusts. */
export async function layOutNode(folder: string): Promise<void> {
  const node = realpathSync(process.execPath);
  const { stdout } = await run('npm', ['root', '-g']);
  const npm = (await run('bash', ['-c', 'dirname "$(dirname "$(readlink -f "$(command -v npm)")")"'])).stdout.trim();
  cpSync(node, join(folder, 'bin/node'));
  cpSync(resolve(node, '../../include'), join(folder, 'include'), { recursive: true });
  cpSync(npm || join(stdout.trim(), 'npm'), join(folder, 'lib/node_modules/npm'), {
    recursive: true,
    dereference: true,
  });
  cpSync(process.env.NODE_EXTRA_CA_CERTS ?? '/etc/ssl/certs/ca-certificates.crt', join(folder, 'certificates.crt'));
}
