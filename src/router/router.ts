import type { DinpError } from '../domain/errors.ts';

/** Where an app is reached, and what serves it now. */
export interface Route {
  app: string;
  /** Host names, `blog.localhost`, `*.example.org`; may be empty. */
  hosts: string[];
  /** The app's stable port on the server's address. */
  port: number;
  /** `127.0.0.1:20013`, one an instance; empty where nothing can answer. */
  upstreams: string[];
  /** What visitors read, with status 503, while there are no upstreams; `APP is stopped.` where not given. */
  idle?: string;
}

/** All routes as they should be. */
export interface WantedRoutes {
  routes: Route[];
  /** Apps whose routes are to be left as they are, whatever that is: somebody is changing them. */
  leave: ReadonlySet<string>;
}

/** What it took to set one router right. */
export interface RouteSync {
  /** Its admin address. */
  router: string;
  /** Apps whose routes were missing or not as they should be. */
  set: string[];
  /** Apps that had a route and should have none. */
  removed: string[];
  /** Routes that it does not take, or that it does not answer. */
  problems: DinpError[];
}

/** How one router is. */
export interface RouterState {
  /** Its admin address. */
  router: string;
  /** How many routes of ours it has; undefined where it does not answer. */
  routes: number | undefined;
  error: DinpError | undefined;
}

/**
 * HTTP routing to live instances, by one router or several that are kept alike. Routes live in the routers themselves
 * and outlive this server.
 */
export interface Router {
  /**
   * Creates or changes the route of an app; swapping upstreams loses no request.
   * @returns routers that do not answer; they get the route once they do
   * @throws DinpError unavailable where none answers; what a router that answers refuses it for
   */
  setRoute(route: Route): Promise<string[]>;
  /** @returns and throws as setRoute does */
  removeRoute(app: string): Promise<string[]>;
  /**
   * Makes every router have exactly these routes of this server, and changes nothing that is right. Routes of other
   * servers and all else in a router's config are left alone.
   * @param wanted asked, without waiting, when its turn has come: no setRoute comes between its answer and the change
   * @param options.dryRun only says what differs
   */
  syncRoutes(wanted: () => WantedRoutes, options: { dryRun: boolean }): Promise<RouteSync[]>;
  /**
   * Waits until requests that were on their way to upstreams before `setRoute` took them out have ended, so that their
   * instances may be stopped. @returns whether they have within maxMs
   */
  drain(upstreams: string[], options: { maxMs: number; signal: AbortSignal }): Promise<boolean>;
  /**
   * Which routers may still send an app's requests to any of these upstreams: those that missed a change of it, do not
   * answer, and may serve visitors all the same. The instances must stay.
   */
  stillUsing(app: string, upstreams: string[]): string[];
  /** Whether the routers answer, and what they have. */
  check(): Promise<RouterState[]>;
}
