import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BaseFacts } from '../../../../src/domain/plan.ts';
import { executable, link } from '../memory-tree.ts';
import { BASES, type Files, plan, planned, refusal } from './planned.ts';

const FOUND: [string, Files, string][] = [
  [
    'pages at the top, with links that lead elsewhere',
    { 'index.php': '<?php', 'wp-content/fonts': link('../../../../etc/fonts'), 'wp-includes/js/x': link('/etc/x') },
    "PHP app (index.php) on php\nstarts the base's in /app\nDOCUMENT_ROOT=/app",
  ],
  [
    'public/ beside vendor/',
    {
      'composer.json': '{"require":{"php":">=8.1","ext-json":"*","twig/twig":"^3"}}',
      'vendor/autoload.php': '<?php',
      'vendor/twig/twig/x.php': '<?php',
      'public/index.php': '<?php',
      'index.php': '<?php',
    },
    "PHP app (public/index.php) on php\nstarts the base's in /app\nbelow: /app/vendor\nDOCUMENT_ROOT=/app/public",
  ],
  [
    'htdocs/ with settings of its web server',
    { 'htdocs/index.html': 'x', 'config/nginx.conf': 'x' },
    "PHP app (htdocs/) on php\nstarts the base's in /app\nDOCUMENT_ROOT=/app/htdocs",
  ],
  [
    'Composer alone',
    { 'composer.json': '{}', 'vendor/autoload.php': '', 'web/index.php': '' },
    "PHP app (web/index.php) on php\nstarts the base's in /app\nbelow: /app/vendor\nDOCUMENT_ROOT=/app/web",
  ],
  [
    'a document root that dinp.yml names',
    { 'dinp.yml': 'root: site/www', 'site/www/start.php': '<?php', 'site/lib.php': '' },
    "PHP app (site/www/start.php) on php\nstarts the base's in /app\nDOCUMENT_ROOT=/app/site/www",
  ],
  [
    'packages that come from elsewhere, by its type',
    { 'composer.json': '{"require":{"a/b":"1"}}', 'index.php': '', 'dinp.yml': 'type: php' },
    "PHP app (index.php) on php\nstarts the base's in /app\nDOCUMENT_ROOT=/app",
  ],
  [
    'a control starts it',
    { 'index.php': '<?php', control: executable('#!/bin/sh') },
    'PHP app (index.php) on php\nstarts ./control start in /app\nDOCUMENT_ROOT=/app',
  ],
  [
    'secrets where visitors come',
    { 'index.php': '<?php', '.env': 'A=1' },
    "PHP app (index.php) on php\nstarts the base's in /app\nDOCUMENT_ROOT=/app\n.env lies in the folder that visitors see; move the pages to public/ and leave it above them.",
  ],
  [
    'packages that are put elsewhere, and meta packages',
    {
      'composer.json': '{"require":{"wpackagist/akismet":"*","a/meta":"1"}}',
      'vendor/autoload.php': '',
      'vendor/composer/installed.json': '{"packages":[{"name":"wpackagist/akismet"},{"name":"a/meta"}]}',
      'index.php': '',
    },
    "PHP app (index.php) on php\nstarts the base's in /app\nbelow: /app/vendor\nDOCUMENT_ROOT=/app",
  ],
  [
    'a composer.json that is none',
    { 'composer.json': '{', 'index.php': '' },
    "PHP app (index.php) on php\nstarts the base's in /app\nDOCUMENT_ROOT=/app\ncomposer.json is no JSON object, so that what it requires was not checked.",
  ],
  [
    'a newer PHP than the base has',
    { 'composer.json': '{"require":{"php":"^8.4"}}', 'index.php': '' },
    'PHP app (index.php) on php\nstarts the base\'s in /app\nDOCUMENT_ROOT=/app\ncomposer.json asks for php ^8.4, and the base "php" has 8.2.29.',
  ],
];
for (const [name, files, expected] of FOUND) test(name, async () => assert.equal(await planned(files), expected));

const INSTALL = (folder: string) =>
  `Install the packages and commit them:\n  composer install --no-dev --optimize-autoloader && git add -f ${folder} && git commit -m "Add ${folder}"`;
const REFUSED: [string, Files, string][] = [
  [
    'packages without vendor/',
    { 'composer.json': '{"require":{"twig/twig":"^3","php":"*"}}', 'index.php': '', '.gitignore': '/vendor/\n' },
    `composer.json requires twig/twig, but vendor/ is missing.\n.gitignore keeps vendor/ out of commits; "git add -f" takes it all the same.\n${INSTALL('vendor')}`,
  ],
  [
    'a package that vendor/ lacks',
    {
      'composer.json': '{"require":{"twig/twig":"^3","a/b":"1"}}',
      'public/index.php': '',
      'vendor/autoload.php': '',
      'vendor/a/b/x': '',
    },
    `composer.json requires twig/twig, which vendor/ does not have.\n${INSTALL('vendor')}`,
  ],
  [
    'a vendor/ without its autoloader, elsewhere',
    {
      'composer.json': '{"require":{"a/b":"1"},"config":{"vendor-dir":"lib/php"}}',
      'index.php': '',
      'lib/php/a/b/x': '',
    },
    `lib/php/autoload.php is missing: lib/php/ is not as Composer left it.\n${INSTALL('lib/php')}`,
  ],
];
for (const [name, files, expected] of REFUSED) test(name, async () => assert.equal(await refusal(files), expected));

test('links stay links, and what git needs stays out', async () => {
  const { image } = await plan({ 'index.php': '', etc: link('/etc/wordpress'), '.gitignore': '', 'dinp.yml': '' });
  assert.deepEqual(image.kind === 'layers' && image.files, [
    { to: '/app/etc', from: 'etc', mode: '120000' },
    { to: '/app/index.php', from: 'index.php', mode: '100644' },
  ]);
});

test('of several bases the one whose version fits', async () => {
  const bases = new Map<string, BaseFacts>([
    ...BASES,
    ['php84', { shell: true, for: ['php'], version: '8.4', usable: true }],
  ]);
  const files = { 'composer.json': '{"require":{"php":"^8.4"}}', 'index.php': '' };
  assert.match(await planned(files, bases), /^PHP app \(index\.php\) on php84\n/);
  assert.match(await planned({ ...files, 'dinp.yml': 'base: php' }, bases), /^PHP app \(index\.php\) on php\n/);
});
