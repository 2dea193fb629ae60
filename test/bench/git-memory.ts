import { readdirSync } from 'node:fs';
import { commandLine, parentOf, peakMemory } from './machine.ts';

const EVERY_MS = 25;
const RECEIVING = /\breceive-pack\b|\bindex-pack\b|\bunpack-objects\b/;

/**
 * Watches the git processes that receive a push while it runs.
 * @param repository a part of receive-pack's command line
 * @returns the peak of the largest of them (receive-pack, index-pack, unpack-objects), in bytes
 */
export async function watchGitMemory<T>(
  repository: string,
  push: () => Promise<T>,
): Promise<{ result: T; bytes: number }> {
  let bytes = 0;
  const timer = setInterval(() => {
    const all = readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map((name) => ({ pid: Number(name), line: commandLine(Number(name)) }))
      .filter(({ line }) => RECEIVING.test(line) && !line.includes('git push') && !line.startsWith('ssh '));
    const parents = new Set(all.filter(({ line }) => line.includes(repository)).map(({ pid }) => pid));
    for (const { pid } of all) {
      if (parents.has(pid) || parents.has(parentOf(pid))) bytes = Math.max(bytes, peakMemory(pid));
    }
  }, EVERY_MS);
  try {
    const result = await push();
    return { result, bytes };
  } finally {
    clearInterval(timer);
  }
}
