import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const PIECE = Buffer.alloc(64 * 1024);

/** A small file system of its own on a folder. */
export interface SmallDisk extends Disposable {
  /** Writes until nothing fits any more, not even a byte. */
  fill(): void;
  /** Makes room again. */
  empty(): void;
}

/** Mounts a tmpfs on a folder, which is made where it is not there; needs root. Disposing unmounts it, and all in it is gone. */
export function mountSmallDisk(folder: string, megabytes: number): SmallDisk {
  mkdirSync(folder, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', folder]);
  const filler = join(folder, 'filler');
  return {
    fill() {
      const file = openSync(filler, 'a');
      try {
        for (let piece = PIECE; piece.length > 0; ) {
          try {
            writeSync(file, piece);
          } catch (error) {
            if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
            piece = piece.subarray(0, Math.floor(piece.length / 2));
          }
        }
      } finally {
        closeSync(file);
      }
    },
    empty: () => rmSync(filler, { force: true }),
    // Lazily: a program that ends a moment later may have a file open still.
    [Symbol.dispose]: () => void execFileSync('umount', ['--lazy', folder]),
  };
}
