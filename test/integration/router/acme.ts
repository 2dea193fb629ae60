import { execFile } from 'node:child_process';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { CaddyRouter } from '../../../src/router/caddy.ts';
import type { TlsSettings } from '../../../src/router/tls.ts';
import { startCaddy } from '../../support/caddy.ts';
import { until } from '../../support/until.ts';
import { startBackend } from './backend.ts';

/** What a client saw that trusts the authority alone. */
export interface AcmeResult {
  body: string;
  redirect: string;
  issuer: string;
}

const run = promisify(execFile);

/** A Caddy that is an ACME authority, which asks for names on ports 80 and 443 as every authority does. */
const AUTHORITY = {
  apps: {
    pki: { certificate_authorities: { local: { name: 'Test Authority', install_trust: false } } },
    tls: { automation: { policies: [{ subjects: ['ca.test'], issuers: [{ module: 'internal' }] }] } },
    http: {
      servers: {
        acme: {
          listen: [':9443'],
          automatic_https: { disable_redirects: true },
          routes: [{ match: [{ host: ['ca.test'] }], handle: [{ handler: 'acme_server' }] }],
        },
      },
    },
  },
};

/** In a network of its own, where `ca.test` and `www.shop.test` are this machine, ports 80 and 443 can be had. */
async function getCertificate(): Promise<AcmeResult> {
  await using authority = await startCaddy({ config: AUTHORITY });
  const root = join(authority.data, 'pki/authorities/local/root.crt');
  await until('there is an authority', () =>
    access(root).then(
      () => true,
      () => false,
    ),
  );
  await using caddy = await startCaddy();
  await using shop = await startBackend('shop');
  const tls: TlsSettings = {
    ...{ from: 'acme', listen: ':443', email: 'ops@shop.test', certificates: [] },
    ...{ ca: 'https://ca.test:9443/acme/local/directory', caRoot: root },
  };
  const router = new CaddyRouter({ admin: caddy.admin, owner: 'me', listen: ':80', bind: '127.0.0.1', tls });
  const route = { app: 'shop', hosts: ['www.shop.test'], port: 21_000, upstreams: [shop.address] };
  await router.change(new Map([['shop', route]]));
  const curl = async (...args: string[]) => (await run('curl', ['-q', '-sS', '--cacert', root, ...args])).stdout;
  const body = await until('there is a certificate', () =>
    curl('https://www.shop.test/').catch(async (error: Error) => {
      if (/"level":"error".*obtain/.test(await caddy.log())) throw new Error(await caddy.log(), { cause: error });
      return undefined;
    }),
  );
  const redirect = await curl('-o', '/dev/null', '-w', '%{redirect_url}', 'http://www.shop.test/a');
  const verbose = await run('curl', ['-q', '-sSv', '--cacert', root, 'https://www.shop.test/']);
  return { body, redirect, issuer: /issuer: (.*)/.exec(verbose.stderr)?.[1] ?? '' };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(JSON.stringify(await getCertificate()));
