import { posix } from 'node:path';
import { DinpError } from '../domain/errors.ts';
import type { Tree } from '../domain/tree.ts';
import { regularFile } from './blobs.ts';
import { needsShell } from './command.ts';

/**
 * Linux takes a carriage return behind `#!/bin/sh` for a part of the name, and says that the script itself is missing.
 * @param commands argv of what is started, paths beginning at the root of the tree
 * @throws DinpError refused for a script among them with Windows line ends
 */
export async function refuseWindowsScripts(tree: Tree, commands: readonly (readonly string[])[]): Promise<void> {
  for (const path of new Set(commands.flatMap(scriptOf))) {
    const entry = regularFile(tree, path);
    if (entry === undefined) continue;
    const [first = ''] = (await tree.head(entry, 200)).toString('latin1').split('\n');
    if (!first.startsWith('#!') || !first.endsWith('\r')) continue;
    throw new DinpError('refused', `${path} has Windows line ends (CRLF), with which Linux cannot start a script.`, {
      hint: `Give it those of Unix, and push or upload it again:\n  sed -i 's/\\r$//' ${path}`,
    });
  }
}

/** The file that a command begins with, where it is one of the app's. */
function scriptOf(command: readonly string[]): string[] {
  const [first = ''] = needsShell(command) ? (command[2] ?? '').replace(/^exec\s+/, '').split(/\s/) : command;
  if (!/^[\w.-][\w./-]*$/.test(first)) return [];
  const path = posix.normalize(first);
  return path.startsWith('../') ? [] : [path];
}
