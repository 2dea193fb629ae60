import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkRealm, parseChallenges } from '../../../../src/image/registry/registry-auth.ts';

describe('challenges', () => {
  it('are read with quotes, escapes, commas inside and several of them', () => {
    assert.deepEqual(
      parseChallenges(
        'Bearer realm="https://a.example/token",service="r",scope="repository:x:pull,push", Basic realm="a \\"b\\""',
      ),
      [
        {
          scheme: 'bearer',
          params: { realm: 'https://a.example/token', service: 'r', scope: 'repository:x:pull,push' },
        },
        { scheme: 'basic', params: { realm: 'a "b"' } },
      ],
    );
    assert.deepEqual(parseChallenges(''), []);
    assert.deepEqual(parseChallenges('basic'), [{ scheme: 'basic', params: {} }]);
  });
});

describe('the address of tokens', () => {
  const credentials = { username: 'u', password: 'p' };
  const check = (registry: string, realm: string, authHosts: string[] = []): string =>
    checkRealm({ registry, challenge: { scheme: 'bearer', params: { realm } }, credentials, authHosts }).host;

  it('may be the registry’s own host, one that was named, or Docker Hub’s', () => {
    assert.equal(check('r.example:5000', 'https://r.example:5001/auth'), 'r.example:5001');
    assert.equal(check('r.example', 'https://auth.other.example/t', ['auth.other.example']), 'auth.other.example');
    assert.equal(check('registry-1.docker.io', 'https://auth.docker.io/token'), 'auth.docker.io');
    assert.equal(check('127.0.0.1:5000', 'http://127.0.0.1:5001/token'), '127.0.0.1:5001');
  });

  it('may not be another host, plain http, a file, or hold a user', () => {
    const realms = [
      'https://evil.example/t',
      'http://r.example/t',
      'file:///etc/passwd',
      'https://u:p@r.example/t',
      'nonsense',
      'https://r.example.evil.example/t',
      'https://auth.docker.io/t',
    ];
    for (const realm of realms)
      assert.throws(() => check('r.example', realm), { name: 'DinpError', code: 'denied' }, realm);
  });
});
