import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  afterLook,
  afterRestart,
  chooseRoutable,
  crashed,
  firstSeen,
  type Health,
  isOut,
  nextRestart,
  pauseBefore,
  startedAnew,
} from '../../../../src/deploy/watch/health-rules.ts';
import { DEFAULT_HEALTH } from '../../../../src/domain/process.ts';
import type { Look } from '../../../../src/run/look.ts';

const CHECK = { ...DEFAULT_HEALTH, retries: 3, startMs: 60_000 };
const GOOD: Look = { kind: 'healthy' };
const BAD: Look = { kind: 'failing', problem: 'answered 500 to GET /health', down: false };
const GONE: Look = { kind: 'failing', problem: 'is not there', down: true };
const S = 1_000;
const START = 1_000_000;

/** An instance that began at START and was found healthy a moment later. */
function running(): Health {
  return afterLook(firstSeen(START, CHECK), GOOD, CHECK, START + S);
}

/** Looks of one kind, at these times. */
function looks(health: Health, look: Look, ...times: number[]): Health {
  return times.reduce((before, now) => afterLook(before, look, CHECK, now), health);
}

test('the pauses before restarts: at once, then 10 s doubling up to 5 minutes', () => {
  assert.deepEqual(
    [0, 1, 2, 3, 4, 5, 6, 7, 50].map((restarts) => pauseBefore(restarts) / S),
    [0, 10, 20, 40, 80, 160, 300, 300, 300],
  );
});

test('an instance fails after as many unhealthy looks in a row as its check says, and is then to be restarted', () => {
  const twice = looks(running(), BAD, START + 100 * S, START + 105 * S);
  assert.equal(twice.failingSince, undefined);
  assert.equal(isOut(twice), false);
  assert.equal(looks(twice, GOOD, START + 110 * S).failures, 0);
  const thrice = looks(twice, BAD, START + 110 * S);
  assert.equal(thrice.failingSince, START + 110 * S);
  assert.equal(thrice.nextTry, START + 110 * S);
  assert.equal(thrice.problem, 'answered 500 to GET /health');
  assert.equal(isOut(thrice), true);
});

test('a look that found out nothing changes nothing', () => {
  const before = looks(running(), BAD, START + 100 * S, START + 105 * S);
  assert.equal(afterLook(before, { kind: 'unknown', problem: 'engine gone' }, CHECK, START + 110 * S), before);
});

test('while it may be starting it is not failing, but visitors are led past it; the first healthy look ends that', () => {
  const slow = looks(firstSeen(START, CHECK), BAD, ...Array.from({ length: 11 }, (_, i) => START + i * 5 * S));
  assert.equal(slow.failingSince, undefined);
  assert.equal(isOut(slow), true);
  assert.equal(isOut(looks(slow, GOOD, START + 57 * S)), false);
  assert.equal(looks(slow, BAD, START + 61 * S).failingSince, START + 61 * S);
  // Once it was healthy its grace is over.
  const early = looks(running(), BAD, START + 2 * S, START + 3 * S, START + 4 * S);
  assert.equal(early.failingSince, START + 4 * S);
});

test('a restart gives a new grace, and the next one waits longer', () => {
  let health = looks(running(), BAD, START + 100 * S, START + 105 * S, START + 110 * S);
  health = afterRestart(health, CHECK, START + 111 * S);
  assert.equal(health.nextTry, undefined);
  assert.equal(health.failingSince, START + 110 * S, 'it counts as failing until it is healthy');
  health = startedAnew(health, START + 112 * S, CHECK);
  health = looks(health, BAD, START + 120 * S, START + 125 * S, START + 130 * S, START + 171 * S);
  assert.equal(health.nextTry, undefined);
  health = looks(health, BAD, START + 173 * S);
  assert.equal(health.nextTry, START + 183 * S);
  assert.equal(looks(health, BAD, START + 178 * S).nextTry, START + 183 * S, 'more failures put it off no further');
  health = looks(
    startedAnew(afterRestart(health, CHECK, START + 183 * S), START + 183 * S, CHECK),
    GOOD,
    START + 190 * S,
  );
  assert.equal(health.failingSince, undefined);
  assert.equal(health.healthySince, START + 190 * S);
  assert.equal(health.restarts, 2);
  health = looks(health, BAD, START + 300 * S, START + 305 * S, START + 310 * S);
  assert.equal(health.nextTry, START + 330 * S, 'healthy for a short time forgets no restart');
});

test('one that its engine started anew gets its time to start, unless it is known to be healthy since', () => {
  const before = looks(running(), GOOD, START + 100 * S);
  const anew = startedAnew(before, START + 101 * S, CHECK);
  assert.deepEqual([anew.proven, anew.healthySince, anew.graceUntil], [false, undefined, START + 161 * S]);
  const known = startedAnew(looks(anew, GOOD, START + 103 * S), START + 102 * S, CHECK);
  assert.deepEqual([known.proven, known.healthySince, known.startedAt], [true, START + 103 * S, START + 102 * S]);
});

test('ten minutes of health forget the restarts', () => {
  const restarted = afterRestart(looks(running(), GONE, START + 100 * S), CHECK, START + 100 * S);
  const short = looks(restarted, GOOD, START + 110 * S, START + 700 * S);
  assert.equal(short.restarts, 1);
  assert.equal(looks(short, GOOD, START + 711 * S).restarts, 0);
});

test('one that does not run fails at once, and its engine or a reconcile starts it, not we', () => {
  const gone = looks(running(), GONE, START + 100 * S);
  assert.equal(gone.failingSince, START + 100 * S);
  assert.equal(gone.nextTry, undefined);
});

test('three crashes within five minutes are a crash loop, though it answers in between', () => {
  let health = crashed(running(), 1, START + 10 * S);
  health = crashed(looks(health, GOOD, START + 11 * S), 1, START + 20 * S);
  assert.equal(looks(health, GOOD, START + 21 * S).failingSince, undefined);
  health = looks(crashed(health, 1, START + 30 * S), GOOD, START + 31 * S);
  assert.equal(health.failingSince, START + 31 * S);
  assert.equal(health.problem, 'crashed 3 times within 5 minutes');
  assert.equal(health.nextTry, undefined);
  assert.equal(looks(health, GOOD, START + 311 * S).failingSince, undefined);
  assert.equal(crashed(running(), 50, START + 10 * S).crashes.length, 3);
});

test('visitors are led past what is out, unless all are', () => {
  const fit = running();
  const bad = looks(running(), GONE, START + 100 * S);
  const choose = (...all: (Health | undefined)[]) => chooseRoutable([...all.keys()], (i) => all[i]);
  assert.deepEqual(choose(fit, bad, fit), [0, 2]);
  assert.deepEqual(choose(bad, bad), [0, 1]);
  assert.deepEqual(choose(bad), [0]);
  assert.deepEqual(choose(undefined, bad), [0], 'what is not known yet was just rolled out');
  assert.deepEqual(choose(), []);
});

test('of a process whose instances all fail one is restarted at a time, whose turn came first', () => {
  const failing = (at: number) => looks(running(), BAD, at - 2 * S, at - S, at);
  const all = new Map([
    ['a', failing(START + 102 * S)],
    ['b', failing(START + 101 * S)],
    ['c', running()],
  ]);
  assert.equal(nextRestart(all, START + 100 * S), undefined);
  assert.equal(nextRestart(all, START + 103 * S), 'b');
  all.set('b', startedAnew(afterRestart(all.get('b')!, CHECK, START + 103 * S), START + 104 * S, CHECK));
  assert.equal(nextRestart(all, START + 110 * S), undefined, 'b has its time to start');
  assert.equal(nextRestart(all, START + 165 * S), 'a', 'b did not become healthy in time');
  all.set('b', looks(all.get('b')!, GOOD, START + 110 * S));
  assert.equal(nextRestart(all, START + 111 * S), 'a', 'b is healthy');
});
