import assert from 'node:assert/strict';
import { test } from 'node:test';
import { coversHost, parseHostName } from '../../../src/domain/host-names.ts';

test('host names are taken as DNS has them', () => {
  for (const [text, name] of [
    ['www.example.org', 'www.example.org'],
    [' WWW.Example.ORG. ', 'www.example.org'],
    ['*.example.org', '*.example.org'],
    ['bücher.example', 'xn--bcher-kva.example'],
    ['*.bücher.example', '*.xn--bcher-kva.example'],
    ['例え.テスト', 'xn--r8jz45g.xn--zckzah'],
    ['intranet', 'intranet'],
    ['a-1.b2.c', 'a-1.b2.c'],
    [`${'a'.repeat(63)}.org`, `${'a'.repeat(63)}.org`],
  ] as const)
    assert.equal(parseHostName(text), name);
});

test('what is no host name is refused, with the name that was meant', () => {
  for (const [text, message, hint] of [
    ['https://www.example.org/x', /only the name is wanted/, 'Use www.example.org'],
    ['www.example.org:8080', /only the name is wanted/, 'Use www.example.org'],
    ['www.example.org/', /only the name is wanted/, 'Use www.example.org'],
    ['10.0.0.1', /IP address/, undefined],
    ['::1', /is no host name/, undefined],
    ['', /it is empty/, undefined],
    ['a..b', /between two dots/, undefined],
    ['-a.org', /inner hyphens/, undefined],
    ['a_b.org', /inner hyphens/, undefined],
    ['*', /is no host name/, undefined],
    ['*.org', /a wildcard stands for/, undefined],
    ['a.*.org', /only as the whole first label/, undefined],
    ['{env.HOME}.org', /is no host name/, undefined],
    ['a b.org', /is no host name/, undefined],
    [`${'a'.repeat(64)}.org`, /at most 63/, undefined],
    [`${'a.'.repeat(127)}org`, /at most 253/, undefined],
  ] as const) {
    assert.throws(
      () => parseHostName(text),
      (error: { message: string; hint?: string; code: string }) => {
        assert.equal(error.code, 'usage');
        assert.match(error.message, message, text);
        if (hint !== undefined) assert.equal(error.hint, hint);
        return true;
      },
      text,
    );
  }
});

test('a wildcard covers exactly one label', () => {
  assert.ok(coversHost('*.example.org', 'www.example.org'));
  assert.ok(coversHost('*.example.org', '*.example.org'));
  assert.ok(!coversHost('*.example.org', 'a.b.example.org'));
  assert.ok(!coversHost('*.example.org', 'example.org'));
  assert.ok(coversHost('example.org', 'example.org'));
});
