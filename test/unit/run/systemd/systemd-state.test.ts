import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseJournalLine } from '../../../../src/run/systemd/systemd-journal.ts';
import { exitCode, instanceState, parseFacts, parseShow } from '../../../../src/run/systemd/systemd-state.ts';

const GREP = `/etc/systemd/system/dinp-blog--web--v3--1.service:Server=local
/etc/systemd/system/dinp-blog--web--v3--1.service:App=blog
/etc/systemd/system/dinp-blog--web--v3--1.service:Release=3
/etc/systemd/system/dinp-blog--web--v3--1.service:Process=web
/etc/systemd/system/dinp-blog--web--v3--1.service:Index=1
/etc/systemd/system/dinp-blog--web--v3--1.service:HostPort=20001
/etc/systemd/system/dinp-blog--work--v3--1.service:Server=local
/etc/systemd/system/dinp-blog--work--v3--1.service:App=blog
/etc/systemd/system/dinp-blog--work--v3--1.service:Release=3
/etc/systemd/system/dinp-blog--work--v3--1.service:Process=work
/etc/systemd/system/dinp-blog--work--v3--1.service:Index=1
/etc/systemd/system/dinp-foreign.service:Server=only
`;
const [web, work] = parseFacts(GREP);

test('what units say of their instances', () => {
  assert.equal(parseFacts(GREP).length, 2);
  assert.deepEqual(web, {
    ...{
      name: 'dinp-blog--web--v3--1',
      server: 'local',
      app: 'blog',
      release: 3,
      process: 'web',
      index: 1,
      hostPort: 20001,
    },
  });
  assert.equal(work!.hostPort, undefined);
  assert.deepEqual(parseFacts(''), []);
});

test('systemctl show of several units', () => {
  const shown = parseShow('Id=a.service\nActiveState=active\nResult=a=b\n\nId=b.service\nActiveState=failed\n');
  assert.deepEqual([...shown.keys()], ['a', 'b']);
  assert.equal(shown.get('a')!.Result, 'a=b');
});

test('states without a container', () => {
  const state = (unit: Record<string, string>) => instanceState(web!, unit, undefined).state;
  assert.equal(state({ ActiveState: 'activating', SubState: 'start-pre' }), 'starting');
  assert.equal(state({ ActiveState: 'active', SubState: 'running' }), 'starting');
  assert.equal(state({ ActiveState: 'activating', SubState: 'auto-restart' }), 'restarting');
  assert.equal(state({ ActiveState: 'inactive', SubState: 'dead' }), 'exited');
  assert.equal(state({ ActiveState: 'failed', SubState: 'failed' }), 'exited');
  assert.equal(state({}), 'exited');
});

test('exit statuses and restarts', () => {
  const unit = {
    ActiveState: 'activating',
    SubState: 'auto-restart',
    NRestarts: '4',
    ExecMainCode: '1',
    ExecMainStatus: '3',
  };
  const found = instanceState(web!, unit, undefined);
  assert.equal(found.exitCode, 3);
  assert.equal(found.restarts, 4);
  assert.equal(exitCode({ ExecMainCode: '2', ExecMainStatus: '9' }), 137);
  assert.equal(exitCode({ ExecMainCode: '0', ExecMainStatus: '0' }), undefined);
});

test('journal lines: text, bytes, and what is no entry', () => {
  const line = (message: unknown) =>
    JSON.stringify({
      __CURSOR: 'c',
      __REALTIME_TIMESTAMP: '1700000000123456',
      _SYSTEMD_UNIT: 'x.service',
      MESSAGE: message,
    });
  assert.deepEqual(parseJournalLine(line('hi')), [{ instance: 'x', cursor: 'c', text: 'hi', time: 1700000000123 }]);
  assert.equal(parseJournalLine(line([27, 91, 109, 195, 169]))[0]!.text, '\x1b[mé');
  for (const odd of ['', '-- Boot', '{"a', '{}']) assert.deepEqual(parseJournalLine(odd), []);
});
