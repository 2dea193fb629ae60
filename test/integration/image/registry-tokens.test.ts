import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes, sign } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { RegistryClient } from '../../../src/image/registry/registry.ts';
import type { RegistryOptions } from '../../../src/image/registry/registry-connection.ts';
import type { TestRegistry } from '../../support/registry.ts';
import { startRegistry } from '../../support/registry.ts';

const digestOf = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const base64 = (text: string | Buffer): string => Buffer.from(text).toString('base64url');
const blob = (): Buffer => randomBytes(200_000);

let folder: string;
let certificate: string;
let key: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'dinp-certificate-'));
  certificate = join(folder, 'cert.pem');
  key = join(folder, 'key.pem');
  const args = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const name = ['-subj', '/CN=test', '-addext', 'subjectAltName=IP:127.0.0.1'];
  execFileSync('openssl', [...args, ...name, '-keyout', key, '-out', certificate], { stdio: 'ignore' });
});
after(() => rmSync(folder, { recursive: true }));

/** A token server that grants pusher all but what it is told to deny. */
class TokenServer implements AsyncDisposable {
  /** Scopes of every token that was asked for. */
  readonly asked: string[][] = [];
  /** Repositories that nobody may read. */
  readonly denied = new Set<string>();
  /** How long tokens hold, seconds; what the client is told is longer by an hour. */
  lifetime = 300;
  readonly #server = createServer((request, response) => {
    const url = new URL(request.url!, 'http://x');
    if (request.headers.authorization !== `Basic ${Buffer.from('pusher:secret').toString('base64')}`)
      return response.writeHead(401).end();
    const scopes = url.searchParams.getAll('scope');
    this.asked.push(scopes);
    return response.end(JSON.stringify({ token: this.#token(scopes), expires_in: 3600 }));
  });

  async start(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/token`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  /** A JSON web token as the registry wants it (distribution's token specification), signed with ES256. */
  #token(scopes: string[]): string {
    const access = scopes.flatMap((scope) => {
      const [type, name, actions] = scope.split(':') as [string, string, string];
      return this.denied.has(name) ? [] : [{ type, name, actions: actions.split(',') }];
    });
    const now = Math.floor(Date.now() / 1000);
    const der = readFileSync(certificate, 'utf8').replace(/-----[^-]+-----|\s/g, '');
    const head = base64(JSON.stringify({ typ: 'JWT', alg: 'ES256', x5c: [der] }));
    const claims = { iss: 'test', aud: 'registry', sub: 'pusher', jti: randomBytes(8).toString('hex'), access };
    const body = base64(JSON.stringify({ ...claims, iat: now, nbf: now - 1, exp: now + this.lifetime }));
    const signature = sign('sha256', Buffer.from(`${head}.${body}`), {
      key: readFileSync(key, 'utf8'),
      dsaEncoding: 'ieee-p1363',
    });
    return `${head}.${body}.${base64(signature)}`;
  }
}

describe('a registry with a token server', () => {
  let tokens: TokenServer;
  let registry: TestRegistry;
  let client: RegistryClient;
  const connect = (credentials: RegistryOptions['credentials']) =>
    new RegistryClient({ address: registry.address, credentials });
  before(async () => {
    tokens = new TokenServer();
    const realm = await tokens.start();
    registry = await startRegistry({ tokens: { realm, service: 'registry', issuer: 'test', certificate } });
    client = connect({ username: 'pusher', password: 'secret' });
  });
  after(async () => {
    await client?.close();
    await registry?.[Symbol.asyncDispose]();
    await tokens?.[Symbol.asyncDispose]();
  });

  it('is asked for one token where a push is to come: it looks with it, too', async () => {
    const bytes = blob();
    client.willPush('app/one');
    assert.equal(await client.findManifest('app/one', 'none'), undefined);
    await client.putBlob('app/one', digestOf(bytes), bytes);
    assert.deepEqual(await client.getBlob('app/one', digestOf(bytes)), bytes);
    assert.deepEqual(tokens.asked, [['repository:app/one:pull,push']]);
  });

  it('mounts with the right to read the other repository, and does without where that is not given', async () => {
    const bytes = blob();
    await client.putBlob('base/open', digestOf(bytes), bytes);
    await client.putBlob('base/closed', digestOf(bytes), bytes);
    tokens.asked.length = 0;
    assert.equal(await client.mountBlob('app/two', digestOf(bytes), 'base/open'), true);
    assert.deepEqual(tokens.asked, [['repository:app/two:pull,push', 'repository:base/open:pull']]);
    assert.equal(await client.hasBlob('app/two', digestOf(bytes)), true);
    tokens.denied.add('base/closed');
    assert.equal(await client.mountBlob('app/three', digestOf(bytes), 'base/closed'), false);
    tokens.denied.clear();
    await client.putBlob('app/three', digestOf(bytes), bytes);
  });

  it('streams an upload, and gets another token when the one it has has ended', async () => {
    const own = connect({ username: 'pusher', password: 'secret' });
    tokens.lifetime = -120;
    await assert.rejects(own.findManifest('app/four', 'x'), { code: 'denied' });
    tokens.lifetime = 300;
    const bytes = blob();
    // The token that the client has been told to be good for an hour is refused by now.
    tokens.asked.length = 0;
    const pieces = async function* () {
      yield bytes;
    };
    await own.uploadBlob('app/four', pieces(), () => digestOf(bytes));
    assert.deepEqual(await own.getBlob('app/four', digestOf(bytes)), bytes);
    await own.close();
  });

  it('lets nobody in without the password', async () => {
    for (const credentials of [undefined, { username: 'pusher', password: 'wrong' }]) {
      const stranger = connect(credentials);
      await assert.rejects(stranger.putBlob('app/five', digestOf(Buffer.from('x')), Buffer.from('x')), {
        code: 'denied',
      });
      await stranger.close();
    }
  });
});

describe('a registry with TLS', () => {
  it('is trusted by the authority that the config names, and by no other', async () => {
    await using registry = await startRegistry({ tls: { certificate, key } });
    const bytes = blob();
    const ca = readFileSync(certificate, 'utf8');
    const client = new RegistryClient({ address: registry.address, scheme: 'https', ca });
    const pieces = async function* () {
      yield bytes;
    };
    await client.uploadBlob('app', pieces(), () => digestOf(bytes));
    const { stream } = await client.openBlob('app', digestOf(bytes));
    assert.deepEqual(Buffer.concat(await Array.fromAsync(stream)), bytes);
    await client.close();
    const stranger = new RegistryClient({ address: registry.address, scheme: 'https' });
    await assert.rejects(stranger.ping(), { code: 'unavailable', message: /SELF_SIGNED|self.signed/ });
    await stranger.close();
  });
});
