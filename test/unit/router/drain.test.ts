import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openPeers, peerOf } from '../../../src/router/drain.ts';

test('addresses as the kernel writes them', () => {
  assert.equal(peerOf('127.0.0.1:20013'), '0100007F:4E2D');
  assert.equal(peerOf('192.168.1.2:80'), '0201A8C0:0050');
  assert.equal(peerOf('[::1]:80'), undefined);
  assert.equal(peerOf('localhost:80'), undefined);
});

test('only open connections count: not listeners, not what waits after its end', () => {
  const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:B14F 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 29133 1
  17: 0100007F:E04C 0100007F:4E2D 01 00000000:00000000 02:00000000 00000000     0        0 29134 1
  18: 0100007F:E04D 0100007F:4E2E 06 00000000:00000000 03:00000000 00000000     0        0 0 3
`;
  assert.deepEqual([...openPeers(table)], ['0100007F:4E2D']);
});
