import { execFileSync, spawnSync } from 'node:child_process';

/** The engine is the machine's: nothing of this run stays in it. A digest's name goes with the last tag of its image. */
export function removeImages(registry: string): void {
  const format = '{{.Repository}}:{{.Tag}}\n{{.Repository}}@{{.Digest}}';
  const list = execFileSync('docker', ['images', '--digests', '--format', format], { encoding: 'utf8' });
  const names = list.split('\n').filter((name) => name.startsWith(`${registry}/`) && !name.includes('<none>'));
  if (names.length > 0) spawnSync('docker', ['rmi', '-f', ...new Set(names)]);
}
