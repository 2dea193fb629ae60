import { execFileSync, spawnSync } from 'node:child_process';
import { accessSync, constants, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os';
import { join } from 'node:path';

/** Absolute path of a program. @throws Error naming what to install */
export function findProgram(name: string, debianPackage: string): string {
  for (const folder of [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/usr/local/sbin', '/sbin']) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // The next folder may have it.
    }
  }
  throw new Error(`${name} is not installed. As root on Debian: apt-get install ${debianPackage}`);
}

/** What the figures depend on, a line each. */
export function describeMachine(): string[] {
  const first = (text: string) => text.trim().split('\n')[0]!;
  const ssh = spawnSync('ssh', ['-V'], { encoding: 'utf8' });
  const model = cpus()[0]?.model.trim();
  return [
    `${availableParallelism()} cores${model ? ` (${model})` : ''}, ${Math.round(totalmem() / 2 ** 30)} GiB of memory`,
    `Node ${process.version}, ${first(execFileSync('git', ['--version'], { encoding: 'utf8' }))}, ${first(ssh.stderr)}`,
  ];
}

/** How many processes wanted to run in the last minute: on a machine that others use, what a run has to bear. */
export function load(): string {
  return loadavg()[0]!.toFixed(1);
}

/** Most memory that a process ever had in RAM, in bytes (VmHWM of proc(5)); 0 where it is gone. */
export function peakMemory(pid: number): number {
  return statusField(pid, 'VmHWM') * 1024;
}

/** Begins to count a process's peak anew (proc(5), clear_refs). */
export function forgetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
}

function statusField(pid: number, name: string): number {
  try {
    const match = new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return Number(match?.[1] ?? 0);
  } catch {
    return 0;
  }
}

export function parentOf(pid: number): number {
  return statusField(pid, 'PPid');
}

export function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}
