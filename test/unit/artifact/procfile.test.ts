import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseProcfile } from '../../../src/artifact/procfile.ts';
import { DinpError } from '../../../src/domain/errors.ts';

test('names and commands, in order; release stands for itself', () => {
  const procfile = parseProcfile(
    '\ufeff# what runs\r\nweb: ./server --port $PORT\r\n\r\nworker : ./server work\r\nrelease: ./migrate\r\n',
  );
  assert.deepEqual(
    [...procfile.processes],
    [
      ['web', ['/bin/sh', '-c', './server --port $PORT']],
      ['worker', ['./server', 'work']],
    ],
  );
  assert.deepEqual(procfile.release, ['./migrate']);
});

test('every wrong line is named', () => {
  assert.throws(() => parseProcfile('web ./server\nWeb: x\nweb:\n\nweb: a\nweb: b\nbad: \u001b[31m\n'), {
    code: 'refused',
    message: 'Procfile cannot be used:',
    detail: [
      'line 1: found "web ./server", which is no "name: command"',
      'line 2: "Web" cannot be a process name: use lower-case letters, digits and hyphens',
      'line 3: web has no command',
      'line 6: web is there twice',
      'line 7: the command of bad holds a control character',
    ].join('\n'),
  });
  assert.throws(() => parseProcfile('# nothing\n'), { message: 'Procfile has no process in it.' });
});

test('any text is read or refused, never anything else', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
      try {
        const { processes, release } = parseProcfile(text);
        assert.ok(processes.size > 0 || release !== undefined);
      } catch (error) {
        assert.ok(error instanceof DinpError);
      }
    }),
  );
});
