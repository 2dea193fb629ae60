/**
 * Makes one direct image with the compiled program, in a process of its own, and prints the most memory that this process ever had, in
 * bytes: `node direct-memory.mjs DIST REGISTRY CATALOGUE REPOSITORY SHA`. Not TypeScript: reading that takes memory of its own.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const [dist, registry, catalogue, repository, sha] = process.argv.slice(2);
const load = (path) => import(join(dist, path));
const [{ openCommitTree }, { BaseCatalogue }, { DirectImageBuilder }, { Registries }] = await Promise.all([
  load('git/commit-tree.js'),
  load('image/bases/bases.js'),
  load('image/direct/direct-builder.js'),
  load('image/registry/registries.js'),
]);
const registries = new Registries({ own: { address: registry } });
const bases = new BaseCatalogue({ registries, file: catalogue });
const platform = `linux/${process.arch === 'x64' ? 'amd64' : process.arch}`;
const builder = new DirectImageBuilder({ registries, bases, autoBases: false, platform });
{
  await using tree = await openCommitTree({ git: 'git', repository, oid: `${sha}^{tree}` });
  await builder.build({
    app: 'memory',
    repository: 'direct/memory',
    tag: sha,
    revision: sha,
    branch: undefined,
    buildNumber: 1,
    plan: {
      kind: 'layers',
      artifact: 'plain',
      base: 'bench',
      files: tree.entries.map(({ path }) => ({ to: `/app/${path}`, from: path })),
      dependencies: [],
      workdir: undefined,
      command: ['/app/run'],
      env: {},
      port: undefined,
    },
    watch: [tree.oid],
    tree,
    noCache: false,
    onOutput: () => {},
    signal: new AbortController().signal,
  });
}
await registries.close();
const [, peak] = /VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'));
process.stdout.write(`${peak * 1024}\n`);
