import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { access, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { CaddyRouter } from '../../../src/router/caddy.ts';
import type { Route } from '../../../src/router/router.ts';
import type { TlsSettings } from '../../../src/router/tls.ts';
import { readTls } from '../../../src/server/read-tls.ts';
import { type Caddy, freePorts, startCaddy } from '../../support/caddy.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { until } from '../../support/until.ts';
import type { AcmeResult } from './acme.ts';
import { startBackend } from './backend.ts';

const run = promisify(execFile);

interface Answer {
  status: number;
  location: string;
  body: string;
}

/** Asks this machine for a host name, trusting one authority only. */
async function curl(url: string, ca?: string, ...more: string[]): Promise<Answer> {
  const { host, hostname, port } = new URL(url);
  const connect = ['--connect-to', `${host}:127.0.0.1:${port}`, '--resolve', `${hostname}:${port}:127.0.0.1`];
  const trust = ca === undefined ? [] : ['--cacert', ca];
  const format = ['-w', '\n%{http_code} %{redirect_url}'];
  const { stdout } = await run('curl', ['-q', '-sS', '--noproxy', '*', ...connect, ...trust, ...format, ...more, url]);
  const [body, last] = [stdout.slice(0, stdout.lastIndexOf('\n')), stdout.slice(stdout.lastIndexOf('\n') + 1)];
  const [status, location] = last.split(' ') as [string, string];
  return { status: Number(status), location, body };
}

async function routerOf(caddy: Caddy, tls: Partial<TlsSettings> | undefined) {
  const [http, https, port] = (await freePorts(3)) as [number, number, number];
  const settings: TlsSettings | undefined = tls && {
    ...{ from: 'internal', email: undefined, ca: undefined, caRoot: undefined, certificates: [] },
    listen: `127.0.0.1:${https}`,
    ...tls,
  };
  const open = (with_: TlsSettings | undefined) =>
    new CaddyRouter({ admin: caddy.admin, owner: 'me', listen: `127.0.0.1:${http}`, bind: '127.0.0.1', tls: with_ });
  return { open, router: open(settings), settings, http, https, port };
}

const set = (router: CaddyRouter, route: Route) => router.change(new Map([[route.app, route]]));
const rootOf = (caddy: Caddy) => join(caddy.data, 'pki/authorities/dinp/root.crt');

describe('HTTPS', { concurrency: 2 }, () => {
  test("by Caddy's own authority: names are served and led to, the stable port stays plain", async () => {
    await using caddy = await startCaddy();
    await using blog = await startBackend('blog');
    const { router, http, https, port } = await routerOf(caddy, {});
    const route = { app: 'blog', hosts: ['blog.localhost', '*.example.org'], port, upstreams: [blog.address] };
    await set(router, route);
    const ca = rootOf(caddy);
    await until('there is an authority', () =>
      access(ca).then(
        () => true,
        () => false,
      ),
    );
    const served = await until('there is a certificate', () =>
      curl(`https://blog.localhost:${https}/headers`, ca).catch(() => undefined),
    );
    const headers = JSON.parse(served.body) as Record<string, string>;
    assert.equal(headers['x-forwarded-proto'], 'https');
    assert.equal(headers['x-forwarded-host'], `blog.localhost:${https}`);
    assert.equal((await curl(`https://www.example.org:${https}/`, ca)).body, 'blog');
    assert.deepEqual(await curl(`http://blog.localhost:${http}/a?b=c`, undefined, '-d', 'x'), {
      status: 308,
      location: `https://blog.localhost:${https}/a?b=c`,
      body: '',
    });
    assert.equal((await curl(`http://localhost:${port}/`)).body, 'blog');
    assert.equal((await curl(`http://shop.localhost:${http}/`)).status, 404);
    const unknown = await curl(`https://blog.localhost:${https}/`, ca, '-H', 'Host: shop.localhost');
    assert.equal(unknown.status, 404);
    assert.match(unknown.body, /No app is deployed under this host name/);
    await assert.rejects(curl(`https://blog.localhost:${https}/`), /certificate/, 'nobody was made to trust it');
    assert.deepEqual(
      (await router.listRoutes()).map(({ hosts }) => hosts.sort()),
      [['*.example.org', 'blog.localhost']],
    );
  });

  test('switched off, names are served by plain HTTP again and nothing is left of it', async () => {
    await using caddy = await startCaddy();
    await using blog = await startBackend('blog');
    const { open, router, http, https, port } = await routerOf(caddy, {});
    const route = { app: 'blog', hosts: ['blog.localhost'], port, upstreams: [blog.address] };
    await set(router, route);
    assert.equal((await curl(`http://blog.localhost:${http}/`)).status, 308);
    await open(undefined).sync(() => ({ routes: [route], leave: new Set() }));
    assert.equal((await curl(`http://blog.localhost:${http}/`)).body, 'blog');
    await assert.rejects(curl(`https://blog.localhost:${https}/`), /refused|Failed to connect/);
    const apps = (await (await fetch(`${caddy.admin}/config/apps`)).json()) as Record<string, unknown>;
    assert.equal(apps.tls, undefined);
  });

  test('by certificate files: the names that they hold, others stay plain; a renewed one is read', async () => {
    const folder = tempFolder();
    const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
    const renew = () =>
      run('openssl', [
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
        ...['-subj', '/CN=t', '-addext', 'subjectAltName=DNS:*.example.org', '-keyout', key, '-out', cert],
      ]);
    await renew();
    await using caddy = await startCaddy();
    await using blog = await startBackend('blog');
    const read = readTls({
      ...{ caddy: caddy.admin, listen: ':80', bind: '', tls: 'files', tlsListen: ':443' },
      certificates: [{ cert, key }],
    })!;
    const { open, settings, http, https, port } = await routerOf(caddy, {});
    const router = open(Object.create(read, { listen: { value: settings!.listen } }) as TlsSettings);
    const route = { app: 'blog', hosts: ['www.example.org', 'example.org'], port, upstreams: [blog.address] };
    await set(router, route);
    assert.equal((await curl(`https://www.example.org:${https}/`, cert)).body, 'blog');
    assert.equal((await curl(`http://www.example.org:${http}/`)).status, 308);
    assert.equal((await curl(`http://example.org:${http}/`)).body, 'blog');
    const before = await readFile(cert, 'utf8');
    await renew();
    assert.notEqual(await readFile(cert, 'utf8'), before);
    await router.sync(() => ({ routes: [route], leave: new Set() }));
    assert.equal((await curl(`https://www.example.org:${https}/`, cert)).body, 'blog', 'the new one is shown');
  });

  test('by an ACME authority of your own, which asks for the name on the ports that visitors use', async () => {
    const script = fileURLToPath(new URL('./acme.ts', import.meta.url));
    const hosts = join(tempFolder(), 'hosts');
    await writeFile(hosts, '127.0.0.1 localhost ca.test www.shop.test\n');
    const inside = 'ip link set lo up && mount --bind "$2" /etc/hosts && exec "$0" "$1"';
    const flags = process.getuid?.() === 0 ? '-nm' : '-rnm';
    const { stdout } = await run('unshare', [flags, 'sh', '-c', inside, process.execPath, script, hosts]);
    const { body, redirect, issuer } = JSON.parse(stdout) as AcmeResult;
    assert.deepEqual([body, redirect], ['shop', 'https://www.shop.test/a']);
    assert.match(issuer, /Test Authority/);
  });
});
