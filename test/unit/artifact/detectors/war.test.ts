import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ServicePlan } from '../../../../src/domain/plan.ts';
import { contentsOf } from '../archive/open.ts';
import { JAKARTA, JAVAX, makeClass } from '../java/make-class.ts';
import { executable, type FileSpec } from '../memory-tree.ts';
import { JAVA_BASES, planJava, zipOf } from './java-bases.ts';

const ROOT = '/usr/local/tomcat/webapps/ROOT';
const javaxJar = zipOf({ 'org/spring/web/Dispatcher.class': makeClass(8, JAVAX) });
const jakartaJar = zipOf({
  'org/spring/web/Dispatcher.class': makeClass(17, JAKARTA),
  'META-INF/versions/21/org/spring/web/Dispatcher.class': makeClass(21, JAKARTA),
});
const plainJar = zipOf({ 'a/B.class': makeClass(8) });
const bothJar = zipOf({ 'a/Web.class': makeClass(8, JAVAX), 'b/Web.class': makeClass(8, JAKARTA) });

function layers({ image }: ServicePlan) {
  assert.ok(image.kind === 'layers');
  return image;
}

describe('which Tomcat a war is laid over', () => {
  const cases: [string, Record<string, string | Buffer>, string, string][] = [
    [
      'its own classes say javax',
      { 'WEB-INF/classes/Shop.class': makeClass(8, JAVAX), 'WEB-INF/lib/spring-web.jar': jakartaJar },
      'tomcat9',
      'web application shop.war (javax.servlet, Java 8)',
    ],
    [
      'its own classes say jakarta',
      {
        'WEB-INF/classes/Shop.class': makeClass(17, JAKARTA),
        'WEB-INF/web.xml': '<a xmlns="http://xmlns.jcp.org/xml/ns/javaee"/>',
      },
      'tomcat10',
      'web application shop.war (jakarta.servlet, Java 17)',
    ],
    [
      'a library of a framework says it',
      {
        'WEB-INF/classes/Shop.class': makeClass(11),
        'WEB-INF/lib/a.jar': plainJar,
        'WEB-INF/lib/spring-web.jar': jakartaJar,
      },
      'tomcat10',
      'web application shop.war (jakarta.servlet, Java 17)',
    ],
    [
      'a library that knows both says nothing',
      { 'WEB-INF/lib/logback-web.jar': bothJar, 'WEB-INF/lib/spring-web.jar': javaxJar },
      'tomcat9',
      'web application shop.war (javax.servlet, Java 8)',
    ],
    [
      'a page says it',
      { 'WEB-INF/lib/a.jar': plainJar, 'index.jsp': '<%@ page import="javax.servlet.http.Cookie" %>' },
      'tomcat9',
      'web application shop.war (javax.servlet, Java 8)',
    ],
    [
      'only web.xml is left to ask',
      { 'WEB-INF/web.xml': '<web-app xmlns="http://xmlns.jcp.org/xml/ns/javaee"/>', 'index.jsp': 'hello' },
      'tomcat9',
      'web application shop.war (javax.servlet)',
    ],
    [
      'a new web.xml decides between libraries',
      {
        'WEB-INF/web.xml': '<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee"/>',
        'WEB-INF/lib/old-web.jar': javaxJar,
        'WEB-INF/lib/spring-web.jar': jakartaJar,
      },
      'tomcat10',
      'web application shop.war (jakarta.servlet, Java 17)',
    ],
    [
      'a damaged library says nothing',
      { 'WEB-INF/lib/web.jar': 'PK', 'WEB-INF/classes/A.class': makeClass(8, JAVAX) },
      'tomcat9',
      'web application shop.war (javax.servlet, Java 8)',
    ],
  ];
  for (const [name, files, base, found] of cases) {
    test(name, async () => {
      await using plan = asDisposable(await planJava({ 'shop.war': zipOf(files) }));
      assert.equal(layers(plan.service).base, base);
      assert.equal(plan.service.found, found);
      assert.deepEqual(plan.notes, []);
    });
  }

  test('where nothing says it, the newest, and the pusher is told', async () => {
    await using plan = asDisposable(await planJava({ 'shop.war': zipOf({ 'WEB-INF/x': '', 'index.html': 'hi' }) }));
    assert.equal(layers(plan.service).base, 'tomcat10');
    assert.match(plan.notes.join(), /Nothing in shop\.war tells which Servlet API/);
  });

  test('what dinp.yml says, whatever else', async () => {
    const both = zipOf({
      'WEB-INF/classes/A.class': makeClass(8, JAVAX),
      'WEB-INF/classes/B.class': makeClass(8, JAKARTA),
    });
    await using plan = asDisposable(await planJava({ 'shop.war': both, 'dinp.yml': 'base: tomcat9' }));
    assert.equal(layers(plan.service).base, 'tomcat9');
    const jakarta = zipOf({ 'WEB-INF/classes/B.class': makeClass(8, JAKARTA) });
    await using other = asDisposable(await planJava({ 'shop.war': jakarta, 'dinp.yml': 'base: tomcat9' }));
    assert.deepEqual(other.notes, [
      'shop.war is for jakarta.servlet, and the base "tomcat9" that dinp.yml asks for has javax.servlet.',
    ]);
  });
});

test('A war is laid unpacked into the root of Tomcat, its libraries as dependencies, read from the archive', async () => {
  const content = { 'WEB-INF/lib/spring-web.jar': javaxJar, 'WEB-INF/web.xml': '<web-app/>', 'index.jsp': 'hello' };
  await using plan = asDisposable(await planJava({ 'target/shop-1.0.war': zipOf(content), 'pom.xml': '<project/>' }));
  const image = layers(plan.service);
  assert.deepEqual(
    image.files.map(({ from, to }) => `${from} > ${to}`),
    ['WEB-INF/lib/spring-web.jar', 'WEB-INF/web.xml', 'index.jsp'].map((path) => `${path} > ${ROOT}/${path}`),
  );
  assert.deepEqual(image.dependencies, [`${ROOT}/WEB-INF/lib`]);
  assert.equal(image.command, undefined);
  assert.equal((await contentsOf(plan.service.tree))['index.jsp'], '100644 hello');
  assert.deepEqual(plan.service.watch, [plan.service.tree.oid]);
});

test('An unpacked web application is laid the same, without what is not to be published', async () => {
  const files: Record<string, FileSpec> = {
    'WEB-INF/classes/Shop.class': makeClass(17, JAKARTA),
    'WEB-INF/classes/.hidden': 'x',
    'index.jsp': 'hello',
    '.env': 'SECRET=1',
    '.gitignore': 'x',
    'dinp.yml': 'memory: 512M',
    '.well-known/x': 'x',
  };
  await using plan = asDisposable(await planJava(files));
  assert.equal(plan.service.found, 'web application WEB-INF/ (jakarta.servlet, Java 17)');
  assert.deepEqual(
    layers(plan.service).files.map(({ to }) => to.slice(ROOT.length + 1)),
    ['.well-known/x', 'WEB-INF/classes/.hidden', 'WEB-INF/classes/Shop.class', 'index.jsp'],
  );
  await using named = asDisposable(
    await planJava({ 'out/shop/WEB-INF/classes/Shop.class': makeClass(17, JAKARTA), 'dinp.yml': 'artifact: out/shop' }),
  );
  assert.deepEqual(
    layers(named.service).files.map(({ from, to }) => `${from} > ${to}`),
    [`out/shop/WEB-INF/classes/Shop.class > ${ROOT}/WEB-INF/classes/Shop.class`],
  );
});

test('A control beside a war starts it, and is not published', async () => {
  const war = zipOf({ 'WEB-INF/classes/Shop.class': makeClass(17, JAKARTA), 'index.jsp': 'hello' });
  const files = {
    control: executable('#!/bin/sh'),
    'conf/x': 'x',
    'web/shop.war': war,
    'dinp.yml': 'artifact: web/shop.war',
  };
  await using plan = asDisposable(await planJava(files));
  const image = layers(plan.service);
  assert.deepEqual(image.command, ['./control', 'start']);
  assert.equal(image.workdir, '/app');
  const contents = await contentsOf(plan.service.tree);
  assert.deepEqual(
    image.files
      .map(({ from, to }) => `${to} ${contents[from]?.slice(0, 12)}`)
      .filter((line) => !line.includes('.class')),
    [`${ROOT}/index.jsp 100644 hello`, '/app/conf/x 100644 x', '/app/control 100755 #!/bi'],
  );
});

describe('wars that are refused', () => {
  const war = (...classes: Buffer[]) =>
    zipOf(Object.fromEntries(classes.map((content, i) => [`WEB-INF/classes/C${i}.class`, content])));
  const cases: [string, Record<string, FileSpec>, RegExp, RegExp][] = [
    [
      'both APIs',
      { 'a.war': war(makeClass(8, JAVAX), makeClass(8, JAKARTA)) },
      /a\.war uses both javax\.servlet \(WEB-INF\/classes\/C0\.class\) and jakarta/,
      /base: tomcat9/,
    ],
    [
      'a newer Java than any usable base has',
      { 'a.war': war(makeClass(21, JAKARTA)) },
      /a\.war needs a Tomcat for jakarta\.servlet and Java 21; this server's bases are tomcat10 with Java 17\./,
      /dinp bases sync tomcat10-java21,\nor compile it for an older Java: javac --release 17/,
    ],
    [
      'a newer Java than the base that was asked for',
      { 'a.war': war(makeClass(21, JAVAX)), 'dinp.yml': 'base: tomcat9' },
      /needs Java 21, and the base "tomcat9" .* has Java 17/,
      /--release 17/,
    ],
    [
      'no WEB-INF',
      { 'a.war': zipOf({ 'shop/WEB-INF/web.xml': '' }) },
      /a\.war has no WEB-INF\/ at its top/,
      /-C FOLDER \./,
    ],
    [
      'several',
      { 'a.war': war(), 'b.war': war() },
      /^Several archives were found: a\.war, b\.war\.$/,
      /artifact: a\.war/,
    ],
    [
      'a git-lfs pointer',
      { 'a.war': 'version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 12345\n' },
      /git-lfs pointer/,
      /git lfs untrack/,
    ],
    [
      'no zip',
      { 'a.war': 'hello, I am a text and long enough to be looked at' },
      /a\.war is damaged or cut off/,
      /unzip -t/,
    ],
    [
      'an entry that leads out',
      { 'a.war': zipOf({ 'WEB-INF/x': '', '../evil': '' }) },
      /"\.\.\/evil".*leads out/,
      /Pack it again/,
    ],
  ];
  for (const [name, files, message, hint] of cases) {
    test(name, () => assert.rejects(planJava(files), { code: 'refused', message, hint }));
  }

  test('without any Tomcat', () =>
    assert.rejects(planJava({ 'a.war': war(makeClass(8, JAVAX)) }, new Map()), {
      message: "a.war needs a Tomcat for javax.servlet and Java 8; this server's bases have none that can be used.",
    }));
});

test('Of several wars the one called like the app is taken, and the base of the smallest fitting Java', async () => {
  const bases = new Map([...JAVA_BASES, ['tomcat9-java8', { ...JAVA_BASES.get('tomcat9')!, version: '8' }]]);
  const war = zipOf({ 'WEB-INF/classes/Shop.class': makeClass(8, JAVAX) });
  await using plan = asDisposable(await planJava({ 'shop-2.war': war, 'other.war': war }, bases));
  assert.equal(plan.service.found, 'web application shop-2.war (javax.servlet, Java 8)');
  assert.equal(layers(plan.service).base, 'tomcat9-java8');
});

function asDisposable<T extends { scope: AsyncDisposableStack }>(plan: T): T & AsyncDisposable {
  return Object.assign(plan, { [Symbol.asyncDispose]: () => plan.scope.disposeAsync() });
}
