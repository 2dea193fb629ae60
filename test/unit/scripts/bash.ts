import { execFile } from 'node:child_process';
import { resolve } from 'node:path';

export const ROOT = resolve(import.meta.dirname, '../../..');

export interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a program to its end, whatever its exit status is; `script` goes to bash with the pieces of scripts/lib loaded. */
export function run(
  file: string,
  args: string[],
  options: { env?: NodeJS.ProcessEnv; cwd?: string } = {},
): Promise<Ended> {
  const env = { ...process.env, ...options.env };
  return new Promise((done, fail) => {
    const child = execFile(file, args, { ...options, env, maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      if (error && typeof error.code !== 'number') fail(error);
      else done({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr });
    });
    child.stdin?.end();
  });
}

/** Runs `script` in bash with the named pieces of scripts/lib loaded, as the set-up scripts load them. */
export function withPieces(
  pieces: string[],
  script: string,
  options: { env?: NodeJS.ProcessEnv; cwd?: string } = {},
): Promise<Ended> {
  const loaded = pieces.map((piece) => `. "$ROOT/scripts/lib/${piece}.sh"`).join('\n');
  return run('bash', ['-c', `set -euo pipefail\nROOT="\${ROOT:-${ROOT}}"\n${loaded}\n${script}`], options);
}
