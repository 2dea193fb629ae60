import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Host, RunOptions, RunResult, StreamOptions } from '../../src/run/host.ts';
import { LocalHost } from '../../src/run/local-host.ts';
import { testCache } from './test-cache.ts';

/** What kind of machine: its Debian, and the engine in it. */
interface MachineKind {
  suite: 'bookworm' | 'trixie';
  packages: string[];
  /** The engine's CLI. */
  cli: 'docker' | 'podman';
  /** Files besides, by path. */
  files: Record<string, string>;
  /** A line of shell that succeeds once the engine answers. */
  ready: string;
}

const BASICS = ['systemd', 'systemd-sysv', 'dbus', 'iproute2', 'procps', 'ca-certificates', 'curl'];
const DOCKER_MACHINE: MachineKind = {
  suite: 'bookworm',
  packages: [
    ...BASICS,
    ...['openssh-server', 'git', 'docker.io', 'iptables', 'docker-registry', 'caddy', 'busybox-static'],
  ],
  cli: 'docker',
  files: {},
  ready: 'docker info',
};
/** Debian 13, whose Podman has quadlets of today. */
export const PODMAN_MACHINE: MachineKind = {
  suite: 'trixie',
  packages: [...BASICS, 'podman', 'catatonit', 'nftables', 'docker-registry', 'busybox-static'],
  cli: 'podman',
  files: {
    // In a container, systemd does not make cgroups for others, and the limits of root's own may not be raised.
    '/etc/containers/containers.conf.d/nested.conf':
      '[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\n[engine]\ncgroup_manager = "cgroupfs"\n',
    // Says so in every journal, on a kernel that has the old ones only.
    '/etc/systemd/system.conf.d/quiet.conf': '[Manager]\nDefaultEnvironment=PODMAN_IGNORE_CGROUPSV1_WARNING=1\n',
  },
  ready: 'podman info',
};
/** cgroup file systems come read-only into a container; without the remount nested containers fail. */
const INIT = `#!/bin/sh
for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mountpoint -q "$d" && mount -o remount,bind,rw "$d"; done
exec /sbin/init
`;
const REGISTRY = `version: 0.1
storage:
  filesystem: {rootdirectory: /var/lib/docker-registry}
  delete: {enabled: true}
http: {addr: "127.0.0.1:5000"}
`;
/** What a real systemd with a Docker Engine in it needs, short of --privileged. */
const RUN_FLAGS = [
  ...['--cap-add', 'ALL', '--cap-drop', 'SYS_RESOURCE', '--stop-signal', 'SIGRTMIN+3', '--cgroupns', 'private'],
  ...['seccomp', 'apparmor', 'systempaths'].flatMap((what) => ['--security-opt', `${what}=unconfined`]),
  ...['--device-cgroup-rule', 'a *:* rwm'],
  ...['/run:exec', '/run/lock', '/tmp:exec'].flatMap((mount) => ['--tmpfs', mount]),
  // Without volumes of its own the nested engine falls back to a slow storage driver.
  ...['/var/lib/docker', '/var/lib/containerd', '/var/lib/containers'].flatMap((volume) => ['-v', volume]),
];
const IMAGE_TIMEOUT_MS = 10 * 60_000;
const local = new LocalHost();

/** A container that is a machine: systemd runs it, with a Docker Engine, a registry on 127.0.0.1:5000, sshd and Caddy in it. */
export class SystemdMachine implements AsyncDisposable {
  readonly name: string;
  readonly host: Host;
  readonly #kind: MachineKind;
  readonly #network: string;

  private constructor(name: string, kind: MachineKind, network: string) {
    this.name = name;
    this.#kind = kind;
    this.#network = network;
    this.host = new DockerExecHost(name);
  }

  /** Boots one, on a network of its own. The image is made at the first time (about a minute) and kept. */
  static async boot(kind = DOCKER_MACHINE): Promise<SystemdMachine> {
    const name = newName();
    await docker(['network', 'create', name]);
    return await SystemdMachine.#boot(name, { kind, network: name, hostname: 'h1' });
  }

  /** Boots several that reach each other, on one network, with these host names. */
  static async bootTogether(hostnames: string[]): Promise<SystemdMachine[]> {
    const network = newName();
    await docker(['network', 'create', network]);
    const booting = await Promise.allSettled(
      hostnames.map((hostname) => SystemdMachine.#boot(newName(), { kind: DOCKER_MACHINE, network, hostname })),
    );
    const machines = booting.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    const failed = booting.find((each) => each.status === 'rejected');
    if (failed === undefined) return machines;
    for (const machine of machines) await machine[Symbol.asyncDispose]();
    throw failed.reason;
  }

  static async #boot(
    name: string,
    { kind, network, hostname }: { kind: MachineKind; network: string; hostname: string },
  ): Promise<SystemdMachine> {
    const machine = new SystemdMachine(name, kind, network);
    try {
      const image = await ensureImage(kind);
      const names = ['--name', name, '--hostname', hostname, '--network', network];
      await docker(['run', '-d', ...names, ...RUN_FLAGS, image]);
      await machine.#booted();
      return machine;
    } catch (error) {
      await machine[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Runs a line of shell in it; throws where it fails. Gives standard output, trimmed. */
  async exec(line: string): Promise<string> {
    const { code, stdout, stderr } = await this.host.run(['sh', '-c', line], { timeoutMs: 600_000 });
    if (code !== 0) throw new Error(`${line}\nended ${code}\n${stdout}${stderr}`);
    return stdout.trim();
  }

  /** Copies a file or folder of this machine into it. */
  async copyIn(from: string, to: string): Promise<void> {
    await docker(['cp', from, `${this.name}:${to}`]);
  }

  /** Its address on its own network, reachable from here. */
  async address(): Promise<string> {
    return await docker(['inspect', '-f', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', this.name]);
  }

  /** This machine's address on that network. */
  async gateway(): Promise<string> {
    return await docker(['inspect', '-f', '{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}', this.name]);
  }

  /** Lets a public key log in as root. */
  async authorize(publicKey: string): Promise<void> {
    await this.host.putFile('/root/.ssh/authorized_keys', `${publicKey.trim()}\n`, 0o600);
  }

  /** Pulls the plug: nothing in it has time for anything. */
  async kill(): Promise<void> {
    await docker(['kill', '-s', 'KILL', this.name]);
  }

  /** Boots it again. */
  async start(): Promise<void> {
    await docker(['start', this.name]);
    await this.#booted();
  }

  /** A clean shutdown and a boot. */
  async reboot(): Promise<void> {
    await docker(['stop', '-t', '60', this.name]);
    await this.start();
  }

  /** Makes an image of busybox alone and pushes it to the machine's registry. */
  async pushBusybox(repository: string): Promise<{ repository: string; digest: string }> {
    const applets = 'sh httpd sleep cat env printf echo kill wget head tr ls';
    const image = `127.0.0.1:5000/${repository}`;
    const { cli } = this.#kind;
    await this.exec(`set -e; d=$(mktemp -d); mkdir "$d/bin" "$d/tmp" "$d/www"; cp /bin/busybox "$d/bin/"
      for applet in ${applets}; do ln -s busybox "$d/bin/$applet"; done
      tar -C "$d" -c . | ${cli} import - ${image}:1; rm -r "$d"
      ${cli} push ${cli === 'podman' ? '--tls-verify=false --digestfile=/tmp/pushed' : ''} ${image}:1`);
    if (cli === 'podman') return { repository: image, digest: await this.exec('cat /tmp/pushed') };
    const pushed = await this.exec(`docker image inspect -f '{{index .RepoDigests 0}}' ${image}:1`);
    return { repository: image, digest: pushed.slice(pushed.indexOf('@') + 1) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await local.run(['docker', 'rm', '-f', '-v', this.name]);
    // Where others are still on it this does nothing: the last one removes it.
    await local.run(['docker', 'network', 'rm', this.#network]);
  }

  async #booted(): Promise<void> {
    const ready = `systemctl is-system-running; ${this.#kind.ready} && curl -fsS http://127.0.0.1:5000/v2/`;
    for (let tries = 0; tries < 120; tries++) {
      const { code, stdout } = await this.host.run(['sh', '-c', ready]);
      if (code === 0 && /^(running|degraded)/.test(stdout)) return;
      await sleep(250);
    }
    throw new Error(`${this.name} did not boot within 30 s`);
  }
}

/** A Host that is a container: every program runs by `docker exec`. */
export class DockerExecHost implements Host {
  readonly name: string;

  constructor(container: string) {
    this.name = container;
  }

  async putFile(path: string, text: string, mode: number): Promise<void> {
    const script =
      'set -e; mkdir -p "${1%/*}"; t="$1.$$.tmp"; umask 077; cat >"$t"; chmod "$2" "$t"; sync "$t"; mv "$t" "$1"';
    const argv = ['sh', '-c', script, 'sh', path, mode.toString(8)];
    const { code, stderr } = await this.run(argv, { stdin: text });
    if (code !== 0) throw new Error(`cannot write ${path}: ${stderr}`);
  }

  async removeFile(path: string): Promise<void> {
    await this.run(['rm', '-f', '--', path]);
  }

  run(argv: string[], options?: RunOptions): Promise<RunResult> {
    return local.run(this.#exec(argv, options?.stdin !== undefined), options);
  }

  follow(argv: string[], options: { signal: AbortSignal }): AsyncIterable<string> {
    return local.follow(this.#exec(argv, false), options);
  }

  stream(argv: string[], options: StreamOptions): Promise<number> {
    return local.stream(this.#exec(argv, options.stdin !== undefined), options);
  }

  #exec(argv: string[], stdin: boolean): string[] {
    return ['docker', 'exec', ...(stdin ? ['-i'] : []), this.name, ...argv];
  }
}

function newName(): string {
  return `t-host-${randomBytes(4).toString('hex')}`;
}

async function docker(args: string[], timeoutMs = 120_000): Promise<string> {
  const { code, stdout, stderr } = await local.run(['docker', ...args], { timeoutMs });
  if (code !== 0) throw new Error(`docker ${args.join(' ')}: ${stderr}`);
  return stdout.trim();
}

/** The image's tag; imported from the kept archive, which is made where there is none. */
async function ensureImage(kind: MachineKind): Promise<string> {
  const key = createHash('sha256')
    .update(JSON.stringify([kind.suite, kind.packages, INIT, REGISTRY, ...Object.entries(kind.files)]))
    .digest('hex')
    .slice(0, 12);
  const image = `t-systemd-host:${key}`;
  const archive = join(testCache(), `systemd-host-${key}.tar`);
  const found = await local.run(['docker', 'image', 'inspect', image]);
  if (found.code === 0) return image;
  if (!existsSync(archive)) await makeArchive(kind, archive);
  await docker(['import', '-c', 'CMD ["/init.sh"]', '-c', 'ENV container=docker', archive, image], IMAGE_TIMEOUT_MS);
  return image;
}

async function makeArchive({ suite, packages, files }: MachineKind, archive: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'dinp-systemd-host-'));
  try {
    writeFileSync(join(folder, 'init.sh'), INIT, { mode: 0o755 });
    writeFileSync(join(folder, 'config.yml'), REGISTRY);
    const partial = join(folder, 'root.tar');
    const copies = Object.entries(files).map(([path, text], i) => {
      writeFileSync(join(folder, `${i}`), text);
      return `mkdir -p "$1${dirname(path)}" && cp ${join(folder, `${i}`)} "$1${path}"`;
    });
    const hooks = [
      ...copies,
      `copy-in ${join(folder, 'init.sh')} /`,
      `copy-in ${join(folder, 'config.yml')} /etc/docker/registry`,
      ': > "$1/etc/machine-id"',
    ].map((hook) => `--customize-hook=${hook}`);
    const include = `--include=${packages.join(',')}`;
    const make = ['mmdebstrap', '--mode=root', '--variant=minbase', '--format=tar', include, ...hooks, suite, partial];
    // The second of two waits for the first, and then finds the archive there.
    const script = '[ -e "$0" ] || { made=$1; shift; "$@" && mv "$made" "$0.new" && mv "$0.new" "$0"; }';
    const argv = ['flock', `${archive}.lock`, 'sh', '-c', script, archive, partial, ...make, ...aptSources(suite)];
    const { code, stderr } = await local.run(argv, { timeoutMs: IMAGE_TIMEOUT_MS });
    if (code !== 0) throw new Error(`mmdebstrap failed: ${stderr.slice(-2000)}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The machine's own package sources for Debian: right for closed networks too. */
function aptSources(suite: string): string[] {
  // Of another Debian than the machine's there are none.
  if (suite !== 'bookworm') return [];
  const more = '/etc/apt/sources.list.d';
  const files = [
    '/etc/apt/sources.list',
    ...(existsSync(more) ? readdirSync(more).map((file) => join(more, file)) : []),
  ];
  return files.filter(
    (file) => /\.(list|sources)$/.test(file) && existsSync(file) && readFileSync(file, 'utf8').includes(suite),
  );
}
