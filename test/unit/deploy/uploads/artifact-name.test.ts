import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readArtifactName } from '../../../../src/deploy/uploads/artifact-name.ts';

test('files, addresses and images are told apart by their text', () => {
  const kinds: Record<string, string[]> = {
    input: ['-', ''],
    file: [
      'app.war',
      './app',
      '../x/app',
      '/srv/a:b',
      '~/app.jar',
      'target/shop.war',
      'build.d/shop.war',
      'server',
      'dist/server',
      'C:\\app.war',
      'My App.zip',
      'release.d/a b',
    ],
    url: ['http://example.org/a.war', 'HTTPS://example.org/', 'https://me:secret@example.org/a.war?x=1'],
    image: [
      'nginx:1.27',
      'library/nginx:latest',
      'localhost/shop',
      'localhost:5000/shop',
      '127.0.0.1:5000/team/shop',
      'registry.example.com/shop:7',
      `shop@sha256:${'a'.repeat(64)}`,
      `registry.example.com/shop@sha256:${'a'.repeat(64)}`,
      'registry.example.com:443/shop.war',
    ],
  };
  for (const [kind, texts] of Object.entries(kinds))
    for (const text of texts) assert.equal(readArtifactName(text, false).kind, kind, text);
  assert.equal(readArtifactName(undefined, false).kind, 'input');
});

test('what could be either is asked back, and both answers work', () => {
  assert.throws(() => readArtifactName('registry.example.com/shop', false), {
    code: 'usage',
    message: '"registry.example.com/shop" may be a file or an image.',
    hint: 'For the file:   dinp deploy APP ./registry.example.com/shop\nFor the image:  dinp deploy APP --image registry.example.com/shop',
  });
  assert.equal(readArtifactName('./registry.example.com/shop', false).kind, 'file');
  assert.equal(readArtifactName('registry.example.com/shop', true).kind, 'image');
  assert.equal(readArtifactName('nginx', true).kind, 'image');
});

test('what is neither is refused', () => {
  for (const text of ['ftp://example.org/a.war', 'file:///etc/passwd', 'javascript://x'])
    assert.throws(() => readArtifactName(text, false), { code: 'usage', message: /http and https only/ }, text);
  for (const text of ['Not An Image', 'a@b', 'UPPER:1'])
    assert.throws(() => readArtifactName(text, true), { code: 'usage' }, text);
  assert.throws(() => readArtifactName(undefined, true), { code: 'usage' });
});
