import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { HostImages } from '../../../src/deploy/hosts/host-images.ts';
import { formatImageRef, type ImageRef } from '../../../src/domain/image-ref.ts';
import type { RunHost } from '../../../src/domain/run-host.ts';
import { HostLink } from '../../../src/run/ssh/host-link.ts';
import { TestSshd } from '../../support/sshd.ts';
import { type Engine, startEngine } from '../run/engine.ts';

let sshd: TestSshd;
let engine: Engine;
let link: HostLink;

/** This machine's engine, as a host that is reached by real SSH. */
before(async () => {
  engine = await startEngine();
  sshd = await TestSshd.start();
  const { address: ssh, hostKey } = sshd.login();
  const known = { name: 'h1', ssh, hostKey, docker: '/usr/bin/docker', registryPort: 0 };
  link = new HostLink(known, { privateKey: sshd.privateKey, server: 't', registry: undefined });
});
after(async () => {
  link?.close();
  await sshd?.[Symbol.asyncDispose]();
  await engine?.[Symbol.asyncDispose]();
});

function imagesOf(...names: string[]): HostImages {
  return new HostImages({
    list: () => names.map((name) => ({ name, docker: '/usr/bin/docker' }) as RunHost),
    link: ({ name }) => (name === 'h1' ? link : awayLink()),
    imageName: (_host, image) => image,
  });
}

/** A host where nobody answers. */
function awayLink(): HostLink {
  const { hostKey } = sshd.login();
  const ssh = { user: 'root', host: '127.0.0.1', port: 1 };
  const known = { name: 'away', ssh, hostKey, docker: '/usr/bin/docker', registryPort: 0 };
  return new HostLink(known, { privateKey: sshd.privateKey, server: 't', registry: undefined });
}

async function has(image: ImageRef): Promise<boolean> {
  return await engine.docker
    .getImage(formatImageRef(image))
    .inspect()
    .then(
      () => true,
      () => false,
    );
}

test('copies go from the hosts that answer; what runs keeps its image; what is not there does no harm', async () => {
  const used = await engine.derive(['LABEL t=used']);
  const unused = await engine.derive(['LABEL t=unused']);
  const absent = { ...unused, digest: `sha256:${'0'.repeat(64)}` };
  const container = await engine.docker.createContainer({
    Image: formatImageRef(used),
    Cmd: ['sleep', '1000'],
    Labels: { 'dinp.server': engine.serverId },
  });
  await container.start();
  await imagesOf('away', 'h1').remove([absent, used, unused]);
  assert.equal(await has(used), true);
  assert.equal(await has(unused), false);
});
