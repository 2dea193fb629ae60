import { createHash } from 'node:crypto';
import type { Tree } from '../../domain/tree.ts';
import type { Place } from '../registry/copy-blob.ts';
import { retryBroken } from '../registry/retry.ts';
import { gzip } from './gzip.ts';
import { layerTar } from './layer-tar.ts';
import type { Layout } from './layout.ts';

/** Layers of so much content are made in memory, then uploaded. */
const SMALL = 1 << 20;

/** A layer as a registry has it. */
export interface Layer {
  /** Of the compressed bytes. */
  digest: string;
  /** Compressed bytes. */
  size: number;
  /** Of the tar. */
  diffId: string;
}

/**
 * Makes a layer and uploads it while it is made: nothing is kept on disk, and a few MiB in memory. A connection that breaks has it made and
 * uploaded anew, twice.
 * @param onRead told how many bytes of the tar there are so far; begins at 0 again where the layer is made anew
 * @throws DinpError unavailable, denied, canceled; what the tree throws
 */
export async function uploadLayer(
  to: Place,
  tree: Tree,
  layout: Layout,
  signal: AbortSignal,
  onRead: (bytes: number) => void,
): Promise<Layer> {
  return retryBroken(async () => {
    const tarHash = createHash('sha256');
    const packed = createHash('sha256');
    let read = 0;
    let size = 0;
    let digest = '';
    const tar = passing(layerTar(tree, layout.files, layout.owned), (chunk) => {
      tarHash.update(chunk);
      read += chunk.length;
      onRead(read);
    });
    const bytes = passing(gzip(tar), (chunk) => {
      packed.update(chunk);
      size += chunk.length;
    });
    const finish = (): string => {
      digest = `sha256:${packed.digest('hex')}`;
      return digest;
    };
    if (layout.bytes > SMALL) await to.registry.uploadBlob(to.repository, bytes, finish, signal);
    else {
      // Of little, the digest is known before the upload: that is a call less, and none where the registry has it.
      const whole = Buffer.concat(await Array.fromAsync(bytes));
      await to.registry.putBlob(to.repository, finish(), whole, signal);
    }
    return { digest, size, diffId: `sha256:${tarHash.digest('hex')}` };
  }, signal);
}

async function* passing(bytes: AsyncIterable<Buffer>, see: (chunk: Buffer) => void): AsyncGenerator<Buffer> {
  for await (const chunk of bytes) {
    see(chunk);
    yield chunk;
  }
}
