import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { RunResult } from '../../src/run/host.ts';
import { LocalHost } from '../../src/run/local-host.ts';
import { testCache } from './test-cache.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const SUITE = 'bookworm';
const IMAGE_TIMEOUT_MS = 10 * 60_000;
/** Enough for a Docker Engine inside, short of --privileged. */
const RUN_FLAGS = [
  ...['--cap-add', 'ALL', '--cap-drop', 'SYS_RESOURCE', '--cgroupns', 'private', '--init'],
  ...['seccomp', 'apparmor', 'systempaths'].flatMap((what) => ['--security-opt', `${what}=unconfined`]),
  ...['--device-cgroup-rule', 'a *:* rwm', '--tmpfs', '/run:exec'],
  ...['/var/lib/docker', '/var/lib/containerd'].flatMap((volume) => ['-v', volume]),
];
const REMOUNT = 'for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mountpoint -q $d && mount -o remount,bind,rw $d; done';
const local = new LocalHost();

/** A container that is a Debian machine with nothing on it: no Node, git, compiler, Docker, curl; and no systemd. */
export class BareMachine implements AsyncDisposable {
  readonly name: string;

  private constructor(name: string) {
    this.name = name;
  }

  /** Starts one. The image is made at the first time (about 20 s) and kept. */
  static async start(): Promise<BareMachine> {
    const image = await bareImage();
    const machine = new BareMachine(`t-bare-${randomBytes(4).toString('hex')}`);
    try {
      const names = ['--name', machine.name, '--hostname', 'bare'];
      await docker(['run', '-d', ...names, ...RUN_FLAGS, ...registryFlags(), image, 'sleep', 'infinity']);
      await machine.exec(`${REMOUNT}; true`);
      return machine;
    } catch (error) {
      await machine[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Runs a line of shell in it, to its end, whatever its exit status. Standard error comes with the output. */
  async run(line: string, timeoutMs = 600_000): Promise<{ code: number; output: string }> {
    const argv = ['docker', 'exec', this.name, 'bash', '-c', `exec 2>&1; ${line}`];
    const { code, stdout } = await local.run(argv, { timeoutMs });
    return { code, output: stdout };
  }

  /** The same; throws where it fails. Gives the output, trimmed. */
  async exec(line: string): Promise<string> {
    const { code, output } = await this.run(line);
    if (code !== 0) throw new Error(`${line}\nended ${code}\n${output}`);
    return output.trim();
  }

  /** Lays this checkout (what git knows or would take) into a folder of the machine. */
  async copyCheckout(folder: string): Promise<void> {
    await copyCheckout(this.name, folder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await local.run(['docker', 'rm', '-f', '-v', this.name]);
  }
}

/** Lays this checkout into a folder of a running container. */
export async function copyCheckout(container: string, folder: string): Promise<void> {
  const list = 'git -C "$0" ls-files -z --cached --others --exclude-standard --deduplicate';
  const pack = `${list} | (cd "$0" && tar --null --files-from=- --ignore-failed-read -cf - 2>/dev/null)`;
  const unpack = 'docker exec -i "$1" sh -c \'mkdir -p "$0" && tar -C "$0" --no-same-owner -xf -\' "$2"';
  check(await local.run(['bash', '-c', `${pack} | ${unpack}`, ROOT, container, folder], { timeoutMs: 120_000 }));
}

/** Where npm packages come from and whom it trusts is this machine's business: the same inside. */
export function registryFlags(): string[] {
  const certificates = process.env.NODE_EXTRA_CA_CERTS;
  const registry = process.env.npm_config_registry;
  return [
    ...(certificates && existsSync(certificates)
      ? ['-e', 'NODE_EXTRA_CA_CERTS=/etc/test-certificates.crt', '-v', `${certificates}:/etc/test-certificates.crt:ro`]
      : []),
    ...(registry ? ['-e', `npm_config_registry=${registry}`] : []),
  ];
}

/** The tag of an image of Debian alone; imported from the kept archive, which is made where there is none. */
export async function bareImage(): Promise<string> {
  const sources = aptSources();
  const key = createHash('sha256')
    .update(JSON.stringify([SUITE, sources]))
    .digest('hex')
    .slice(0, 12);
  const image = `t-bare:${key}`;
  if ((await local.run(['docker', 'image', 'inspect', image])).code === 0) return image;
  const archive = join(testCache(), `bare-${key}.tar`);
  const include = '--include=ca-certificates';
  const make = ['mmdebstrap', '--mode=root', '--variant=minbase', include, SUITE, `${archive}.new.tar`, ...sources];
  // The second of two waits for the first, and then finds the archive there.
  const script = '[ -e "$0" ] || { "$@" && mv "$0.new.tar" "$0"; }';
  check(
    await local.run(['flock', `${archive}.lock`, 'sh', '-c', script, archive, ...make], {
      timeoutMs: IMAGE_TIMEOUT_MS,
    }),
  );
  await docker(['import', archive, image]);
  return image;
}

/** The machine's own package sources for Debian: right for closed networks too. */
function aptSources(): string[] {
  const more = '/etc/apt/sources.list.d';
  const files = [
    '/etc/apt/sources.list',
    ...(existsSync(more) ? readdirSync(more).map((file) => join(more, file)) : []),
  ];
  return files.filter(
    (file) => /\.(list|sources)$/.test(file) && existsSync(file) && readFileSync(file, 'utf8').includes(SUITE),
  );
}

/** Runs docker to its end; gives its output, trimmed, and throws where it fails. */
export async function docker(args: string[]): Promise<string> {
  return check(await local.run(['docker', ...args], { timeoutMs: IMAGE_TIMEOUT_MS })).stdout.trim();
}

function check(result: RunResult): RunResult {
  if (result.code !== 0)
    throw new Error(`ended ${result.code}\n${result.stdout.slice(-2000)}${result.stderr.slice(-2000)}`);
  return result;
}
