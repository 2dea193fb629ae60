import type { BuildUnit } from '../../../src/unit/build-unit.ts';

/** A build for tests. */
export function exampleBuild(changes: Partial<BuildUnit> = {}): BuildUnit {
  return {
    name: 'dinp-build-local-0a1b2c',
    app: 'blog',
    buildNumber: 7,
    folder: '/run/dinp-build/dinp-build-local-0a1b2c',
    docker: '/usr/bin/docker',
    curl: '/usr/bin/curl',
    builder: 'buildkit',
    dockerfile: 'docker/Dockerfile',
    stage: undefined,
    args: { VERSION: '1.2' },
    labels: { 'dinp.image.app': 'blog', 'dinp.image.key': 'c0ffee' },
    noCache: false,
    image: '127.0.0.1:5000/blog:8dc0c4a',
    limits: { memoryBytes: 4 * 1024 ** 3, cpus: 2 },
    timeoutMs: 15 * 60_000,
    ...changes,
  };
}
