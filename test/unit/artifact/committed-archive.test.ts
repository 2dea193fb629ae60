import assert from 'node:assert/strict';
import { buffer } from 'node:stream/consumers';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';
import { rawZip } from '../../support/raw-zip.ts';
import { type Files, planned, refusal } from './detectors/planned.ts';

const CONTROL = { name: 'shop/control', content: '#!/bin/sh\n', mode: 0o100755 };
const ARCHIVE = rawZip([CONTROL, { name: 'shop/lib/x', content: '1' }]);
const WAR = rawZip([{ name: 'WEB-INF/web.xml', content: '<web-app/>' }]);
const PLAIN = 'executable control on plain\nstarts ./control start in /opt/app';

async function tarOf({ content, ...header }: typeof CONTROL): Promise<Buffer> {
  const packer = pack();
  packer.entry(header, content);
  packer.finalize();
  return await buffer(packer as unknown as AsyncIterable<Buffer>);
}

describe('an archive in a commit', async () => {
  const cases: [string, Files, string][] = [
    ['that is all there is', { 'shop.zip': ARCHIVE, 'README.md': 'x', '.gitignore': 'x' }, PLAIN],
    ['as tar.gz in dist', { 'dist/shop.tar.gz': gzipSync(await tarOf(CONTROL)) }, PLAIN],
    [
      'that dinp.yml names, beside other files',
      { 'out/shop.zip': ARCHIVE, 'index.html': 'x', 'dinp.yml': 'artifact: out/shop.zip' },
      PLAIN,
    ],
    [
      'with a dinp.yml of its own',
      {
        'shop.zip': rawZip([
          { name: 'dinp.yml', content: 'dir: web' },
          { name: 'web/index.html', content: 'x' },
        ]),
      },
      "static site in the top folder (1 file) on static-site\nstarts the base's in undefined",
    ],
    [
      'beside a site: it is for its visitors',
      { 'index.html': 'x', 'shop.zip': ARCHIVE },
      "static site in the top folder (2 files) on static-site\nstarts the base's in undefined",
    ],
  ];
  for (const [name, files, expected] of cases) test(name, async () => assert.equal(await planned(files), expected));

  test('is held to the rules for archives', async () => {
    assert.match(
      await refusal({ 'shop.zip': rawZip([{ name: '../x', content: 'x' }]) }),
      /^shop.zip has the entry "..\/x", which leads out/,
    );
  });

  test('is not unpacked where it is a war by another name', async () => {
    for (const more of [{}, { 'dinp.yml': 'artifact: shop.zip' }] as Files[])
      assert.match(await refusal({ 'shop.zip': WAR, ...more }), /^shop.zip needs Tomcat and Java/);
  });
});
