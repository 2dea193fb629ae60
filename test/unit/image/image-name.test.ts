import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { branchTag, formatImageName, isLoopback, parseImageName } from '../../../src/image/image-name.ts';

const digest = `sha256:${'a'.repeat(64)}`;

describe('image references', () => {
  it('are read as docker reads them', () => {
    const cases: [string, string][] = [
      ['alpine', 'docker.io/library/alpine:latest'],
      ['alpine:3', 'docker.io/library/alpine:3'],
      ['grafana/grafana', 'docker.io/grafana/grafana:latest'],
      ['localhost/x', 'localhost/x:latest'],
      ['127.0.0.1:5000/base/static:1', '127.0.0.1:5000/base/static:1'],
      [`r.example/x@${digest}`, `r.example/x@${digest}`],
      [`r.example:443/x:1@${digest}`, `r.example:443/x@${digest}`],
    ];
    for (const [text, full] of cases) assert.equal(formatImageName(parseImageName(text)), full);
    assert.equal(formatImageName(parseImageName('base/static:1', '127.0.0.1:5000')), '127.0.0.1:5000/base/static:1');
  });

  it('are refused where they are none', () => {
    for (const text of [
      '',
      'UPPER',
      'a b',
      'x:',
      'x@sha256:1',
      'a//b',
      '../x',
      `x@${digest}@${digest}`,
      '-x',
      'x:tag/y',
    ]) {
      assert.throws(() => parseImageName(text), { name: 'DinpError', code: 'usage' }, text);
    }
  });

  it('know which hosts are this machine', () => {
    for (const host of ['localhost', 'localhost:5000', '127.0.0.1', '127.9.9.9:1', '[::1]:5000', '::1'])
      assert.equal(isLoopback(host), true, host);
    for (const host of ['127.0.0.1.evil.example', 'localhost.evil.example', '10.0.0.1:5000', '[::2]:1'])
      assert.equal(isLoopback(host), false, host);
  });
});

describe('a branch as a tag', () => {
  it('is a tag that no other of ours can be', () => {
    assert.equal(branchTag('main'), 'main');
    assert.equal(branchTag('Feature/Über & more'), 'feature-ber-more');
    for (const name of ['b12', `key-${'a'.repeat(64)}`, 'a'.repeat(40), `${'a'.repeat(40)}-12345678`])
      assert.equal(branchTag(name), `branch-${name}`);
    for (const name of ['---', '日本', '.', 'x'.repeat(300)])
      assert.match(branchTag(name), /^[a-z0-9_][a-z0-9._-]{0,127}$/, name);
  });
});
