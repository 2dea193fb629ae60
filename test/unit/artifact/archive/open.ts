import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { openUpload, type UploadOptions } from '../../../../src/artifact/archive/upload.ts';
import { DinpError } from '../../../../src/domain/errors.ts';
import type { Tree } from '../../../../src/domain/tree.ts';
import { tempFolder } from '../../../support/temp-folder.ts';

let folder: string | undefined;
let count = 0;

/** Uploads these bytes; closed and removed when the test ends. */
export async function upload(
  t: TestContext,
  content: Buffer | string,
  filename = 'app.zip',
  options: UploadOptions = {},
): Promise<Tree> {
  folder ??= tempFolder();
  const file = join(folder, `upload-${count++}`);
  await writeFile(file, content);
  t.after(() => rm(file));
  const tree = await openUpload(file, filename, options);
  t.after(() => tree[Symbol.asyncDispose]());
  return tree;
}

/** Every file of a tree with its mode and text. */
export async function contentsOf(tree: Tree): Promise<Record<string, string>> {
  const contents: Record<string, string> = {};
  for await (const { entry, content } of tree.streamAll(tree.entries)) {
    const chunks: Buffer[] = [];
    for await (const chunk of content) chunks.push(chunk);
    contents[entry.path] = `${entry.mode} ${Buffer.concat(chunks).toString()}`;
  }
  return contents;
}

/** For assert.rejects: a refusal whose message matches, and which says what to do. */
export function refusal(message: RegExp): (error: unknown) => boolean {
  return (error) => {
    if (!(error instanceof DinpError) || error.code !== 'refused') throw error;
    if (!message.test(error.message)) throw new Error(`"${error.message}" does not match ${message}`);
    return error.hint !== undefined && error.hint !== '';
  };
}
