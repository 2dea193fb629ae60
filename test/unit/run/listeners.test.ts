import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isLoopback, parseListeners } from '../../../src/run/listeners.ts';

const HEADER = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';

test('listening sockets out of /proc/net/tcp and tcp6', () => {
  const tcp = `${HEADER}   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 00000000:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1
   2: 0200A8C0:0BB8 0100A8C0:C350 01 00000000:00000000 00:00000000 00000000     0        0 3 1
   3: 0B00007F:9C40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4 1
`;
  const tcp6 = `${HEADER}   0: 00000000000000000000000000000000:1F91 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 5 1
   1: 00000000000000000000000001000000:1F92 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 6 1
   2: 0000000000000000FFFF00000100007F:1F93 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 7 1
   3: B80D0120000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 8 1
`;
  assert.deepEqual(parseListeners(tcp + tcp6), [
    { address: '127.0.0.1', port: 8080 },
    { address: '0.0.0.0', port: 3000 },
    { address: '::', port: 8081 },
    { address: '::1', port: 8082 },
    { address: '127.0.0.1', port: 8083 },
    { address: '2001:db8::1', port: 80 },
  ]);
  assert.deepEqual(parseListeners(''), []);
});

test('which addresses nobody else can reach', () => {
  assert.deepEqual(['127.0.0.1', '127.8.9.1', '::1'].map(isLoopback), [true, true, true]);
  assert.deepEqual(['0.0.0.0', '::', '172.17.0.2'].map(isLoopback), [false, false, false]);
});
