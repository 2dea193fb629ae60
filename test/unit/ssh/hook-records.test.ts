import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { HookRecordParser, procReceiveReport } from '../../../src/ssh/hook-records.ts';

const A = 'a'.repeat(40);
const Z = '0'.repeat(40);
const TEXT = `pre-receive
quarantine /r/objects/tmp_objdir-incoming-x
option no-cache
option a=b  c 
ref ${Z} ${A} refs/heads/master
ref ${Z} ${A} refs/heads/--upload-pack=\u202e$(id)

update
ref ${Z} ${A} refs/heads/master

proc-receive

post-receive
ref ${Z} ${A} refs/heads/master

`;

describe('HookRecordParser', () => {
  it('reads the records of a push in whatever pieces they come', () => {
    const bytes = Buffer.from(TEXT);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1 }), (sizes) => {
        const parser = new HookRecordParser();
        const records = [];
        for (let start = 0, i = 0; start < bytes.length; i++) {
          const size = sizes[i % sizes.length]!;
          records.push(...parser.push(bytes.subarray(start, start + size)));
          start += size;
        }
        assert.deepEqual(records, [
          {
            hook: 'pre-receive',
            quarantine: '/r/objects/tmp_objdir-incoming-x',
            options: ['no-cache', 'a=b  c '],
            commands: [
              { old: Z, new: A, ref: 'refs/heads/master' },
              { old: Z, new: A, ref: 'refs/heads/--upload-pack=\u202e$(id)' },
            ],
          },
          {
            hook: 'update',
            quarantine: undefined,
            options: [],
            commands: [{ old: Z, new: A, ref: 'refs/heads/master' }],
          },
          { hook: 'proc-receive', quarantine: undefined, options: [], commands: [] },
          {
            hook: 'post-receive',
            quarantine: undefined,
            options: [],
            commands: [{ old: Z, new: A, ref: 'refs/heads/master' }],
          },
        ]);
      }),
    );
  });

  it('refuses what no hook of ours writes', () => {
    for (const text of ['hello\n', 'update\nref x y z\n\n', 'update\nfact 1\n\n', '\n']) {
      assert.throws(() => new HookRecordParser().push(Buffer.from(text)), /a hook wrote/);
    }
  });

  it('is bounded', () => {
    const parser = new HookRecordParser();
    parser.push(Buffer.from('pre-receive\n'));
    const many = Buffer.from(`option ${'x'.repeat(1024 * 1024)}\n`);
    assert.throws(() => {
      for (let i = 0; i < 20; i++) parser.push(many);
    }, /over 16 MiB/);
  });
});

describe('procReceiveReport', () => {
  it('is one pkt-line a line', () => {
    const report = procReceiveReport([
      { ref: 'refs/deploy/now', refusal: undefined },
      { ref: 'refs/deploy/é', refusal: 'not\nhere' },
    ]);
    assert.equal(report, '0016ok refs/deploy/now\n001eng refs/deploy/é not here\n0000\n');
  });
});
