import { spawnSync } from 'node:child_process';

/** A file of a commit to be made: its content, or its mode as well (120000: content is the link's target; 160000: a commit id). */
export type FileSpec = string | Buffer | { mode: string; content: string | Buffer };

export const GIT = spawnSync('sh', ['-c', 'command -v git'], { encoding: 'utf8' }).stdout.trim();

/**
 * Makes a commit in a bare repository with `git fast-import`, which takes any name and mode, also those that
 * `git add` would not make.
 * @param files path to content; paths may hold any byte, given as latin1 where `rawNames`
 * @returns the commit's id
 */
export function commitFiles(
  repository: string,
  files: Record<string, FileSpec>,
  options: { branch?: string; message?: string; parent?: string; rawNames?: boolean } = {},
): string {
  const branch = options.branch ?? 'main';
  const message = Buffer.from(options.message ?? 'A commit');
  const parts: Buffer[] = [
    Buffer.from(
      `commit refs/heads/${branch}\ncommitter Ann <ann@example.org> 1700000000 +0000\ndata ${message.length}\n`,
    ),
    message,
    Buffer.from('\n'),
    ...(options.parent === undefined ? [] : [Buffer.from(`from ${options.parent}\n`)]),
    Buffer.from('deleteall\n'),
  ];
  for (const [path, spec] of Object.entries(files)) {
    const { mode, content } =
      typeof spec === 'string' || Buffer.isBuffer(spec) ? { mode: '100644', content: spec } : spec;
    const name = Buffer.concat([
      Buffer.from('"'),
      Buffer.from(quoted(path), options.rawNames ? 'latin1' : 'utf8'),
      Buffer.from('"\n'),
    ]);
    if (mode === '160000') {
      parts.push(Buffer.from(`M 160000 ${content} `), name);
      continue;
    }
    const data = Buffer.from(content as string);
    parts.push(Buffer.from(`M ${mode} inline `), name, Buffer.from(`data ${data.length}\n`), data, Buffer.from('\n'));
  }
  git(repository, ['fast-import', '--force', '--quiet'], Buffer.concat(parts));
  return git(repository, ['rev-parse', `refs/heads/${branch}`]).trim();
}

/** Runs git and gives its output; throws with its stderr where it fails. */
export function git(repository: string, args: string[], input: Buffer | string = ''): string {
  const result = spawnSync(GIT, [`--git-dir=${repository}`, ...args], { input, encoding: 'utf8', maxBuffer: 1 << 28 });
  if (result.status !== 0) throw new Error(`git ${args.join(' ')}: ${result.stderr}`);
  return result.stdout;
}

function quoted(path: string): string {
  return path.replace(/["\\\n]/g, (char) => (char === '\n' ? '\\n' : `\\${char}`));
}
