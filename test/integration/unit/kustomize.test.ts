import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { KustomizeRenderer } from '../../../src/unit/kustomize.ts';
import { kustomize } from '../../support/kustomize.ts';
import { memoryTree } from '../../support/memory-tree.ts';
import { exampleInstances, exampleProcess, exampleRelease } from '../../unit/unit/example-release.ts';

/** Objects as kustomize prints them. */
// biome-ignore lint/suspicious/noExplicitAny: whatever Kubernetes has
type Found = any;

const plain = new KustomizeRenderer({ openTree: async () => undefined });
const IMAGE = `registry.example.com/shop@sha256:${'0123456789abcdef'.repeat(4)}`;
const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 12 }),
  fc.string({ unit: fc.constantFrom(...'$()%:#\'"\\-?&*!|>{}[],\n\t\r 01yn~=', '${A}', '$(A)', '$$'), maxLength: 8 }),
  fc.constantFrom('', 'yes', 'on', '1:30', '0x1F', '0777', '1e3', '~', 'null', '- a', '1_000', '.inf', '2026-01-01'),
);

test('a release is the objects that were meant, its images by digest', async () => {
  const release = exampleRelease(
    'shop',
    {
      processes: [exampleProcess('web', { volumes: { data: '/data' } }), exampleProcess('worker')],
      releaseCommand: ['./migrate'],
    },
    { config: { TOKEN: 'hush' } },
  );
  const objects: Found[] = kustomize(await plain.render(release, exampleInstances(release, { web: 2, worker: 1 })));
  const named = objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`).sort();
  assert.deepEqual(named, [
    'Deployment shop--web',
    'Deployment shop--worker',
    'Job shop--release-v3',
    'PersistentVolumeClaim shop--data',
    'Service shop',
  ]);
  const images = objects.flatMap(({ spec }) => spec.template?.spec.containers.map((each: Found) => each.image) ?? []);
  assert.deepEqual(images, [IMAGE, IMAGE, IMAGE]);
  const [secret] = plain.secretFiles(release);
  const [made]: Found[] = kustomize([{ name: 'kustomization.yaml', text: 'resources: [secret.yaml]\n' }, secret!]);
  assert.deepEqual([made.metadata.name, made.data], ['shop--config', { TOKEN: 'aHVzaA==' }]);
  assert.deepEqual(objects.find(({ kind }) => kind === 'Deployment').spec.template.spec.containers[0].envFrom, [
    { secretRef: { name: 'shop--config' } },
  ]);
});

test('arguments and values arrive as they are, also where Kubernetes would expand them or YAML take them for something else', () => {
  const property = fc.asyncProperty(fc.array(text, { minLength: 200, maxLength: 200 }), async (values) => {
    const env = Object.fromEntries(values.map((value, i) => [`V${i}`, value]));
    const release = exampleRelease('on', { processes: [exampleProcess('y', { command: values })], env });
    const objects: Found[] = kustomize(await plain.render(release, exampleInstances(release, { y: 1 })));
    const deployment = objects.find(({ kind }) => kind === 'Deployment');
    assert.equal(deployment.metadata.name, 'on--y');
    const [container] = deployment.spec.template.spec.containers;
    assert.deepEqual(container.args.map(expanded), values);
    const found = Object.fromEntries(container.env.map(({ name, value }: Found) => [name, expanded(value ?? '')]));
    assert.deepEqual(found, env);
  });
  return fc.assert(property, { numRuns: 3, endOnFailure: true });
});

test("a repository's own objects stay as they are but for the image", async () => {
  const own = {
    'k8s/kustomization.yaml': 'resources: [app.yaml, redis]\nnamePrefix: dev-\n',
    'k8s/app.yaml': `apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, annotations: {note: "1:30"}}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      initContainers: [{name: first, image: "ghcr.io/acme/shop:latest"}]
      containers: [{name: main, image: "ghcr.io/acme/shop:latest"}, {name: side, image: "envoy:1"}]
`,
    'k8s/redis/kustomization.yaml': 'resources: [pod.yaml]\n',
    'k8s/redis/pod.yaml':
      'apiVersion: v1\nkind: Pod\nmetadata: {name: redis}\nspec: {containers: [{name: redis, image: redis}]}\n',
  };
  const renderer = new KustomizeRenderer({
    openTree: async () => ({ ...memoryTree(own), [Symbol.asyncDispose]: async () => {} }),
  });
  const release = exampleRelease('shop');
  const files = await renderer.render(release, exampleInstances(release, { web: 1 }));
  const alone: Found[] = kustomize(Object.entries(own).map(([name, text]) => ({ name: name.slice(4), text })));
  const json = JSON.stringify(alone).replaceAll('ghcr.io/acme/shop:latest', IMAGE);
  assert.deepEqual(kustomize(files), JSON.parse(json));
});

/** What the kubelet makes of a value in which every `$` is doubled. */
function expanded(value: string): string {
  return value.replaceAll('$$', '$');
}
