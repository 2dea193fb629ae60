import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { readElf } from '../../../src/artifact/elf.ts';
import { type ElfOptions, makeElf } from './make-elf.ts';

const reader = (file: Buffer) => async (offset: number, length: number) => file.subarray(offset, offset + length);

test('what a file is and needs', async () => {
  const cases: [ElfOptions, unknown][] = [
    [{}, { arch: 'amd64', kind: 'program', interpreter: undefined }],
    [{ machine: 183 }, { arch: 'arm64', kind: 'program', interpreter: undefined }],
    [{ type: 1 }, { arch: 'amd64', kind: 'object', interpreter: undefined }],
    [{ type: 3 }, { arch: 'amd64', kind: 'library', interpreter: undefined }],
    [
      { type: 3, pie: true },
      { arch: 'amd64', kind: 'program', interpreter: undefined },
    ],
    [
      { type: 3, interpreter: '/lib/ld-musl-x86_64.so.1' },
      { arch: 'amd64', kind: 'program', interpreter: '/lib/ld-musl-x86_64.so.1' },
    ],
    [{ type: 4 }, { arch: 'amd64', kind: 'other', interpreter: undefined }],
    [
      { machine: 40, bits: 32, interpreter: '/lib/ld-linux-armhf.so.3' },
      { arch: 'arm', kind: 'program', interpreter: '/lib/ld-linux-armhf.so.3' },
    ],
    [
      { machine: 40, bits: 32, type: 3, pie: true },
      { arch: 'arm', kind: 'program', interpreter: undefined },
    ],
    [
      { machine: 22, bigEndian: true, type: 3, pie: true },
      { arch: 's390x', kind: 'program', interpreter: undefined },
    ],
    [{ machine: 21 }, { arch: 'ppc64le', kind: 'program', interpreter: undefined }],
    [{ machine: 999 }, { arch: 'machine 999', kind: 'program', interpreter: undefined }],
  ];
  for (const [options, expected] of cases)
    assert.deepEqual(await readElf(reader(makeElf(options))), expected, JSON.stringify(options));
});

test('programs of this machine', async () => {
  const node = await readElf(reader(readFileSync(process.execPath)));
  assert.equal(node?.kind, 'program');
  assert.equal(node?.arch, process.arch === 'x64' ? 'amd64' : process.arch);
  assert.match(node?.interpreter ?? '', /ld-linux/);
});

test('damaged files are never more than undefined', async () => {
  const good = makeElf({ type: 3, pie: true, interpreter: '/lib64/ld-linux-x86-64.so.2' });
  await fc.assert(
    fc.asyncProperty(
      fc.nat(good.length),
      fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 8 }),
      async (length, changes) => {
        const file = Buffer.from(good);
        for (const [at, byte] of changes) file[at] = byte;
        await readElf(reader(file.subarray(0, length)));
      },
    ),
    { numRuns: 2000 },
  );
  assert.equal(await readElf(reader(Buffer.from('#!/bin/sh\n'))), undefined);
  assert.equal(await readElf(reader(Buffer.alloc(0))), undefined);
});
