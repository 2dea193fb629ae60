import assert from 'node:assert/strict';
import { posix } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Member, placeMembers } from '../../../../src/artifact/archive/members.ts';
import { DinpError } from '../../../../src/domain/errors.ts';

const part = fc.constantFrom('a', 'b', 'c', '..', '.', '', '.git', '__MACOSX', '._a', '.DS_Store', 'ä', '\n', 'C:');
const path = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
const anyPath = fc.oneof({ weight: 5, arbitrary: path }, fc.string({ unit: 'binary', maxLength: 12 }));
const member = fc.record({
  name: anyPath,
  type: fc.constantFrom('file' as const, 'folder' as const, 'link' as const),
  executable: fc.boolean(),
  target: anyPath,
});
const members = fc.array(member, { minLength: 1, maxLength: 8 });

test('Whatever an archive holds: it is refused with the entry named, or all paths and links stay inside', () => {
  let accepted = 0;
  fc.assert(
    fc.property(members, fc.boolean(), (list, strip) => {
      const placed = placeOrRefuse(list, strip);
      if (placed === undefined) return;
      accepted++;
      const paths = placed.map((entry) => entry.path);
      assert.equal(new Set(paths).size, paths.length);
      const files = new Map(placed.map((entry) => [entry.path, entry]));
      for (const { path: own, mode, member: made } of placed) {
        assert.equal(posix.normalize(own), own);
        assert.match(own, /^(?!\/|\.\.(?:\/|$))[^\u0000-\u001f]+$/);
        for (let up = posix.dirname(own); up !== '.'; up = posix.dirname(up)) assert.equal(files.has(up), false);
        assert.equal(mode === '120000', made.type === 'link');
        if (mode === '120000') assert.equal(staysInside(own, files), true, `${own} -> ${made.target}`);
      }
    }),
    { numRuns: 20_000 },
  );
  assert.ok(accepted > 500, `${accepted} archives were accepted: too few to say anything`);
});

function placeOrRefuse(list: Member[], strip: boolean) {
  try {
    return placeMembers('app.zip', list, { strip });
  } catch (error) {
    assert.ok(error instanceof DinpError && error.code === 'refused' && error.hint, String(error));
    assert.doesNotMatch(error.message, /[\u0000-\u001f]/);
    return undefined;
  }
}

/** Another way to say it: links are replaced at the front of the path until none is left, or one has led out. */
function staysInside(start: string, files: ReadonlyMap<string, { member: Member }>): boolean {
  let rest = `/root/${start}`;
  for (let hops = 0; hops < 200; hops++) {
    const parts = rest.split('/').filter((word) => word !== '' && word !== '.');
    let done = true;
    for (let i = 0; i < parts.length; i++) {
      if (parts[i] === '..') {
        if (i < 2) return false;
        rest = ['', ...parts.slice(0, i - 1), ...parts.slice(i + 1)].join('/');
        done = false;
        break;
      }
      const link = files.get(parts.slice(1, i + 1).join('/'))?.member;
      if (i === 0 || link?.type !== 'link') continue;
      if (link.target!.startsWith('/')) return false;
      rest = ['', ...parts.slice(0, i), link.target!, ...parts.slice(i + 1)].join('/');
      done = false;
      break;
    }
    if (done) return parts[0] === 'root';
  }
  return true;
}

test('Files keep their content: every file and link of an accepted archive is placed once, save junk', () => {
  const plain = fc.uniqueArray(
    fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/')),
    { minLength: 1, maxLength: 6 },
  );
  fc.assert(
    fc.property(plain, (names) => {
      const list = names.map((name): Member => ({ name, type: 'file', executable: false }));
      const conflict = names.some((name) => names.some((other) => other.startsWith(`${name}/`)));
      if (conflict) return assert.throws(() => placeMembers('app.zip', list, { strip: true }), /below the file/);
      const placed = placeMembers('app.zip', list, { strip: true });
      const tops = new Set(names.map((name) => name.split('/')[0]));
      const stripped = tops.size === 1 && names.every((name) => name.includes('/'));
      assert.deepEqual(
        placed.map((entry) => (stripped ? `${[...tops][0]}/${entry.path}` : entry.path)),
        names.toSorted(),
      );
    }),
  );
});
