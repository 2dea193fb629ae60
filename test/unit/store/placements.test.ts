import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { openDatabase } from '../../../src/store/database.ts';
import { Store } from '../../../src/store/store.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const WEB1 = { instance: 'dinp-shop--web--v1--1', app: 'shop', release: 1, process: 'web', index: 1 };
const WEB2 = { ...WEB1, instance: 'dinp-shop--web--v1--2', index: 2 };

/** A store with two hosts: a and b are their ids. */
function open() {
  const store = new Store(openDatabase(join(tempFolder(), 'dinp.db')));
  const [a, b] = ['a', 'b'].map((name, i) => {
    const ssh = { user: 'root', host: `10.0.0.${i + 1}`, port: 22 };
    const hostKey = { type: 'ssh-ed25519', fingerprint: 'SHA256:x' };
    const more = { labels: {}, docker: '/usr/bin/docker', registryPort: 5000 };
    return store.hosts.add({ name, ssh, hostKey, address: ssh.host, ...more }).id;
  }) as [number, number];
  return { store, placements: store.placements, a, b };
}

test('an instance has one host; one that it had before is remembered until it was removed there', () => {
  const { placements, a, b } = open();
  placements.put({ ...WEB1, hostId: a });
  placements.put({ ...WEB1, hostId: b });
  assert.deepEqual(placements.find(WEB1.instance), { ...WEB1, hostId: b, wanted: true, removing: false });
  assert.deepEqual(placements.onHost(a), [{ ...WEB1, hostId: a, wanted: false, removing: false }]);
  placements.remove(WEB1.instance, a);
  assert.deepEqual(placements.onHost(a), []);
  assert.equal(placements.ofInstance(WEB1.instance).length, 1);
});

test('what is to be removed has no host any more, until it is put there again', () => {
  const { placements, a } = open();
  placements.put({ ...WEB1, hostId: a });
  placements.setRemoving(WEB1.instance, a);
  assert.equal(placements.find(WEB1.instance), undefined);
  assert.equal(placements.onHost(a)[0]!.removing, true);
  placements.put({ ...WEB1, hostId: a });
  assert.equal(placements.find(WEB1.instance)?.hostId, a);
});

test('places of an app are forgotten but for those to keep and those that must be removed yet', () => {
  const { placements, a, b } = open();
  const other = { ...WEB1, instance: 'dinp-blog--web--v1--1', app: 'blog' };
  placements.put({ ...WEB1, hostId: a });
  placements.put({ ...WEB2, hostId: a });
  placements.put({ ...WEB2, hostId: b });
  placements.put({ ...other, hostId: a });
  placements.setRemoving(WEB2.instance, a);
  placements.forget('shop', [WEB1.instance]);
  assert.deepEqual(
    placements.onHost(a).map(({ instance, removing }) => [instance, removing]),
    [
      [other.instance, false],
      [WEB1.instance, false],
      [WEB2.instance, true],
    ],
  );
  assert.deepEqual(placements.onHost(b), []);
});

test('with a host goes all that was there', () => {
  const { store, placements, a } = open();
  placements.put({ ...WEB1, hostId: a });
  placements.putVolume('dinp-shop--data', a);
  assert.equal(placements.volumeHost('dinp-shop--data'), a);
  store.hosts.remove(a);
  assert.equal(placements.find(WEB1.instance), undefined);
  assert.equal(placements.volumeHost('dinp-shop--data'), undefined);
});
