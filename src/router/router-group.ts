import { setTimeout as sleep } from 'node:timers/promises';
import { DinpError } from '../domain/errors.ts';
import { type CaddyRouter, isRefusal } from './caddy.ts';
import { isGone } from './caddy-admin.ts';
import { waitDrained } from './drain.ts';
import type { Route, Router, RouterState, RouteSync, WantedRoutes } from './router.ts';

const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 30_000;
/** What requests that a router of another machine has may take to end: nobody here sees its connections. */
const ELSEWHERE_MS = 5_000;

/** One router, and what we know of it. */
interface Member {
  caddy: CaddyRouter;
  /** Changes that it missed, the newest of each app; undefined: the app has no route. */
  missed: Map<string, Route | undefined>;
  /** Why it missed them, until it has them. */
  error: DinpError | undefined;
  /** Upstreams of each app that it was last seen with; those of apps that are not here are not known. */
  upstreams: Map<string, string[]>;
  retrying: boolean;
}

/**
 * Routers that are kept alike. One that does not answer holds up nobody: it gets what it missed with the next change, or
 * as soon as it answers again.
 */
export class RouterGroup implements Router {
  readonly #members: Member[];
  readonly #onAnswer: (router: string) => void;

  /** @param onAnswer told once a router that had missed changes has them all: what was kept for it may go */
  constructor(caddies: CaddyRouter[], onAnswer: (router: string) => void = () => undefined) {
    this.#members = caddies.map((caddy) => ({
      caddy,
      missed: new Map(),
      error: undefined,
      upstreams: new Map(),
      retrying: false,
    }));
    this.#onAnswer = onAnswer;
  }

  async setRoute(route: Route): Promise<string[]> {
    return await this.#change(route.app, route);
  }

  async removeRoute(app: string): Promise<string[]> {
    return await this.#change(app, undefined);
  }

  async syncRoutes(wanted: () => WantedRoutes, options = { dryRun: false }): Promise<RouteSync[]> {
    return await Promise.all(this.#members.map((member) => this.#sync(member, wanted, options)));
  }

  async drain(upstreams: string[], options: { maxMs: number; signal: AbortSignal }): Promise<boolean> {
    const elsewhere = this.#members.some(({ caddy, error }) => !caddy.isHere && error === undefined);
    const [drained] = await Promise.all([
      waitDrained(upstreams, options),
      elsewhere && sleep(Math.min(ELSEWHERE_MS, options.maxMs), undefined, { signal: options.signal }).catch(() => {}),
    ]);
    return drained;
  }

  stillUsing(app: string, upstreams: string[]): string[] {
    return this.#members
      .filter(({ error, missed }) => missed.has(app) && error !== undefined && !isGone(error))
      .filter(({ upstreams: seen }) => seen.get(app)?.some((each) => upstreams.includes(each)) ?? true)
      .map(({ caddy }) => caddy.name);
  }

  async check(): Promise<RouterState[]> {
    return await Promise.all(
      this.#members.map(async ({ caddy }) => {
        try {
          return { router: caddy.name, routes: (await caddy.listRoutes()).length, error: undefined };
        } catch (error) {
          if (!(error instanceof DinpError)) throw error;
          return { router: caddy.name, routes: undefined, error };
        }
      }),
    );
  }

  async #sync(member: Member, wanted: () => WantedRoutes, options: { dryRun: boolean }): Promise<RouteSync> {
    const router = member.caddy.name;
    let routes: Route[] = [];
    const missed = new Map(member.missed);
    try {
      const report = await member.caddy.sync(() => {
        const all = wanted();
        routes = all.routes.filter(({ app }) => !all.leave.has(app));
        return all;
      }, options);
      if (options.dryRun) return { router, ...report };
      for (const { app, upstreams } of routes) {
        if (member.missed.get(app) === missed.get(app)) member.missed.delete(app);
        member.upstreams.set(app, upstreams);
      }
      this.#answered(member);
      return { router, ...report };
    } catch (error) {
      if (!(error instanceof DinpError)) throw error;
      member.error = error;
      return { router, set: [], removed: [], problems: [error] };
    }
  }

  /** Makes a change on all; one that refuses it, or that none takes it, is the caller's to undo. */
  async #change(app: string, route: Route | undefined): Promise<string[]> {
    const before = this.#members.map(({ missed }) => new Map(missed));
    const results = await Promise.allSettled(this.#members.map((member) => this.#apply(member, app, route)));
    const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
    const fatal =
      errors.find((error) => !isMissed(error)) ?? (errors.length === results.length ? errors[0] : undefined);
    if (fatal !== undefined) {
      this.#members.forEach((member, i) => {
        restore(member.missed, before[i]!, app);
      });
      throw fatal;
    }
    const away = this.#members.filter((_, i) => results[i]!.status === 'rejected');
    for (const member of away) this.#retry(member);
    return away.map(({ caddy }) => caddy.name);
  }

  /** Gives a router a change, and with it all that it missed before. */
  async #apply(member: Member, app: string, route: Route | undefined): Promise<void> {
    member.missed.set(app, route);
    await this.#catchUp(member, app);
  }

  /** @param app whose refusal is thrown; those of others end nothing */
  async #catchUp(member: Member, app: string | undefined): Promise<void> {
    const changes = new Map(member.missed);
    try {
      await member.caddy.change(changes).catch(async (error: unknown) => {
        if (!isRefusal(error) || changes.size === 1) throw error;
        await this.#changeEach(member, changes, app);
      });
    } catch (error) {
      if (isMissed(error)) member.error = error;
      else {
        forget(member, changes);
        this.#answered(member);
      }
      throw error;
    }
    forget(member, changes);
    for (const [name, route] of changes) member.upstreams.set(name, route?.upstreams ?? []);
    this.#answered(member);
  }

  /** Of several changes one was refused, and Caddy takes all or none. */
  async #changeEach(member: Member, changes: Map<string, Route | undefined>, app: string | undefined): Promise<void> {
    const refused = new Map<string, DinpError>();
    for (const [name, route] of changes) {
      // Somebody has set a newer one meanwhile.
      if (!member.missed.has(name) || member.missed.get(name) !== route) continue;
      await member.caddy.change(new Map([[name, route]])).catch((error: unknown) => {
        if (!isRefusal(error)) throw error;
        refused.set(name, error);
      });
    }
    if (app !== undefined && refused.has(app)) throw refused.get(app);
  }

  /** It has answered: where it has all that it missed, whoever waited for it is told. */
  #answered(member: Member): void {
    if (member.error === undefined || member.missed.size > 0) return;
    member.error = undefined;
    this.#onAnswer(member.caddy.name);
  }

  /** Asks a router that missed something until it has it. */
  #retry(member: Member): void {
    if (member.retrying) return;
    member.retrying = true;
    const run = async () => {
      for (let pause = FIRST_RETRY_MS; member.missed.size > 0; pause = Math.min(pause * 2, LAST_RETRY_MS)) {
        await sleep(pause, undefined, { ref: false });
        // What goes wrong is seen in its state; refusals are dropped, as the reconciliation names them.
        if (member.missed.size > 0) await this.#catchUp(member, undefined).catch(() => undefined);
      }
    };
    void run().finally(() => {
      member.retrying = false;
    });
  }
}

/** It did not answer, and gets the change later. */
function isMissed(error: unknown): error is DinpError {
  return error instanceof DinpError && error.code === 'unavailable';
}

/** What was given to the router and not replaced meanwhile is no longer missed. */
function forget({ missed }: Member, changes: Map<string, Route | undefined>): void {
  for (const [app, route] of changes) if (missed.get(app) === route) missed.delete(app);
}

function restore(missed: Map<string, Route | undefined>, before: Map<string, Route | undefined>, app: string): void {
  if (before.has(app)) missed.set(app, before.get(app));
  else missed.delete(app);
}
