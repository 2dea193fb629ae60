import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** How systemd itself understands a unit. */
export interface SystemdReading {
  description: string;
  /** `NAME=value` each. */
  environment: string[];
  /** The words of each command, by key (`ExecStart`), specifiers expanded, variables not. */
  commands: Record<string, string[][]>;
  /** All other lines of the form `Name: value`, repeated names in order. */
  properties: Record<string, string[]>;
}

/**
 * Lets a systemd that starts nothing (`systemd --test --user`, as an ordinary user) load the units, and takes what it
 * understood from its dump. All of them in one call.
 *
 * @returns what it understood by unit name (units it refused are missing or have no commands), and its %t
 * @param wanted names to load; those of the files where not given (instances of templates have names of their own)
 */
export function readBySystemd(
  files: { name: string; text: string }[],
  wanted = files.map(({ name }) => name),
): { units: Map<string, SystemdReading>; runtimeFolder: string } {
  const folder = mkdtempSync(join(tmpdir(), 'dinp-systemd-'));
  const runtimeFolder = join(folder, 'run');
  try {
    const all = join(folder, 'units');
    for (const path of [all, runtimeFolder]) mkdirSync(path);
    chmodSync(folder, 0o755);
    for (const { name, text } of files) writeFileSync(join(all, name), text);
    const wants = wanted.map((name) => `Wants=${name}\n`).join('');
    writeFileSync(join(all, 'dinp-all.target'), `[Unit]\nDefaultDependencies=no\n${wants}`);
    const isRoot = process.getuid?.() === 0;
    if (isRoot) execFileSync('chown', ['nobody', runtimeFolder]);
    chmodSync(runtimeFolder, 0o700);
    const systemd = ['systemd', '--test', '--user', '--unit=dinp-all.target'];
    const [program, ...args] = isRoot ? ['setpriv', '--reuid=nobody', '--clear-groups', '--', ...systemd] : systemd;
    const answer = spawnSync(program!, args, {
      encoding: 'utf8',
      maxBuffer: 256 * 1024 * 1024,
      env: {
        PATH: process.env.PATH,
        HOME: '/nonexistent',
        XDG_RUNTIME_DIR: runtimeFolder,
        SYSTEMD_UNIT_PATH: all,
        SYSTEMD_LOG_LEVEL: 'warning',
      },
    });
    if (!answer.stdout.includes('-> Unit dinp-all.target:'))
      throw new Error(`systemd: ${answer.stderr}${answer.stdout}`);
    return { units: parseDump(answer.stdout), runtimeFolder };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A variable that is set again takes the place of the first. */
export function lastOfEach(variables: string[]): string[] {
  return [...new Map(variables.map((variable) => [variable.slice(0, variable.indexOf('=')), variable])).values()];
}

function parseDump(dump: string): Map<string, SystemdReading> {
  const units = new Map<string, SystemdReading>();
  for (const block of dump.split(/^\t?-> Unit (?=\S+:$)/m).slice(1)) {
    const name = block.slice(0, block.indexOf(':\n'));
    const reading: SystemdReading = { description: '', environment: [], commands: {}, properties: {} };
    let key = '';
    for (const line of block.split('\n')) {
      const command = /^\s*-> (\w+):$/.exec(line)?.[1];
      if (command !== undefined) key = command;
      const [, property, value] = /^\t+([A-Z][\w ]*): (.*)$/.exec(line) ?? [];
      if (property === 'Command Line') {
        reading.commands[key] ??= [];
        reading.commands[key]!.push(splitShell(value!));
      }
      if (property === 'Description') reading.description = value!;
      if (property === 'Environment') reading.environment.push(value!);
      if (property === undefined) continue;
      reading.properties[property] ??= [];
      reading.properties[property].push(value!);
    }
    units.set(name, reading);
  }
  return units;
}

/** Takes apart what systemd's quote_command_line() writes: bare words and "…" with backslashes. */
function splitShell(line: string): string[] {
  const words = line.match(/(?:"(?:[^"\\]|\\.)*"|[^ "])+/gsu) ?? [];
  return words.map((word) => (word.startsWith('"') ? word.slice(1, -1).replace(/\\(["\\`$])/g, '$1') : word));
}
