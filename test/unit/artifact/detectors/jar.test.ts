import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { makeClass } from '../java/make-class.ts';
import { executable, type FileSpec } from '../memory-tree.ts';
import { JAVA_BASES, planJava, zipOf } from './java-bases.ts';

/** A jar with a manifest of these attributes. */
function jar(attributes: Record<string, string>, files: Record<string, string | Buffer> = {}): Buffer {
  const lines = Object.entries(attributes).map(([name, value]) => `${name}: ${value}\r\n`);
  return zipOf({ 'META-INF/MANIFEST.MF': `Manifest-Version: 1.0\r\n${lines.join('')}\r\n`, ...files });
}

const runnable = (java: number, more: Record<string, string> = {}) =>
  jar({ 'Main-Class': 'com.shop.Main', ...more }, { 'com/shop/Main.class': makeClass(java) });

const boot = jar(
  { 'Main-Class': 'org.springframework.boot.loader.JarLauncher', 'Start-Class': 'com.shop.App' },
  {
    'org/springframework/boot/loader/JarLauncher.class': makeClass(8),
    'BOOT-INF/classes/com/shop/App.class': makeClass(21),
    'META-INF/versions/25/com/shop/App.class': makeClass(25),
  },
);

/** A plan in lines: what, on which base, how it starts, the files, and what is said. */
async function planned(files: Record<string, FileSpec>, bases = JAVA_BASES): Promise<string[]> {
  const { service, notes, scope } = await planJava(files, bases);
  await scope.disposeAsync();
  const { image } = service;
  assert.ok(image.kind === 'layers');
  return [
    `${service.found} on ${image.base}`,
    `${image.command?.join(' ')} in ${image.workdir} at ${image.port} ${image.env.SERVER_PORT}`,
    image.files.map(({ from, to }) => `${from}>${to}`).join(' '),
    ...image.dependencies.map((folder) => `below: ${folder}`),
    ...notes,
  ];
}

const START = 'java -jar /app/app.jar in /app at 8080 8080';

describe('jars that are found', () => {
  const cases: [string, Record<string, FileSpec>, string[]][] = [
    [
      'the smallest Java that is usable',
      { 'target/shop-1.jar': runnable(8) },
      ['runnable jar target/shop-1.jar (Java 8) on jre17', START, 'target/shop-1.jar>/app/app.jar'],
    ],
    [
      'a newer one',
      { 'shop.jar': runnable(18) },
      ['runnable jar shop.jar (Java 18) on jre21', START, 'shop.jar>/app/app.jar'],
    ],
    [
      'Spring Boot: the class that is started counts, not its loader',
      { 'build/libs/shop.jar': boot, 'build/libs/shop-plain.jar': jar({}) },
      ['Spring Boot jar build/libs/shop.jar (Java 21) on jre21', START, 'build/libs/shop.jar>/app/app.jar'],
    ],
    [
      'the port of dinp.yml reaches Spring Boot',
      { 'shop.jar': runnable(17), 'dinp.yml': 'port: 9000' },
      [
        'runnable jar shop.jar (Java 17) on jre17',
        'java -jar /app/app.jar in /app at 9000 9000',
        'shop.jar>/app/app.jar',
      ],
    ],
    [
      'the base of dinp.yml',
      { 'shop.jar': runnable(8), 'dinp.yml': 'base: jre21' },
      ['runnable jar shop.jar (Java 8) on jre21', START, 'shop.jar>/app/app.jar'],
    ],
    [
      'the one with a Main-Class among libraries, without what lies beside it',
      {
        'shop-sources.jar': jar({}),
        'driver.jar': jar({}),
        'server.jar': runnable(17),
        'original-server.jar': runnable(17),
      },
      ['runnable jar server.jar (Java 17) on jre17', START, 'server.jar>/app/app.jar'],
    ],
    [
      'the one called like the app',
      { 'shop-2.jar': runnable(17), 'tool.jar': runnable(17) },
      ['runnable jar shop-2.jar (Java 17) on jre17', START, 'shop-2.jar>/app/app.jar'],
    ],
    [
      'the files that its Class-Path names',
      {
        'target/shop.jar': runnable(17, { 'Class-Path': 'lib/a.jar ./lib/b%20c.jar conf/ lib/gone.jar ../x.jar' }),
        'target/lib/a.jar': 'a',
        'target/lib/b c.jar': 'b',
        'target/lib/unnamed.jar': 'u',
        'target/conf/app.properties': 'x',
      },
      [
        'runnable jar target/shop.jar (Java 17) on jre17',
        START,
        'target/shop.jar>/app/app.jar target/lib/a.jar>/app/lib/a.jar target/lib/b c.jar>/app/lib/b c.jar target/conf/app.properties>/app/conf/app.properties',
        'below: /app/lib',
        'below: /app/conf',
        'target/shop.jar names lib/gone.jar, ../x.jar in its Class-Path, which are not beside it.',
      ],
    ],
    [
      'a Procfile knows it by its own name',
      { 'target/shop.jar': runnable(17), Procfile: 'web: java -jar target/shop.jar' },
      [
        'runnable jar target/shop.jar (Java 17) on jre17',
        START,
        'target/shop.jar>/app/app.jar target/shop.jar>/app/target/shop.jar',
      ],
    ],
    [
      'a control starts it',
      { 'shop.jar': runnable(17), control: executable('#!/bin/sh'), 'dinp.yml': 'memory: 1G' },
      [
        'runnable jar shop.jar (Java 17) on jre17',
        './control start in /app at 8080 8080',
        'control>/app/control shop.jar>/app/shop.jar',
      ],
    ],
    [
      "Quarkus's runner with its folders",
      {
        'app/quarkus-run.jar': jar({ 'Main-Class': 'io.quarkus.Main', 'Class-Path': 'lib/boot.jar' }),
        'app/lib/boot.jar': 'x',
        'app/quarkus/quarkus-application.dat': 'x',
        'app/app/shop.jar': 'x',
        'dinp.yml': 'artifact: app/quarkus-run.jar',
      },
      [
        'runnable jar app/quarkus-run.jar on jre21',
        START,
        'app/quarkus-run.jar>/app/app.jar app/app/shop.jar>/app/app/shop.jar app/lib/boot.jar>/app/lib/boot.jar app/quarkus/quarkus-application.dat>/app/quarkus/quarkus-application.dat',
        'below: /app/lib',
      ],
    ],
    [
      'a runnable war as a jar, where dinp.yml wants it',
      {
        'shop.war': jar(
          { 'Main-Class': 'a.Loader', 'Start-Class': 'b.App' },
          { 'a/Loader.class': makeClass(8), 'WEB-INF/classes/b/App.class': makeClass(17) },
        ),
        'dinp.yml': 'type: jar',
      },
      ['Spring Boot jar shop.war (Java 17) on jre17', START, 'shop.war>/app/app.jar'],
    ],
  ];
  for (const [name, files, expected] of cases) test(name, async () => assert.deepEqual(await planned(files), expected));

  test('a runnable war goes to Tomcat otherwise', async () => {
    const war = jar(
      { 'Main-Class': 'a.Loader' },
      { 'a/Loader.class': makeClass(8), 'WEB-INF/classes/b/App.class': makeClass(17, 'jakarta/servlet/Filter') },
    );
    const { service, scope } = await planJava({ 'shop.war': war });
    await scope.disposeAsync();
    assert.equal(service.found, 'web application shop.war (jakarta.servlet, Java 17)');
  });

  test('a driver beside an app of another kind is no app', async () => {
    const lines = await planned(
      { 'driver.jar': jar({}), 'index.html': 'hi' },
      new Map([['static-site', { for: ['static'], shell: false, usable: true }]]),
    );
    assert.match(lines[0]!, /^static site/);
  });
});

describe('jars that are refused', () => {
  const cases: [string, Record<string, FileSpec>, RegExp, RegExp][] = [
    [
      'no Main-Class',
      { 'shop.jar': jar({ 'Created-By': 'x' }) },
      /^shop\.jar has no Main-Class in its META-INF/,
      /spring-boot-maven-plugin/,
    ],
    [
      'no Main-Class, by name',
      { 'x.jar': jar({}), 'dinp.yml': 'artifact: x.jar' },
      /^x\.jar has no Main-Class/,
      /--main-class/,
    ],
    [
      'no manifest at all',
      { 'target/x.jar': zipOf({ 'A.class': 'x' }) },
      /^target\/x\.jar has no Main-Class/,
      /shadowJar/,
    ],
    [
      'a main class that is not there',
      { 'shop.jar': jar({ 'Main-Class': 'com.shop.Main' }) },
      /names the main class com\.shop\.Main, which is not in it/,
      /unzip -l/,
    ],
    [
      'a Java that is newer than all',
      { 'shop.jar': runnable(24) },
      /shop\.jar needs Java 24; this server's bases are jre21 with Java 21, jre17 with Java 17/,
      /dinp bases sync jre25,\nor compile it for an older Java: javac --release 21/,
    ],
    [
      'several',
      { 'a.jar': runnable(17), 'b.jar': runnable(17) },
      /^Several archives were found: a\.jar, b\.jar\./,
      /artifact: a\.jar/,
    ],
    [
      'a git-lfs pointer',
      { 'shop.jar': 'version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 12345\n' },
      /git-lfs pointer/,
      /git lfs untrack/,
    ],
    ['a cut off one', { 'shop.jar': runnable(17).subarray(0, 120) }, /shop\.jar is damaged or cut off/, /unzip -t/],
  ];
  for (const [name, files, message, hint] of cases) {
    test(name, () => assert.rejects(planJava(files), { code: 'refused', message, hint }));
  }
});
