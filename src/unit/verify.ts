import type { UnitFile } from '../domain/unit-file.ts';

/** What verifying needs of the machine whose systemd is asked; a Host of src/run is one. */
export interface VerifyHost {
  run(argv: string[], options?: { timeoutMs?: number }): Promise<{ code: number; stdout: string; stderr: string }>;
  putFile(path: string, text: string, mode: number): Promise<void>;
}

const TIMEOUT_MS = 30_000;
/** Units that ours name, so that a machine without them does not complain. */
const STUBS = {
  'docker.service': '[Unit]\nDescription=Docker\n[Service]\nExecStart=/bin/true\n',
  'network-online.target': '[Unit]\nDescription=Network is Online\n',
};

/**
 * Asks `systemd-analyze verify` of the machine about unit files, in a temporary folder, before they are put where
 * systemd reads them.
 *
 * @returns what is wrong, a line each; empty where all is well, undefined where there is no systemd-analyze
 */
export async function verifyUnits(files: UnitFile[], host: VerifyHost): Promise<string[] | undefined> {
  return await withFolder(host, async (folder) => {
    const all = [...Object.entries(STUBS).map(([name, text]) => ({ name, text })), ...files];
    await Promise.all(all.map(({ name, text }) => host.putFile(`${folder}/${name}`, text, 0o644)));
    const paths = files.map(({ name }) => `${folder}/${name}`);
    const answer = await host.run(['systemd-analyze', 'verify', '--man=no', ...paths], { timeoutMs: TIMEOUT_MS });
    if (answer.code === 126 || answer.code === 127) return undefined;
    return problemsOf(answer.stdout + answer.stderr, files, folder);
  });
}

const GENERATORS = ['/usr/libexec/podman/quadlet', '/usr/lib/podman/quadlet'];

/**
 * Asks podman's generator on the machine what it would make of quadlets.
 * @returns what is wrong, a line each; empty where all is well, undefined where there is no such generator
 */
export async function verifyQuadlets(files: UnitFile[], host: VerifyHost): Promise<string[] | undefined> {
  return await withFolder(host, async (folder) => {
    for (const { name, text } of files) await host.putFile(`${folder}/${name}`, text, 0o644);
    const script = 'for each; do [ -x "$each" ] && exec "$each" --dryrun; done; exit 127';
    const argv = ['env', `QUADLET_UNIT_DIRS=${folder}`, 'sh', '-c', script, 'sh', ...GENERATORS];
    const { code, stderr } = await host.run(argv, { timeoutMs: TIMEOUT_MS });
    if (code === 126 || code === 127) return undefined;
    const lines = stderr.split('\n').map((line) => line.replace(/^quadlet-generator\[\d+\]: /, ''));
    return code === 0
      ? []
      : lines.filter((line) => line.startsWith('converting ')).map((line) => line.replaceAll(`${folder}/`, ''));
  });
}

/** Works with a temporary folder on the machine; undefined where it cannot be had. */
async function withFolder<T>(host: VerifyHost, work: (folder: string) => Promise<T>): Promise<T | undefined> {
  const made = await host.run(['mktemp', '-d', '/tmp/dinp-verify-XXXXXXXX'], { timeoutMs: TIMEOUT_MS });
  const folder = made.stdout.trim();
  if (made.code !== 0 || folder === '') return undefined;
  try {
    return await work(folder);
  } finally {
    await host.run(['rm', '-rf', '--', folder], { timeoutMs: TIMEOUT_MS });
  }
}

/**
 * Keeps the lines that are about the files given: systemd-analyze also loads what they need, and complains about
 * units of the machine. A missing docker program is no fault of the unit: it may be meant for another machine.
 */
function problemsOf(output: string, files: UnitFile[], folder: string): string[] {
  return output
    .split('\n')
    .map((line) => line.replaceAll(`${folder}/`, '').trim())
    .filter((line) => files.some(({ name }) => line.startsWith(`${name}:`)))
    .filter((line) => !/: Command \S+ is not executable: No such file or directory$/.test(line));
}
