import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Tree } from '../../../src/domain/tree.ts';
import { kubernetesName } from '../../../src/unit/kubernetes-name.ts';
import { KustomizeRenderer } from '../../../src/unit/kustomize.ts';
import { type MemoryFile, memoryTree } from '../../support/memory-tree.ts';
import { exampleInstances, exampleProcess, exampleRelease } from './example-release.ts';
import { sameAsKept } from './kept-units.ts';

const plain = new KustomizeRenderer({ openTree: async () => undefined });
const withFiles = (files: Record<string, MemoryFile>) =>
  new KustomizeRenderer({ openTree: async () => disposable(memoryTree(files)) });
const joined = (files: { name: string; text: string }[]) =>
  files.map(({ name, text }) => `--- # ${name}\n${text}`).join('');

test('whole files', async () => {
  const simple = exampleRelease('blog');
  sameAsKept('blog.kustomize.yaml', joined(await plain.render(simple, exampleInstances(simple, { web: 2 }))));

  const odd = exampleRelease(
    '7-shop',
    {
      processes: [
        exampleProcess('web', {
          command: ['serve', '--rate=$(RATE)', 'yes', '0x1F', ''],
          health: { ...exampleProcess('web').health, kind: 'http', path: '/healthz?a=b', intervalMs: 1500 },
          volumes: { uploads: '/app/up loads' },
        }),
        exampleProcess('worker', {
          health: { ...exampleProcess('web').health, kind: 'command', command: 'test -e x' },
        }),
      ],
      env: { MODE: 'on', GREETING: 'a $HOME: "b"\nc', TOKEN: 'of the manifest' },
      releaseCommand: ['./migrate', '--all'],
    },
    { config: { TOKEN: 'hush', PEM: 'hush\nhush\n' } },
  );
  const files = await plain.render(odd, exampleInstances(odd, { web: 1 }));
  sameAsKept('odd.kustomize.yaml', joined(files));
  assert.doesNotMatch(joined(files), /hush|of the manifest/);
  const [secret] = plain.secretFiles(odd);
  sameAsKept('odd.secret.yaml', secret!.text);
  assert.deepEqual(plain.secretFiles(simple), []);
});

test('a variable that Kubernetes does not take is refused', async () => {
  const release = exampleRelease('blog', { env: { '1st': 'x' } });
  await assert.rejects(plain.render(release, exampleInstances(release, { web: 1 })), {
    code: 'refused',
    message: /"1st"/,
  });
});

test("a repository's own k8s/ is copied, and only its images are set", async () => {
  const release = exampleRelease('blog');
  const own = {
    'k8s/kustomization.yaml': 'resources: [app.yaml, https://example.com/x.yaml, sub]\n',
    'k8s/app.yaml': deploymentOf('registry.example.org:5000/team/blog:dev', 'redis:7'),
    'k8s/sub/kustomization.yaml': 'resources: [../other]\n',
    'README.md': 'no part of it\n',
  };
  const files = await withFiles(own).render(release, exampleInstances(release, { web: 1 }));
  assert.deepEqual(
    files.map(({ name }) => name),
    ['kustomization.yaml', 'k8s/app.yaml', 'k8s/kustomization.yaml', 'k8s/sub/kustomization.yaml'],
  );
  sameAsKept('own.kustomize.yaml', files[0]!.text);
  assert.equal(files[1]!.text, own['k8s/app.yaml']);
});

test('which image of k8s/ the app is', async () => {
  const imagesOf = async (app: string, files: Record<string, MemoryFile>) => {
    const release = exampleRelease(app);
    const [first] = await withFiles(files).render(release, exampleInstances(release, { web: 1 }));
    return [...first!.text.matchAll(/- name: (\S+)/g)].map(([, name]) => name);
  };
  const kustomization = 'resources: [app.yaml]\n';
  // By its name, in whatever registry; by itself; under the name that the repository's own kustomization gives it.
  const two = deploymentOf('a/blog:1', 'redis');
  assert.deepEqual(await imagesOf('blog', { 'k8s/kustomization.yml': kustomization, 'k8s/app.yaml': two }), ['a/blog']);
  const one = deploymentOf('placeholder');
  assert.deepEqual(await imagesOf('blog', { 'k8s/Kustomization': kustomization, 'k8s/app.yaml': one }), [
    'placeholder',
  ]);
  const renaming = `${kustomization}images: [{name: placeholder, newName: example.com/blog}]\n`;
  assert.deepEqual(await imagesOf('blog', { 'k8s/kustomization.yaml': renaming, 'k8s/app.yaml': one }), [
    'example.com/blog',
  ]);
  await assert.rejects(imagesOf('shop', { 'k8s/kustomization.yaml': kustomization, 'k8s/app.yaml': two }), {
    message: 'no container in k8s/ has the image shop; found a/blog, redis.',
    hint: 'Name it there, without tag:  image: shop',
  });
});

test('a k8s/ that would not be the same without the rest of the repository is refused', async () => {
  const refusal = async (files: Record<string, MemoryFile>) => {
    const release = exampleRelease('blog');
    await withFiles(files).render(release, []);
  };
  const base = { 'k8s/kustomization.yaml': 'resources: [a.yaml]\n', 'k8s/a.yaml': deploymentOf('blog') };
  await refusal(base);
  await assert.rejects(refusal({ 'k8s/kustomization.yaml': 'resources: [../base]\n' }), {
    message: 'k8s/kustomization.yaml names ../base, which is outside of k8s/.',
  });
  await assert.rejects(refusal({ ...base, 'k8s/logo.png': Buffer.from([0xff, 0xfe, 0]) }), /logo\.png is no text/);
  const link = { mode: '120000' as const, content: '../../etc/passwd' };
  await assert.rejects(refusal({ ...base, 'k8s/link': link }), /link is a symbolic link/);
  await assert.rejects(refusal({ ...base, 'k8s/big': Buffer.alloc(4 * 1024 * 1024 + 1) }), /more than 4 MiB/);
});

test('names are labels of DNS, and never become one', () => {
  assert.equal(kubernetesName('blog', 'web'), 'blog--web');
  assert.equal(kubernetesName('7-up'), 'dinp--7-up');
  const long = kubernetesName('a'.repeat(39), 'b'.repeat(30));
  assert.equal(long, `${'a'.repeat(39)}--${'b'.repeat(13)}-${long.slice(-8)}`);
  const names = ['A_b', 'a_b', 'a-b', 'a.b', '-a', 'a-', '_', long.slice(0, -9).padEnd(70, 'b')].map((name) =>
    kubernetesName(name),
  );
  assert.equal(new Set(names).size, names.length);
  for (const name of [...names, long]) assert.match(name, /^(?=.{1,63}$)[a-z](?:[a-z0-9-]*[a-z0-9])?$/);
});

function deploymentOf(...images: string[]): string {
  const containers = images.map((image, i) => `        - {name: c${i}, image: "${image}"}\n`).join('');
  return `apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: blog}\nspec:\n  template:\n    spec:\n      containers:\n${containers}`;
}

function disposable(tree: Tree): Tree & AsyncDisposable {
  return { ...tree, [Symbol.asyncDispose]: async () => {} };
}
