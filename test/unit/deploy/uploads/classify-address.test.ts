import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AllowedHosts, allowedHostProblem } from '../../../../src/deploy/uploads/allowed-hosts.ts';
import { classifyAddress, isBlock, isInBlock } from '../../../../src/deploy/uploads/classify-address.ts';

const BLOCKS: Record<string, string[]> = {
  unspecified: ['0.0.0.0', '0.255.255.255', '::', '::0.0.0.0'],
  loopback: ['127.0.0.1', '127.255.255.254', '::1', '::ffff:127.0.0.1', '0:0:0:0:0:ffff:7f00:1', '64:ff9b::7f00:1'],
  private: ['10.0.0.1', '172.16.0.1', '172.31.255.255', '192.168.255.255', 'fd12:3456::1', 'fc00::', 'fec0::1'],
  'link-local': ['169.254.0.1', 'fe80::1', 'fe80::1%eth0', 'febf:ffff::1'],
  cgnat: ['100.64.0.1', '100.127.255.255', '2002:6440:1::'],
  multicast: ['224.0.0.1', '239.255.255.255', 'ff02::1'],
  metadata: ['169.254.169.254', '::ffff:a9fe:a9fe', 'fd00:ec2::254', '100.100.100.200', '168.63.129.16'],
  reserved: [
    '192.0.2.1',
    '198.18.0.1',
    '203.0.113.9',
    '240.0.0.1',
    '255.255.255.255',
    '2001:db8::1',
    '100::1',
    '4000::1',
  ],
  public: ['8.8.8.8', '172.32.0.1', '100.128.0.1', '11.0.0.0', '2606:4700::1111', '::ffff:8.8.8.8', '64:ff9b::808:808'],
};

test('addresses are what their blocks are', () => {
  for (const [is, addresses] of Object.entries(BLOCKS)) {
    for (const address of addresses) assert.equal(classifyAddress(address), is, address);
  }
});

test('what is no address has no class', () => {
  for (const text of ['', 'localhost', '1.2.3', '0x7f.1', '127.1', '::g', '[::1]', '1.2.3.4/8'])
    assert.equal(classifyAddress(text), undefined, text);
});

const octets = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255));

test('an IPv4 address is the same however it is put into IPv6', () => {
  fc.assert(
    fc.property(octets, ([a, b, c, d]) => {
      const dotted = `${a}.${b}.${c}.${d}`;
      const hex = `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
      const is = classifyAddress(dotted);
      assert.ok(is);
      for (const form of [`::ffff:${dotted}`, `::ffff:${hex}`, `64:ff9b::${hex}`, `2002:${hex}::1`, `::ffff:0:${hex}`])
        assert.equal(classifyAddress(form), is, form);
    }),
  );
});

test('whatever a URL makes of a number is an address, and every spelling of loopback is loopback', () => {
  for (const host of ['0x7f.1', '2130706433', '0177.0.0.1', '127.1', '0x7f000001', '１２７.0.0.1', '[::FFFF:7F00:1]']) {
    const { hostname } = new URL(`http://${host}/`);
    assert.equal(classifyAddress(hostname.replace(/[[\]]/g, '')), 'loopback', host);
  }
  fc.assert(
    fc.property(fc.nat(0xffff_ffff), (value) => {
      const { hostname } = new URL(`http://${value}/`);
      assert.ok(classifyAddress(hostname), hostname);
    }),
  );
});

test('every IPv6 address is something, the same in short and in full', () => {
  const group = fc.oneof(fc.constant(0), fc.nat(0xffff));
  fc.assert(
    fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), (groups) => {
      const full = groups.map((each) => each.toString(16).padStart(4, '0')).join(':');
      const short = new URL(`http://[${full}]/`).hostname.slice(1, -1);
      const is = classifyAddress(full);
      assert.ok(is);
      assert.equal(classifyAddress(short), is);
      assert.equal(classifyAddress(full.toUpperCase()), is);
      assert.ok(is !== 'public' || groups[0]! >> 13 === 1 || full.startsWith('0'), full);
    }),
  );
});

test('blocks hold what they should', () => {
  assert.equal(isInBlock('10.1.2.3', '10.0.0.0/8'), true);
  assert.equal(isInBlock('::ffff:10.1.2.3', '10.0.0.0/8'), true);
  assert.equal(isInBlock('11.1.2.3', '10.0.0.0/8'), false);
  assert.equal(isInBlock('fd12::1', 'fd12::/16'), true);
  assert.equal(isInBlock('127.0.0.1', '127.0.0.1'), true);
  assert.equal(isInBlock('127.0.0.2', '127.0.0.1'), false);
  assert.equal(isInBlock('10.1.2.3', '::/0'), false);
  for (const block of ['10.0.0.0/8', '::1', 'fd00::/8', '0.0.0.0/0']) assert.equal(isBlock(block), true, block);
  for (const text of ['10.0.0.0/33', '10.0.0.0/', '10.0.0/8', 'fd00::/129', 'a.b', '10.0.0.0/8/8', 'fe80::1%a/64'])
    assert.equal(isBlock(text), false, text);
});

test('nothing is fetched from inside but what the operator allows', () => {
  const none = new AllowedHosts([]);
  none.check('example.org', ['93.184.215.14', '2606:2800:21f::1']);
  for (const address of ['127.0.0.1', '10.0.0.1', 'fd00::1', '169.254.169.254', '0.0.0.0', '::'])
    assert.throws(() => none.check('example.org', [address]), { code: 'refused' }, address);
  // A name with one address inside is refused: the next answer may be that one alone.
  assert.throws(() => none.check('rebind.example.org', ['93.184.215.14', '127.0.0.1']), {
    message: 'rebind.example.org (127.0.0.1) is this server itself, and nothing is fetched from there.',
    hint: "If artifacts shall come from it, the operator adds it to the server's config:\n  uploads: {allow: [rebind.example.org]}",
  });
  const some = new AllowedHosts(['store.corp', '*.build.corp', '10.1.0.0/16']);
  some.check('STORE.corp.', ['10.9.9.9']);
  some.check('a.b.build.corp', ['127.0.0.1']);
  some.check('any.example.org', ['10.1.200.3']);
  for (const [host, address] of [
    ['build.corp', '10.9.9.9'],
    ['evilstore.corp', '10.9.9.9'],
    ['store.corp.evil.org', '10.9.9.9'],
    ['any.example.org', '10.2.0.1'],
  ] as const)
    assert.throws(() => some.check(host, [address]), { code: 'refused' }, host);
});

test('entries of uploads.allow are told apart from mistakes', () => {
  for (const entry of ['store.corp', '*.corp', '10.0.0.0/8', 'fd00::/8', 'Store.Corp', '127.0.0.1'])
    assert.equal(allowedHostProblem(entry), undefined, entry);
  for (const entry of ['', 'http://store.corp', 'store.corp:80', '*', 'a b', '10.0.0.0/99', '[::1]', 'a.*.b'])
    assert.ok(allowedHostProblem(entry), entry);
});
