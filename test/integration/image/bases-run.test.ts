import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type Docker from 'dockerode';
import { planDeploy } from '../../../src/artifact/plan-deploy.ts';
import type { DinpError } from '../../../src/domain/errors.ts';
import { BaseCatalogue } from '../../../src/image/bases/bases.ts';
import { Registries } from '../../../src/image/registry/registries.ts';
import { memoryTree } from '../../support/memory-tree.ts';
import { rawZip } from '../../support/raw-zip.ts';
import { ImageFixture } from './fixture.ts';

/** What apps get from the targets. */
const CAPABILITIES = ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'KILL', 'NET_BIND_SERVICE', 'SETGID', 'SETUID'];
const PORT = 9001;

let images: ImageFixture;
let folder: string;
before(async () => {
  images = await ImageFixture.start({ bases: ['jre17', 'tomcat10', 'tomcat9', 'php', 'python', 'node'] });
  folder = await mkdtemp(join(tmpdir(), 'dinp-bases-run-'));
});
after(async () => {
  await images?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** Runs a command in a base. @returns its output */
async function inBase(name: string, command: string): Promise<string> {
  const { repository, digest } = await images.bases.check(name);
  await images.engine.pull(`${repository}@${digest}`, { signal: new AbortController().signal });
  return images.run({ ref: { repository, digest: digest! } }, ['bash', '-c', command]);
}

/** What prints the version of a base's runtime, and nothing else. */
const VERSIONS = {
  python: 'python3 -c "import platform; print(platform.python_version())"',
  node: 'node -p process.versions.node',
  php: "php -r 'echo PHP_VERSION;'",
  jre17: `java -XshowSettings:properties -version 2>&1 | sed -n 's/.* java.version = //p'`,
  tomcat10: `java -XshowSettings:properties -version 2>&1 | sed -n 's/.* java.version = //p'`,
};

describe('bases with a runtime', () => {
  for (const [name, command] of Object.entries(VERSIONS)) {
    it(`say which version it is: ${name}`, async () => {
      const inside = /\d+\.\d+\.\d+/.exec(await inBase(name, command))?.[0];
      assert.ok(inside !== undefined);
      assert.equal((await images.bases.usableBases()).get(name)?.version, inside);
      assert.equal((await images.bases.check(name)).version, inside);
      // Of what is not here, apt tells; for PHP the metapackage has the first two numbers only.
      const absent = new BaseCatalogue({ registries: new Registries({ own: { address: '127.0.0.1:9' } }) });
      const expected = name === 'php' ? inside.replace(/\.\d+$/, '') : inside;
      assert.equal((await absent.usableBases()).get(name)?.version, expected);
    });
  }

  it('are what decides which wheels and packages fit', async () => {
    const bases = await images.bases.usableBases();
    await using scope = new AsyncDisposableStack();
    const options = { app: 'shop', hostArch: 'amd64', bases, scope };
    const wheel = rawZip([{ name: 'fast-1.dist-info/METADATA', content: 'Name: fast\nVersion: 1\n' }]);
    const wrong = { 'app.py': '', 'requirements.txt': 'fast\n', 'wheels/fast-1-cp310-cp310-linux_x86_64.whl': wheel };
    const minor = bases.get('python')?.version?.replace(/\.\d+$/, '');
    await assert.rejects(planDeploy(memoryTree(wrong), options), (error: DinpError) =>
      error.message.includes(`fast-1-cp310-cp310-linux_x86_64.whl is for cp310, not Python ${minor}`),
    );
    const version = bases.get('node')?.version;
    const newer = { 'package.json': JSON.stringify({ main: 'a.js', engines: { node: '>=99' } }), 'a.js': '' };
    assert.deepEqual((await planDeploy(memoryTree(newer), options)).notes, [
      `package.json asks for node >=99, and the base "node" has ${version}.`,
    ]);
  });
});

interface Running {
  container: Docker.Container;
  get(path: string, headers?: Record<string, string>): Promise<{ status: number; text: string }>;
  logs(): Promise<string>;
}

/** Starts a base by itself over the files, hardened as apps are. */
async function start(name: string, into: string, files: Record<string, string>): Promise<Running> {
  const app = await mkdtemp(join(folder, `${name}-`));
  await chmod(app, 0o755);
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(app, path)), { recursive: true, mode: 0o755 });
    await writeFile(join(app, path), text, { mode: 0o644 });
  }
  const { repository, digest } = await images.bases.check(name);
  const address = await images.serve(
    repository,
    digest!,
    {
      name: `t-${images.id}-${name}-${Math.random().toString(36).slice(2, 8)}`,
      Env: [`PORT=${PORT}`, 'HELLO=from the environment'],
      HostConfig: {
        Init: true,
        Memory: 256 << 20,
        CapDrop: ['ALL'],
        CapAdd: CAPABILITIES,
        SecurityOpt: ['no-new-privileges'],
        Binds: [`${app}:${into}`],
      },
    },
    PORT,
  );
  const port = Number(new URL(address).port);
  const all = await images.docker.listContainers();
  const { Id } = all.find((each) => each.Ports.some(({ PublicPort }) => PublicPort === port))!;
  const container = images.docker.getContainer(Id);
  const logs = async (): Promise<string> => (await container.logs({ stdout: true, stderr: true })).toString();
  for (let tries = 0; ; tries++) {
    if ((await fetch(address).catch(() => undefined)) !== undefined) break;
    assert.ok(tries < 300, `${name} does not answer: ${await logs()}`);
    await delay(100);
  }
  const get = async (path: string, headers: Record<string, string> = {}): Promise<{ status: number; text: string }> => {
    const answer = await fetch(address + path, { headers, redirect: 'manual' });
    return { status: answer.status, text: await answer.text() };
  };
  return { container, get, logs };
}

describe('the bases of runtimes', () => {
  it('Java has its authorities, fonts’ folder, a shell with the usual tools, and no privileges', async () => {
    const text = await inBase(
      'jre17',
      'id -un; java -version 2>&1 | grep -o "version .17"; keytool -list -cacerts -storepass changeit 2>/dev/null | ' +
        'grep -c trustedCertEntry; java -XshowSettings:vm -version 2>&1 | grep -o "Max. Heap Size"; ls /usr/share/fonts/truetype; ' +
        'echo ok | sed s/o/O/ | grep -o Ok | awk \'{print $1 "!"}\'; ps -o comm= -p $$; TZ=Asia/Tokyo date +%Z',
    );
    assert.match(text, /^nonroot\nversion "17\n1\d\d\nMax. Heap Size\ndejavu\nOk!\nbash\nJST\n$/, text);
  });

  it('Python has what wheels need, verifies certificates and writes at once', async () => {
    const text = await inBase(
      'python',
      'python -c "import ssl, sqlite3, ctypes, lzma, bz2, zlib, zoneinfo, asyncio, curses; ' +
        "print(len(ssl.create_default_context().get_ca_certs()) > 100, zoneinfo.ZoneInfo('Europe/Berlin'))\"; " +
        'python3 -m pip --version | grep -c pip; ldconfig -p >/dev/null 2>&1; ls /usr/lib/*/libgomp.so.1 | wc -l; echo $PYTHONUNBUFFERED',
    );
    assert.equal(text, 'True Europe/Berlin\n1\n1\n1\n');
  });

  it('Node.js fetches, knows time zones and is in production', async () => {
    const text = await inBase(
      'node',
      "node -e \"console.log(typeof fetch, process.env.NODE_ENV, new Date(0).toLocaleString('de', {timeZone: 'Europe/Berlin'}))\"; id -u",
    );
    assert.equal(text, 'function production 1.1.1970, 01:00:00\n65532\n');
  });
});

for (const [name, api] of [
  ['tomcat10', 'jakarta'],
  ['tomcat9', 'javax'],
] as const) {
  it(`${name} runs what is written for ${api}, on PORT, and ends what it has begun`, async () => {
    const page = `<%@ page import="java.security.KeyStore,javax.net.ssl.*" %><%
      TrustManagerFactory f = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
      f.init((KeyStore) null);
      ${api}.servlet.http.HttpServletRequest r = request;
    %><%= ((X509TrustManager) f.getTrustManagers()[0]).getAcceptedIssuers().length > 100 %> <%= r.getScheme() %> <%= r.getRemoteAddr() %>`;
    const tomcat = await start(name, '/usr/local/tomcat/webapps/ROOT', {
      'index.jsp': page,
      'slow.jsp': '<% Thread.sleep(2000); %>slow',
      'WEB-INF/secret.txt': 'secret',
    });
    const shown = await tomcat.get('/', { 'x-forwarded-proto': 'https', 'x-forwarded-for': '203.0.113.9' });
    assert.deepEqual([shown.status, shown.text.trim()], [200, 'true https 203.0.113.9']);
    assert.equal((await tomcat.get('/WEB-INF/secret.txt')).status, 404);
    const lost = await tomcat.get('/lost');
    assert.equal(lost.status, 404);
    assert.doesNotMatch(lost.text, /Tomcat\/|Exception/);
    const slow = tomcat.get('/slow.jsp');
    await delay(800);
    await tomcat.container.stop({ t: 30 });
    assert.equal((await slow).text, 'slow');
    assert.match(await tomcat.logs(), /"GET \/lost HTTP\/1\.1" 404/);
  });
}

describe('the PHP base', () => {
  const page =
    '<?php error_log("a word for the log"); if (isset($_GET["slow"])) { sleep(2); }\n' +
    'file_put_contents("/app/storage/x", "x");\n' +
    'echo implode(" ", [$_SERVER["REQUEST_URI"], posix_getpwuid(posix_geteuid())["name"], file_exists("/app/storage/x") ? "wrote" : "could not", ' +
    '$_SERVER["HTTPS"] ?? "plain", $_SERVER["REMOTE_ADDR"], ini_get("memory_limit"), getenv("HELLO")]);';
  const laravel = {
    'public/index.php': page,
    'public/.env': 'SECRET',
    'public/app.css': 'body{}',
    'public/info.php': '<?php echo $_SERVER["PATH_INFO"];',
    'storage/.gitignore': '*',
    'config/php.ini': 'memory_limit = 99M\n',
  };

  it('serves a front controller below public/, with files, settings and a folder to write to', async () => {
    const php = await start('php', '/app', laravel);
    const shown = await php.get('/posts/7?a=b', { 'x-forwarded-proto': 'https', 'x-forwarded-for': '203.0.113.9' });
    assert.deepEqual(shown, {
      status: 200,
      text: '/posts/7?a=b www-data wrote on 203.0.113.9 99M from the environment',
    });
    assert.deepEqual(await php.get('/app.css'), { status: 200, text: 'body{}' });
    assert.deepEqual(await php.get('/info.php/more'), { status: 200, text: '/more' });
    for (const path of ['/.env', '/%2e%65nv', '/lost.php']) assert.equal((await php.get(path)).status, 404, path);
    const slow = php.get('/?slow=1');
    await delay(600);
    await php.container.stop({ t: 30 });
    assert.equal((await slow).status, 200);
    assert.equal((await php.container.inspect()).State.ExitCode, 0);
    assert.match(await php.logs(), /a word for the log/);
    assert.match(await php.logs(), /"GET \/\.env HTTP\/1\.1" 404/);
  });

  it('ends when either of its two servers does', async () => {
    for (const name of ['nginx', 'php-fpm']) {
      const php = await start('php', '/app', laravel);
      const killing = await php.container.exec({ Cmd: ['bash', '-c', `kill -9 $(pgrep -o ${name})`] });
      await killing.start({});
      const { StatusCode } = (await php.container.wait()) as { StatusCode: number };
      assert.notEqual(StatusCode, 0, name);
    }
  });

  it('honours nginx.conf in parts and as a whole, and php-fpm.conf', async () => {
    const echo = '<?php echo $_SERVER["REQUEST_URI"], " ", ini_get("memory_limit");';
    const part = await start('php', '/app', {
      'htdocs/index.php': echo,
      'config/nginx.conf': 'location /special { return 200 "special ${PORT}"; }\n',
      'config/php-fpm.conf': 'php_admin_value[memory_limit] = 77M\n',
    });
    assert.equal((await part.get('/special')).text, `special ${PORT}`);
    assert.equal((await part.get('/other')).text, '/other 77M');
    const whole = await start('php', '/app', {
      'htdocs/index.php': echo,
      'config/nginx.conf':
        'user www-data;\npid /run/nginx.pid;\nevents {}\nhttp {\n  include mime.types;\n  server {\n    listen $PORT;\n    root /app/htdocs;\n' +
        '    location / { try_files $uri /index.php$is_args$args; }\n' +
        '    location ~ \\.php$ { include fastcgi.conf; fastcgi_pass unix:/run/php/php-fpm.sock; }\n  }\n}\n',
    });
    assert.equal((await whole.get('/whole?x')).text, '/whole?x 128M');
    const server = await start('php', '/app', {
      'index.php': echo,
      'config/nginx.conf':
        'server {\n  listen ${PORT};\n  location / { try_files $uri /index.php$is_args$args; }\n' +
        '  location ~ \\.php$ { include fastcgi.conf; fastcgi_pass 127.0.0.1:9000; }\n}\n',
      'config/php-fpm.conf':
        '[global]\ndaemonize = yes\n[www]\nlisten = 127.0.0.1:9000\nuser = www-data\npm = static\n',
    });
    assert.equal((await server.get('/server')).text, '/server 128M');
  });

  it('serves an application at the root of its folder without its settings', async () => {
    const php = await start('php', '/app', {
      'index.php': '<?php echo "root";',
      'config/php.ini': 'memory_limit = 64M',
      'vendor/evil.php': '<?php echo "evil";',
      'composer.json': '{}',
      'assets/a.txt': 'a',
    });
    assert.equal((await php.get('/anything')).text, 'root');
    assert.equal((await php.get('/assets/a.txt')).text, 'a');
    for (const path of ['/config/php.ini', '/vendor/evil.php', '/composer.json'])
      assert.equal((await php.get(path)).status, 404, path);
  });
});
