import { DinpError } from '../domain/errors.ts';
import type { Host } from './host.ts';
import { parseListeners } from './listeners.ts';

/** What a machine says of itself. */
export interface HostFacts {
  uid: number;
  /** What `systemctl is-system-running` says; undefined where there is no systemctl. */
  systemd: string | undefined;
  /** Absolute path of the docker CLI; undefined where there is none. */
  docker: string | undefined;
  /** Version of the engine; undefined where it does not answer. */
  engine: string | undefined;
  /** Absolute path of curl, which builds fetch their commit with; undefined where there is none. */
  curl: string | undefined;
  /** Docker's name of its architecture, such as `x86_64`. */
  machine: string;
  memoryTotal: number;
  memoryAvailable: number;
  /** Of the file system of the engine's images. */
  diskTotal: number;
  diskFree: number;
  /** Milliseconds since the epoch by its own clock. */
  clock: number;
  /** Its own IPv4 addresses. */
  addresses: string[];
  /** TCP ports on which something of it listens. */
  ports: ReadonlySet<number>;
}

const SCRIPT = `echo "uid=$(id -u)"
echo "machine=$(uname -m)"
command -v systemctl >/dev/null && echo "systemd=$(systemctl is-system-running)"
docker=$(command -v docker) && echo "docker=$docker"
[ -n "$docker" ] && echo "engine=$(timeout 10 "$docker" version -f '{{.Server.Version}}' 2>/dev/null)"
curl=$(command -v curl) && echo "curl=$curl"
root=$(timeout 10 "$docker" info -f '{{.DockerRootDir}}' 2>/dev/null)
df -Pk "\${root:-/}" | awk 'NR==2 {print "disk=" $2 " " $4}'
awk '/^MemTotal:/ {print "total=" $2} /^MemAvailable:/ {print "available=" $2}' /proc/meminfo
echo "addresses=$(hostname -I 2>/dev/null)"
echo "clock=$(date +%s%3N)"
cat /proc/net/tcp /proc/net/tcp6 2>/dev/null`;

/**
 * Asks a machine what it is and has, in one go.
 * @throws DinpError unavailable, denied, timeout
 */
export async function readHostFacts(host: Pick<Host, 'name' | 'run'>): Promise<HostFacts> {
  const { stdout } = await host.run(['sh', '-c', SCRIPT], { timeoutMs: 40_000 });
  const said = new Map(
    stdout.split('\n').map((line) => {
      const at = line.indexOf('=');
      return [line.slice(0, at), line.slice(at + 1).trim()];
    }),
  );
  const text = (key: string) => said.get(key) || undefined;
  const number = (value: string | undefined) => Number(value ?? 0);
  const [diskTotal, diskFree] = (text('disk') ?? '').split(' ');
  return {
    uid: Number(text('uid') ?? Number.NaN),
    systemd: text('systemd'),
    docker: text('docker'),
    engine: text('engine'),
    curl: text('curl'),
    machine: text('machine') ?? 'unknown',
    memoryTotal: number(text('total')) * 1024,
    memoryAvailable: number(text('available')) * 1024,
    diskTotal: number(diskTotal) * 1024,
    diskFree: number(diskFree) * 1024,
    clock: number(text('clock')),
    addresses: (text('addresses') ?? '').split(/\s+/).filter((address) => /^\d+(\.\d+){3}$/.test(address)),
    ports: new Set(parseListeners(stdout).map(({ port }) => port)),
  };
}

/**
 * Refuses a machine that cannot run instances.
 * @throws DinpError refused, with what to install
 */
export function needUsable(name: string, facts: HostFacts): void {
  if (facts.uid !== 0) {
    throw new DinpError('refused', `the login on ${name} is not root's, which unit files and the engine need.`, {
      hint: 'Give ssh://root@…, with our key in /root/.ssh/authorized_keys there.',
    });
  }
  if (!isBooted(facts.systemd)) {
    const said = facts.systemd === undefined ? 'it has no systemctl' : `systemctl says ${facts.systemd}`;
    throw new DinpError('refused', `${name} is not run by systemd: ${said}.`, {
      hint: 'Take a machine that systemd has booted.',
    });
  }
  if (facts.docker === undefined) {
    throw new DinpError('refused', `${name} has no docker.`, { hint: 'On Debian: apt-get install docker.io' });
  }
  if (facts.engine === undefined) {
    throw new DinpError('refused', `the Docker Engine of ${name} does not answer.`, {
      hint: `There: systemctl enable --now docker`,
    });
  }
}

/** Whether systemd runs the machine, in whatever state its units are. */
export function isBooted(state: string | undefined): boolean {
  return ['initializing', 'starting', 'running', 'degraded', 'maintenance'].includes(state ?? '');
}
