import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deployBranchOf, judgePush, judgeRef, parsePushOptions, REDEPLOY_REF } from '../../../src/deploy/ref-rules.ts';
import type { RefCommand } from '../../../src/domain/ref-command.ts';

const ZERO = '0'.repeat(40);
const A = 'a'.repeat(40);
const B = 'b'.repeat(40);
const create = (ref: string, to = A): RefCommand => ({ old: ZERO, new: to, ref });
const remove = (ref: string): RefCommand => ({ old: A, new: ZERO, ref });
const shop = { name: 'shop', deployBranch: 'main' };
const fresh = { name: 'shop', deployBranch: undefined };

function judged(app: typeof shop | typeof fresh, command: RefCommand, asked = [command], tip: string | undefined = A) {
  return judgeRef({ app, asked, options: [], tip }, command);
}

test('the only branch of a first push becomes the deploy branch', () => {
  assert.equal(deployBranchOf({ app: fresh, asked: [create('refs/heads/feature/x')] }), 'feature/x');
});

test('of several branches in a first push main or master deploys', () => {
  const asked = [create('refs/heads/feature'), create('refs/heads/master')];
  assert.equal(deployBranchOf({ app: fresh, asked }), 'master');
  assert.equal(judgePush({ app: fresh, asked, options: [], tip: undefined }).ok, true);
});

test('several branches without main or master are refused and listed', () => {
  const asked = [create('refs/heads/dev'), create('refs/heads/prod'), create('refs/tags/v1')];
  const verdict = judgePush({ app: fresh, asked, options: [], tip: undefined });
  assert.equal(verdict.ok, false);
  assert.match(verdict.text, /^Which of these branches shall deploy\? dev, prod\n[\s\S]*git push dinp dev$/);
});

test('a branch being deleted does not become the deploy branch', () => {
  assert.equal(deployBranchOf({ app: fresh, asked: [remove('refs/heads/old')] }), undefined);
});

test('another branch is refused with the line that deploys it', () => {
  const verdict = judged(shop, create('refs/heads/feature'));
  assert.equal(verdict.ok, false);
  assert.match(
    verdict.text,
    /^Branch feature does not deploy shop; main does\. To deploy it:\n\n {4}git push dinp feature:main\n/,
  );
});

test('the deploy branch, tags and deletions of other branches pass', () => {
  for (const command of [
    create('refs/heads/main'),
    create('refs/tags/v1'),
    remove('refs/tags/v1'),
    remove('refs/heads/old'),
  ]) {
    assert.equal(judged(shop, command).ok, true, command.ref);
  }
});

test('the deploy branch cannot be deleted', () => {
  assert.match(judged(shop, remove('refs/heads/main')).text, /cannot be deleted/);
});

test('other refs are not stored', () => {
  for (const ref of ['refs/notes/commits', 'refs/replace/x', 'refs/changes/1', 'refs/deploy/later']) {
    assert.equal(judged(shop, create(ref)).ok, false, ref);
  }
});

test('the redeploy ref takes only the tip of the deploy branch', () => {
  assert.equal(judged(shop, create(REDEPLOY_REF, A)).ok, true);
  const verdict = judged(shop, create(REDEPLOY_REF, B));
  assert.equal(verdict.ok, false);
  assert.match(verdict.text, /git push --force dinp bbbbbbb:refs\/heads\/main/);
});

test('the redeploy ref takes the tip that the same push brings', () => {
  const redeploy = create(REDEPLOY_REF, B);
  assert.equal(judged(shop, redeploy, [create('refs/heads/main', B), redeploy], A).ok, true);
});

test('the redeploy ref is refused where nothing was pushed yet', () => {
  const command = create(REDEPLOY_REF);
  assert.match(
    judgeRef({ app: shop, asked: [command], options: [], tip: undefined }, command).text,
    /^Nothing was pushed/,
  );
});

test('control and bidirectional characters of ref names never reach the terminal', () => {
  const verdict = judged(shop, create('refs/heads/a\u202eb\u001b[31m'));
  assert.doesNotMatch(verdict.text, /[\u202e\u001b]/);
});

test('unknown push options are refused with the list', () => {
  const verdict = judgePush({ app: shop, asked: [create('refs/heads/main')], options: ['no-cahe'], tip: A });
  assert.match(verdict.text, /^Unknown push option "no-cahe"\. There are:\n {4}-o no-cache {2}.*\n {4}-o detach/);
  assert.deepEqual(parsePushOptions(['detach']), { noCache: false, detach: true });
});
