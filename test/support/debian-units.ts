import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { unpackPackage } from './debian-package.ts';
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

/** Only the unit files are kept. */
function fetchUnits(name: string, folder: string): void {
  const work = mkdtempSync(join(folder, '.new-'));
  try {
    const units = unpackPackage(name, work, ['./lib/systemd/*', './usr/lib/systemd/*']);
    if (regularFiles(units).length === 0) throw new Error(`${name} has no unit files`);
    renameSync(units, join(folder, name));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function regularFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}
