import type { InstanceSpec } from '../../../src/domain/instance.ts';
import { DEFAULT_HEALTH } from '../../../src/domain/process.ts';

/** An instance as a first push would give it. */
export function exampleSpec(change: Partial<InstanceSpec> = {}): InstanceSpec {
  return {
    ...{ name: 'dinp-blog--web--v3--1', app: 'blog', release: 3, service: 'blog', process: 'web', index: 1 },
    image: { repository: '127.0.0.1:5000/blog', digest: `sha256:${'0123456789abcdef'.repeat(4)}` },
    command: undefined,
    env: { PORT: '8080' },
    secrets: {},
    memoryBytes: 256 * 1024 * 1024,
    port: { container: 8080, host: 20001 },
    volumes: {},
    health: DEFAULT_HEALTH,
    stopMs: 30_000,
    ...change,
  };
}

/** What is hard to carry. */
export const ODD = {
  command: ['sh', '-c', 'exec serve "$PORT" --rate 50% \\', ';', ''],
  env: { PORT: '8080', GREETING: 'say "hi" to 100% $HOME \\' },
  secrets: { TOKEN: 'hush-hush', PEM: '-----BEGIN-----\nhush-hush\n-----END-----\n' },
  volumes: { 'dinp-blog--data': '/data, "old"' },
};
