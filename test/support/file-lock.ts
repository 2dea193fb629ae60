import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** Waits until no other process holds the lock of that name. It ends with its disposal, or with this process. */
export async function lockFile(path: string): Promise<AsyncDisposable> {
  const holder = spawn('flock', [path, 'sh', '-c', 'echo held; cat'], { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(holder.stdout, 'data');
  return {
    async [Symbol.asyncDispose]() {
      holder.stdin.end();
      await once(holder, 'close');
    },
  };
}
