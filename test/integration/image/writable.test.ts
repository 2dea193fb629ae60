import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { planDeploy } from '../../../src/artifact/plan-deploy.ts';

import { memoryTree } from '../../support/memory-tree.ts';
import { rawZip } from '../../support/raw-zip.ts';
import { HOST_PLATFORM, ImageFixture } from './fixture.ts';

/** What apps get from the targets. */
const CAPABILITIES = ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'KILL', 'NET_BIND_SERVICE', 'SETGID', 'SETUID'];
const SIGNAL = new AbortController().signal;
const VOLUMES = 'volumes: {data: /data/shop, seeded: /app/seeded/deep}\n';
const SEED = { 'seeded/deep/sub/first.txt': 'from the commit' };
/** Apps, where they are laid, and what in them stays root's. */
const APPS = {
  node: {
    into: '/app',
    roots: ['lib/b.js', 'node_modules/x/index.js', 'node_modules/new'],
    files: {
      'package.json': '{"main":"a.js","dependencies":{"x":"1"}}',
      'a.js': '',
      'lib/b.js': '',
      'node_modules/x/index.js': '',
      ...SEED,
    },
  },
  python: { into: '/app', roots: ['lib/b.py'], files: { 'app.py': '', 'lib/b.py': '', ...SEED } },
  tomcat10: {
    into: '/usr/local/tomcat/webapps/ROOT',
    roots: ['lib/page.html', 'WEB-INF/lib/new'],
    files: {
      'shop.war': rawZip(
        ['WEB-INF/web.xml', 'WEB-INF/lib/x.jar', 'lib/page.html'].map((name) => ({ name, content: '' })),
      ),
    },
  },
};

let images: ImageFixture;
const scope = new AsyncDisposableStack();
before(async () => {
  images = await ImageFixture.start({ bases: Object.keys(APPS) });
});
after(async () => {
  await scope.disposeAsync();
  for (const volume of ['data', 'seeded', 'old']) await images?.docker.getVolume(`t-${images.id}-${volume}`).remove();
  await images?.[Symbol.asyncDispose]();
});

async function planOf(name: keyof typeof APPS, dinpYml: string) {
  const bases = await images.bases.usableBases();
  const tree = memoryTree({ ...APPS[name].files, 'dinp.yml': `base: ${name}\n${dinpYml}` });
  const { services } = await planDeploy(tree, { app: 'shop', hostArch: HOST_PLATFORM.split('/')[1]!, bases, scope });
  return services[0]!;
}

/** Runs a shell command in an image as the user that it names, hardened and with the volumes as the target has them. */
async function sh(ref: { repository: string; digest: string }, volumes: Record<string, string>, command: string) {
  const Image = `${ref.repository}@${ref.digest}`;
  await images.engine.pull(Image, { signal: SIGNAL });
  const container = await images.docker.createContainer({
    name: `t-${images.id}-${Math.random().toString(36).slice(2)}`,
    Image,
    Entrypoint: ['sh', '-c', command],
    Tty: true,
    HostConfig: {
      CapDrop: ['ALL'],
      CapAdd: CAPABILITIES,
      SecurityOpt: ['no-new-privileges'],
      Mounts: Object.entries(volumes).map(([volume, Target]) => ({
        Type: 'volume',
        Source: `t-${images.id}-${volume}`,
        Target,
      })),
    },
  });
  try {
    await container.start();
    await container.wait();
    return (await container.logs({ stdout: true, stderr: true })).toString().replaceAll('\r\n', '\n');
  } finally {
    await container.remove({ force: true, v: false });
  }
}

describe('images of apps that do not run as root', () => {
  for (const name of ['node', 'python', 'tomcat10'] as const) {
    const { into, roots } = APPS[name];
    it(`can be written to beside the app’s files and nowhere else: ${name}`, async () => {
      const { image, tree } = await planOf(name, '');
      const { ref } = await images.build(tree, { plan: image });
      const write = `cd ${into} && id -u && echo data >data.db && echo more >lib/more && cat data.db lib/more`;
      assert.equal(await sh(ref, {}, write), '65532\ndata\nmore\n');
      for (const path of [...roots.map((each) => `${into}/${each}`), '/new', `${into}/../new`])
        assert.match(await sh(ref, {}, `echo x >${path}`), /[Pp]ermission denied/, path);
    });
  }

  it('find their volumes theirs, with what the commit has there, and again with the next release', async () => {
    const { image, tree } = await planOf('node', VOLUMES);
    assert.ok(image.kind === 'layers');
    const [first, volumes] = [
      await images.build(tree, { plan: image }),
      { data: '/data/shop', seeded: '/app/seeded/deep' },
    ];
    const seed = '/app/seeded/deep/sub/first.txt';
    const write = `echo one >/data/shop/a.db && cat ${seed} && echo changed >${seed} && stat -c '%u:%g %a' /data/shop /data`;
    assert.equal(await sh(first.ref, volumes, write), 'from the commit65532:65532 755\n0:0 755\n');
    const other = memoryTree({ ...APPS.node.files, 'a.js': 'changed' });
    const second = await images.build(other, { plan: image });
    assert.notEqual(second.ref.digest, first.ref.digest);
    const append = `echo two >>/data/shop/a.db && cat /data/shop/a.db ${seed}`;
    assert.equal(await sh(second.ref, volumes, append), 'one\ntwo\nchanged\n');
  });

  it('get a volume that was root’s before', async () => {
    const [without, with_] = [await planOf('node', ''), await planOf('node', VOLUMES)];
    const before = await images.build(without.tree, { plan: without.image });
    assert.match(await sh(before.ref, { old: '/data/shop' }, 'echo x >/data/shop/a'), /[Pp]ermission denied/);
    const { ref } = await images.build(with_.tree, { plan: with_.image });
    assert.equal(await sh(ref, { old: '/data/shop' }, 'echo x >/data/shop/a && cat /data/shop/a'), 'x\n');
  });

  it('are the same every time, others where volumes are elsewhere, with the same layer of dependencies', async () => {
    const one = await planOf('node', VOLUMES);
    const two = await planOf('node', 'volumes: {data: /data/other}\n');
    const first = await images.build(one.tree, { plan: one.image });
    const again = await images.build(one.tree, { plan: one.image, noCache: true, repository: `t-${images.id}/again` });
    assert.equal(again.ref.digest, first.ref.digest);
    const other = await images.build(two.tree, { plan: two.image });
    assert.notEqual(other.ref.digest, first.ref.digest);
    assert.match(other.output, /dependencies .*unchanged, reused\napplication .*→/);
  });
});
