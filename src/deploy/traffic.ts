import type { App } from '../domain/app.ts';
import type { InstanceSpec } from '../domain/instance.ts';
import type { Release } from '../domain/release.ts';
import type { Route, Router, RouteSync, WantedRoutes } from '../router/router.ts';
import type { Target } from '../run/target.ts';
import type { Store } from '../store/store.ts';
import type { Addresses } from './addresses.ts';
import { routeOf, upstreamsOf } from './app-routes.ts';
import type { InstancePlans } from './instance-plans.ts';
import { type Progress, SILENT } from './progress.ts';

export interface TrafficParts {
  store: Store;
  addresses: Addresses;
  router: Router | undefined;
  plans: InstancePlans;
  /** @throws DinpError config for a target this server does not have */
  target(name: string | undefined): Target;
  /** Of the instances that visitors could be led to, those that they should be; others are left as they are. */
  routable(specs: InstanceSpec[]): InstanceSpec[];
  /** Whether somebody is changing what runs of the app right now. */
  isBusy(app: App): boolean;
}

/** Leads visitors to the instances of apps. */
export class Traffic {
  readonly #parts: TrafficParts;

  constructor(parts: TrafficParts) {
    this.#parts = parts;
  }

  /** Points the app's address at the instances. */
  async switchTo(app: App, release: Release, specs: InstanceSpec[], progress: Progress): Promise<void> {
    const { router, addresses, store } = this.#parts;
    const reachable = this.#reachable(release, specs);
    const hasWeb = upstreamsOf(reachable).length > 0 || app.port !== undefined;
    if (!hasWeb) return;
    if (!router) {
      progress.line('No router is configured: the address changes with every release.');
      return;
    }
    const port = await addresses.ensureAppPort(app);
    const current = store.apps.findById(app.id)!;
    const route = routeOf(current, release, this.#parts.routable(reachable), {
      hosts: addresses.hosts(current, release),
      port,
    });
    const away = await router.setRoute(route);
    if (route.upstreams.length > 0) progress.line(`Traffic goes to ${specs[0]!.app} v${specs[0]!.release}`);
    for (const each of away) progress.line(`The router ${each} does not answer; it gets the route once it does.`);
  }

  /** Points the address at the live release again, where a rollout that came to nothing may have moved it. */
  async returnToLive(app: App): Promise<void> {
    const live = this.#live(app);
    if (app.stopped) return;
    if (live) await this.switchTo(app, live, await this.#parts.plans.plan(app, live), SILENT);
    else await this.#parts.router?.removeRoute(app.name);
  }

  /** Gives the app's address its host names as they are now, under the app's lock. @throws DinpError as Router.setRoute */
  async renew(app: App, progress: Progress): Promise<void> {
    const live = this.#live(app);
    if (live === undefined || !this.#parts.target(live.target).runs) return;
    await this.switchTo(app, live, app.stopped ? [] : await this.#parts.plans.plan(app, live), progress);
  }

  /**
   * Makes every router have the routes that the store says, all at once; what is right is not touched, nor apps whose
   * instances are being changed.
   * @param options.isAsked of other apps nothing is changed
   * @param options.dryRun nothing is changed at all
   */
  async sync(
    options: { isAsked(app: App): boolean; dryRun: boolean } = { isAsked: () => true, dryRun: false },
  ): Promise<RouteSync[]> {
    return (await this.#parts.router?.syncRoutes(() => this.#wantedRoutes(options.isAsked), options)) ?? [];
  }

  #wantedRoutes(isAsked: (app: App) => boolean): WantedRoutes {
    const { store } = this.#parts;
    const routes: Route[] = [];
    const leave = new Set<string>();
    for (const app of store.apps.list()) {
      const isLeft = !isAsked(app) || this.#parts.isBusy(app);
      const route = isLeft ? undefined : this.#wantedRoute(app);
      if (route) routes.push(route);
      else leave.add(app.name);
    }
    return { routes, leave };
  }

  /** undefined where none is known: no address yet, or instances that were never placed. */
  #wantedRoute(app: App): Route | undefined {
    const live = this.#live(app);
    if (live === undefined || app.port === undefined || this.#parts.store.changes.find(app.id)) return undefined;
    const target = this.#parts.target(live.target);
    if (!target.runs) return undefined;
    const specs = app.stopped ? [] : this.#parts.plans.forDisplay(live);
    const isPlaced = (spec: InstanceSpec) => !target.placeOf || target.placeOf(spec.name) !== undefined;
    const withPort = specs.filter((spec) => spec.port);
    // An engine that moves instances may have no place for one; the others have the visitors then.
    const reachable = target.schedules ? withPort.filter(isPlaced) : withPort;
    if (withPort.length > 0 && reachable.length === 0) return undefined;
    if (reachable.some((spec) => spec.port!.host === 0 || !isPlaced(spec))) return undefined;
    return routeOf(app, live, this.#parts.routable(reachable), {
      hosts: this.#parts.addresses.hosts(app, live),
      port: app.port,
    });
  }

  /** Those that can be reached: an instance that its engine has not placed yet has no address. */
  #reachable(release: Release, specs: InstanceSpec[]): InstanceSpec[] {
    if (!this.#parts.target(release.target).schedules) return specs;
    return specs.filter((spec) => spec.port?.address !== undefined);
  }

  #live(app: App): Release | undefined {
    return this.#parts.store.releases.findLive(app);
  }
}
