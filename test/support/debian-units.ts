import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { testCache } from './test-cache.ts';

const PACKAGES = [
  ...[
    'openssh-server',
    'nginx-common',
    'postgresql-common',
    'cron',
    'dbus',
    'docker.io',
    'containerd',
    'systemd',
    'udev',
  ],
  ...['apache2', 'redis-server', 'mariadb-server', 'caddy', 'haproxy', 'rsyslog', 'chrony', 'fail2ban', 'exim4-base'],
  ...['bind9', 'samba', 'cups-daemon', 'network-manager', 'libvirt-daemon-system', 'tor', 'snmpd', 'lvm2', 'e2fsprogs'],
  ...[
    'php8.2-fpm',
    'tomcat10',
    'memcached',
    'rabbitmq-server',
    'strongswan-starter',
    'wpasupplicant',
    'apt',
    'logrotate',
  ],
];
const UNIT = /\.(service|socket|timer|path|target|mount|automount|slice|swap)$/;

export interface DebianUnit {
  package: string;
  name: string;
  text: string;
}

/**
 * The system units of a list of Debian packages, as the machine's own package sources have them. Downloaded once and
 * kept outside the repository; only the unit files of each package are kept.
 */
export function debianUnits(): DebianUnit[] {
  const folder = testCache('debian-units');
  for (const name of PACKAGES) if (!existsSync(join(folder, name))) fetchUnits(name, folder);
  return PACKAGES.flatMap((name) =>
    regularFiles(join(folder, name))
      .filter((path) => UNIT.test(path) && !path.includes('/user/'))
      .map((path) => ({
        package: name,
        name: path.slice(path.lastIndexOf('/') + 1),
        text: readFileSync(path, 'utf8'),
      })),
  );
}

function fetchUnits(name: string, folder: string): void {
  const work = mkdtempSync(join(folder, '.new-'));
  try {
    download(name, work);
    const archive = readdirSync(work).find((file) => file.endsWith('.deb'))!;
    const units = join(work, 'units');
    mkdirSync(units);
    // Some packages have only units of other kinds in these folders; that tar finds none of a pattern is no failure.
    const unpack =
      'dpkg-deb --fsys-tarfile "$0" | tar -x -C "$1" --wildcards "./lib/systemd/*" "./usr/lib/systemd/*" 2>/dev/null; true';
    execFileSync('sh', ['-c', unpack, join(work, archive), units]);
    if (regularFiles(units).length === 0) throw new Error(`${name} has no unit files`);
    renameSync(units, join(folder, name));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function download(name: string, cwd: string): void {
  const get = () => spawnSync('apt-get', ['download', '-q', name], { cwd, encoding: 'utf8' });
  if (get().status === 0) return;
  spawnSync('apt-get', ['update', '-q'], { stdio: 'ignore' });
  const again = get();
  if (again.status !== 0) throw new Error(`apt-get download ${name}: ${again.stderr}`);
}

function regularFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}
