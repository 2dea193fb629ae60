import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { openUpload } from '../../../src/artifact/archive/upload.ts';
import { planDeploy } from '../../../src/artifact/plan-deploy.ts';
import type { ServicePlan } from '../../../src/domain/plan.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { contentsOf } from '../../unit/artifact/archive/open.ts';
import { JAVA_BASES } from '../../unit/artifact/detectors/java-bases.ts';

/** What the JDK's own javac and jar make, as an upload. Debian's default-jdk-headless has them. */
describe('real wars and jars', () => {
  for (const [api, release, base] of [
    ['javax', 8, 'tomcat9'],
    ['jakarta', 17, 'tomcat10'],
  ] as const) {
    test(`a war for ${api}.servlet, Java ${release}`, async () => {
      const folder = tempFolder();
      write(
        folder,
        `api/${api}/servlet/http/HttpServlet.java`,
        `package ${api}.servlet.http; public class HttpServlet { }`,
      );
      write(
        folder,
        'src/shop/Shop.java',
        `package shop; public class Shop extends ${api}.servlet.http.HttpServlet { }`,
      );
      write(folder, 'app/index.jsp', 'hello');
      javac(folder, release, 'api-classes', `api/${api}/servlet/http/HttpServlet.java`);
      javac(folder, release, 'app/WEB-INF/classes', '-cp', 'api-classes', 'src/shop/Shop.java');
      run(folder, 'jar', '--create', '--file', 'shop.war', '-C', 'app', '.');
      await planned(folder, 'shop.war', async (service) => {
        assert.equal(service.found, `web application app.war (${api}.servlet, Java ${release})`);
        assert.equal(service.image.kind === 'layers' && service.image.base, base);
        const contents = await contentsOf(service.tree);
        assert.equal(contents['index.jsp'], '100644 hello');
        assert.match(contents['WEB-INF/classes/shop/Shop.class']!, new RegExp(`${api}/servlet/http/HttpServlet`));
      });
    });
  }

  test('a runnable jar, whose laid out files java starts', async () => {
    const folder = tempFolder();
    const main = 'company.department.project.application.service.launcher.started.by.java.Main';
    write(
      folder,
      'src/Main.java',
      `package ${main.slice(0, -5)}; public class Main { public static void main(String[] a) { System.out.println("up"); } }`,
    );
    javac(folder, 11, 'classes', 'src/Main.java');
    run(folder, 'jar', '--create', '--file', 'shop.jar', '--main-class', main, '-C', 'classes', '.');
    await planned(folder, 'shop.jar', async (service) => {
      assert.equal(service.found, 'runnable jar app.jar (Java 11)');
      const { image } = service;
      assert.ok(image.kind === 'layers');
      assert.equal(image.base, 'jre17');
      for (const { from, to } of image.files) {
        const chunks: Buffer[] = [];
        for await (const chunk of service.tree.stream(service.tree.find(from)!)) chunks.push(chunk);
        write(folder, `image${to}`, Buffer.concat(chunks));
      }
      const command = image.command!.map((word) => word.replace(/^\/app/, `${folder}/image/app`));
      assert.equal(run(folder, command[0]!, ...command.slice(1)), 'up\n');
    });
  });

  test('a jar without a main class', async () => {
    const folder = tempFolder();
    write(folder, 'src/Main.java', 'public class Main { }');
    javac(folder, 17, 'classes', 'src/Main.java');
    run(folder, 'jar', '--create', '--file', 'shop.jar', '-C', 'classes', '.');
    await assert.rejects(
      planned(folder, 'shop.jar', async () => {}),
      /app\.jar has no Main-Class/,
    );
  });
});

function write(folder: string, path: string, content: string | Buffer): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), content);
}

function javac(folder: string, release: number, into: string, ...args: string[]): void {
  run(folder, 'javac', '-Xlint:-options', '--release', String(release), '-d', into, ...args);
}

function run(folder: string, program: string, ...args: string[]): string {
  return execFileSync(program, args, { cwd: folder, encoding: 'utf8' });
}

async function planned(folder: string, file: string, use: (service: ServicePlan) => Promise<void>): Promise<void> {
  await using scope = new AsyncDisposableStack();
  const tree = scope.use(await openUpload(join(folder, file), file));
  const { services } = await planDeploy(tree, { app: 'shop', hostArch: 'amd64', bases: JAVA_BASES, scope });
  await use(services[0]!);
}
