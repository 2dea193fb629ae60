import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { DinpError } from '../../../src/domain/errors.ts';
import { RegistryClient } from '../../../src/image/registry/registry.ts';
import type { RegistryOptions } from '../../../src/image/registry/registry-connection.ts';
import type { TestRegistry } from '../../support/registry.ts';
import { startRegistry } from '../../support/registry.ts';

const digestOf = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const MEDIA_TYPE = 'application/vnd.docker.distribution.manifest.v2+json';

/** Uploads an image of no layers. @returns its manifest */
async function upload(client: RegistryClient, repository: string, tag: string) {
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: [] },
      x: randomBytes(4).toString('hex'),
    }),
  );
  await client.putBlob(repository, digestOf(config), config);
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPE,
      config: {
        mediaType: 'application/vnd.docker.container.image.v1+json',
        size: config.length,
        digest: digestOf(config),
      },
      layers: [],
    }),
  );
  const manifest = { digest: digestOf(bytes), mediaType: MEDIA_TYPE, bytes };
  await client.putManifest(repository, tag, manifest);
  return { manifest, config };
}

describe('a registry', () => {
  let registry: TestRegistry;
  let client: RegistryClient;
  before(async () => {
    registry = await startRegistry();
    client = new RegistryClient({ address: registry.address });
  });
  after(async () => {
    await client?.close();
    await registry?.[Symbol.asyncDispose]();
  });

  it('keeps blobs, manifests and tags, and gives them back as they were', async () => {
    await client.ping();
    assert.deepEqual(await client.listTags('none'), []);
    assert.equal(await client.findManifest('some/app', 'one'), undefined);
    const { manifest, config } = await upload(client, 'some/app', 'one');
    assert.deepEqual(await client.getManifest('some/app', 'one'), manifest);
    assert.equal((await client.findManifest('some/app', manifest.digest))?.digest, manifest.digest);
    assert.deepEqual(await client.getBlob('some/app', digestOf(config)), config);
    await client.putManifest('some/app', 'two', manifest);
    assert.deepEqual(await client.listTags('some/app'), ['one', 'two']);
    assert.equal(await client.deleteManifest('some/app', manifest.digest), true);
    assert.equal(await client.deleteManifest('some/app', manifest.digest), false);
    assert.equal(await client.findManifest('some/app', 'two'), undefined);
  });

  it('takes a blob from a file', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'dinp-blob-'));
    const bytes = randomBytes(3_000_000);
    await writeFile(join(folder, 'blob'), bytes);
    await client.putBlob('files', digestOf(bytes), { file: join(folder, 'blob'), size: bytes.length });
    await rm(folder, { recursive: true });
    assert.deepEqual(await client.getBlob('files', digestOf(bytes)), bytes);
    await assert.rejects(client.getBlob('files', digestOf(bytes), 1000), { code: 'unavailable' });
  });

  it('says what it was asked when it refuses', async () => {
    await assert.rejects(
      client.putBlob('files', digestOf(Buffer.from('a')), Buffer.from('b')),
      (error: DinpError) => error.code === 'unavailable' && /answered 400: .*digest/.test(error.message),
    );
  });

  it('is given up on when the one who waits has gone', async () => {
    await assert.rejects(client.ping(AbortSignal.abort()), { name: 'DinpError', code: 'canceled' });
  });
});

describe('a registry with a password', () => {
  it('lets in who knows it, and never shows it', async () => {
    await using registry = await startRegistry({ password: true });
    const cases: [RegistryOptions['credentials'], RegExp | undefined][] = [
      [{ username: 'pusher', password: 'secret' }, undefined],
      [{ username: 'pusher', password: 'hunter2' }, /refuses the user name or password/],
      [undefined, /asks for a user name and password/],
    ];
    for (const [credentials, problem] of cases) {
      const client = new RegistryClient({ address: registry.address, credentials });
      if (problem === undefined) await upload(client, 'app', 'x');
      else {
        await assert.rejects(client.ping(), (error: DinpError) => {
          assert.doesNotMatch(`${error.message}${error.hint}${error.stack}`, /hunter2/);
          return error.code === 'denied' && problem.test(error.message);
        });
      }
      await client.close();
    }
  });
});

describe('a registry with tokens, and one that means harm', () => {
  type Handler = (request: IncomingMessage, response: ServerResponse) => void;

  async function serve(handler: Handler): Promise<{ address: string } & AsyncDisposable> {
    const server = createServer(handler).listen(0, '127.0.0.1');
    await once(server, 'listening');
    return {
      address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
      async [Symbol.asyncDispose]() {
        server.closeAllConnections();
        server.close();
      },
    };
  }

  it('gets a token for the scope, uses it again, and another one when it has been refused', async () => {
    const asked: string[] = [];
    let valid = 'one';
    await using tokens = await serve((request, response) => {
      const url = new URL(request.url!, 'http://x');
      asked.push(
        `${url.searchParams.get('service')} ${url.searchParams.get('scope')} ${request.headers.authorization}`,
      );
      response.end(JSON.stringify({ token: valid, expires_in: 300 }));
    });
    await using registry = await serve((request, response) => {
      if (request.headers.authorization === `Bearer ${valid}`) return response.end('{"tags":["a"]}');
      response
        .writeHead(401, {
          'www-authenticate': `Bearer realm="http://${tokens.address}/token",service="reg",scope="repository:x:pull"`,
        })
        .end();
    });
    const client = new RegistryClient({ address: registry.address, credentials: { username: 'u', password: 'p' } });
    assert.deepEqual(await client.listTags('x'), ['a']);
    assert.deepEqual(await client.listTags('x'), ['a']);
    valid = 'two';
    assert.deepEqual(await client.listTags('x'), ['a']);
    const line = `reg repository:x:pull Basic ${Buffer.from('u:p').toString('base64')}`;
    assert.deepEqual(asked, [line, line]);
    await client.close();
  });

  it('keeps the credentials from where redirects and upload addresses lead', async () => {
    const seen: (string | undefined)[] = [];
    const bytes = Buffer.from('{}');
    await using other = await serve((request, response) => {
      seen.push(request.headers.authorization);
      response.end(bytes);
    });
    await using registry = await serve((request, response) => {
      if (request.headers.authorization === undefined)
        return response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      if (request.method === 'POST')
        return response.writeHead(202, { location: `http://${other.address}/upload` }).end();
      if (request.method === 'HEAD') return response.writeHead(404).end();
      response.writeHead(307, { location: `http://${other.address}/blob` }).end();
    });
    const client = new RegistryClient({ address: registry.address, credentials: { username: 'u', password: 'p' } });
    assert.deepEqual(await client.getBlob('x', digestOf(bytes)), bytes);
    assert.deepEqual(seen, [undefined]);
    await assert.rejects(client.putBlob('x', digestOf(bytes), bytes), { code: 'denied' });
    assert.deepEqual(seen, [undefined]);
    await client.close();
  });

  it('does not take other content for what was asked by digest, nor wait for ever', async () => {
    await using wrong = await serve((request, response) => {
      if (request.url?.includes('slow')) return;
      response.end('{"other":1}');
    });
    const client = new RegistryClient({ address: wrong.address, timeoutMs: 300 });
    await assert.rejects(client.getManifest('x', digestOf(Buffer.from('a'))), { code: 'unavailable' });
    await assert.rejects(client.getBlob('x', digestOf(Buffer.from('a'))), { code: 'unavailable' });
    const at = Date.now();
    await assert.rejects(
      client.findManifest('x', 'slow'),
      (error: DinpError) => error.code === 'unavailable' && /took too long/.test(error.message),
    );
    assert.ok(Date.now() - at < 3000);
    await client.close();
  });
});
