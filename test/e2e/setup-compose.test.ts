import assert from 'node:assert/strict';
import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { bareImage, copyCheckout, docker } from '../support/bare-machine.ts';
import { layOutNode } from '../support/node-layout.ts';
import { SystemdMachine } from '../support/systemd-host.ts';
import { run } from '../unit/scripts/bash.ts';

/** They stand for a hub's images: a Debian with Node and npm, and Debian's own registry and Caddy laid out like them. */
const IMAGES = {
  base: `COPY . /usr/local/
    ENV NODE_EXTRA_CA_CERTS=/usr/local/certificates.crt
    RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm`,
  registry: `COPY docker-registry /usr/bin/
    ENV REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=/var/lib/registry REGISTRY_HTTP_ADDR=:5000
    RUN printf 'version: 0.1\\nstorage: {filesystem: {rootdirectory: /var/lib/registry}}\\nhttp: {addr: ":5000"}\\n' > /config.yml
    CMD ["docker-registry", "serve", "/config.yml"]`,
  caddy: `COPY caddy /usr/bin/
    ENV XDG_CONFIG_HOME=/config XDG_DATA_HOME=/data`,
};
const COMPOSE = `cd /root/dinp && export DINP_BASE=base DINP_REGISTRY_IMAGE=registry DINP_CADDY_IMAGE=caddy DINP_LISTEN=:8080 \
  DOCKER_BUILDKIT=0 DOCKER_GID=$(stat -c %g /var/run/docker.sock) && docker-compose`;

let machine: SystemdMachine;
const scratch = mkdtempSync(join(tmpdir(), 'dinp-compose-'));

before(async () => {
  machine = await SystemdMachine.boot();
  await machine.exec('apt-get update -q && apt-get install -y -q --no-install-recommends docker-compose');
  await machine.exec('systemctl stop docker-registry caddy');
  await copyCheckout(machine.name, '/root/dinp');
  await makeImages();
});
after(async () => {
  await machine?.[Symbol.asyncDispose]();
  rmSync(scratch, { recursive: true, force: true });
});

async function makeImages(): Promise<void> {
  const bare = await bareImage();
  await run('bash', ['-c', `docker save ${bare} | docker exec -i ${machine.name} docker load`]);
  for (const [name, lines] of Object.entries(IMAGES)) {
    const folder = join(scratch, name);
    mkdirSync(folder);
    writeFileSync(join(folder, 'Dockerfile'), `FROM ${bare}\n${lines}\n`);
    if (name === 'base') await layOutNode(folder);
    else await takeProgram(folder, name);
    await docker(['cp', folder, `${machine.name}:/root/${name}`]);
    await machine.exec(`DOCKER_BUILDKIT=0 docker build -q -t ${name} /root/${name}`);
  }
}

/** The machine's own program, as Debian packages it: it needs nothing that a small Debian lacks. */
async function takeProgram(folder: string, image: string): Promise<void> {
  const program = image === 'registry' ? 'docker-registry' : image;
  const { stdout } = await run('bash', ['-c', `command -v ${program}`]);
  cpSync(realpathSync(stdout.trim()), join(folder, program));
}

const PUSH = 'cd /root/page && GIT_SSH_COMMAND="ssh -o StrictHostKeyChecking=accept-new" git push dinp master 2>&1';

test('server, registry and router as containers', async (t) => {
  await t.test(
    'docker-compose up builds our image on the given base; the server gets healthy and is not root',
    async () => {
      await machine.exec(`${COMPOSE} up -d --build`);
      await machine.exec(`for n in $(seq 120); do
      [ "$(docker inspect -f '{{.State.Health.Status}}' dinp_server_1)" = healthy ] && exit 0; sleep 0.5; done
      docker logs dinp_server_1; exit 1`);
      assert.notEqual(await machine.exec('docker exec dinp_server_1 id -u'), '0');
      const native = `process.exit(require('ssh2/lib/protocol/crypto.js').bindingAvailable ? 0 : 1)`;
      await machine.exec(`docker exec -w /opt/dinp dinp_server_1 node -e "${native}"`);
    },
  );

  await t.test('a key is let in and a push answers at its address', async () => {
    await machine.exec(`ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519
      ${COMPOSE} exec -T server dinp keys add me --role admin < ~/.ssh/id_ed25519.pub
      mkdir /root/page && cd /root/page && git init -q -b master . && echo hello > index.html && git add .
      git -c user.name=me -c user.email=me@example.com commit -qm one && git remote add dinp ssh://dinp@127.0.0.1:2222/page`);
    assert.match(await machine.exec(PUSH), /Released v1/);
    assert.equal(await machine.exec("curl -fsS -H 'Host: page.localhost' http://127.0.0.1:8080/"), 'hello');
  });

  await t.test('down and up again: keys, releases, images and routes are kept', async () => {
    await machine.exec(`${COMPOSE} down && ${COMPOSE} up -d`);
    await machine.exec(
      'for n in $(seq 100); do docker exec dinp_server_1 dinp apps list >/dev/null 2>&1 && exit 0; sleep 0.5; done; exit 1',
    );
    assert.match(await machine.exec(PUSH), /is live as v1/);
    const fetch = 'curl -fsS --retry 20 --retry-delay 1 --retry-all-errors';
    assert.equal(await machine.exec(`${fetch} -H 'Host: page.localhost' http://127.0.0.1:8080/`), 'hello');
  });
});
