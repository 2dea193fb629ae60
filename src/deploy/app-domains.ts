import type { App } from '../domain/app.ts';
import { DinpError } from '../domain/errors.ts';
import { nearest, printable } from '../domain/names.ts';
import type { Release } from '../domain/release.ts';
import type { Store } from '../store/store.ts';
import type { Addresses } from './addresses.ts';
import type { Progress } from './progress.ts';
import type { Rollouts } from './rollout.ts';
import type { Traffic } from './traffic.ts';

/** A host name of an app, and where it comes from. */
export interface AppDomain {
  app: string;
  name: string;
  /** `server`: under the server's own domain; `added`: by an operator; `dinp.yml`: by the live release. */
  from: 'server' | 'added' | 'dinp.yml';
  /** `https://www.example.org`, where the router serves it. */
  url: string | undefined;
}

export interface DomainParts {
  store: Store;
  rollouts: Pick<Rollouts, 'exclusively' | 'tidyLater'> & { traffic: Pick<Traffic, 'renew'> };
  addresses: Pick<Addresses, 'hosts' | 'urlOf' | 'isReserved'>;
}

/** Host names that operators give to apps, which need no release to take effect and outlive all of them. */
export class AppDomains {
  readonly #parts: DomainParts;

  constructor(parts: DomainParts) {
    this.#parts = parts;
  }

  /** All host names of an app. */
  list(app: App): AppDomain[] {
    const { store, addresses } = this.#parts;
    const added = store.domains.list(app.id).filter((domain) => domain.added);
    return addresses.hosts(app, this.#live(app)).map((name) => ({
      app: app.name,
      name,
      from: addresses.isReserved(name) ? 'server' : added.some((each) => each.name === name) ? 'added' : 'dinp.yml',
      url: addresses.urlOf(name),
    }));
  }

  /**
   * Gives an app host names, at once and for all releases to come.
   * @param names as parseHostName gives them
   * @throws DinpError exists naming the app that has one; refused for names under the server's domain; as Router.setRoute
   */
  async add(app: App, names: string[], progress: Progress): Promise<void> {
    const { store, rollouts } = this.#parts;
    await rollouts.exclusively(app, progress, async (current) => {
      const had = store.domains.list(app.id).filter(({ added }) => added);
      const fresh = names.filter((name) => !had.some((domain) => domain.name === name));
      for (const name of fresh) this.#checkFree(current, name);
      store.domains.add(app.id, fresh);
      await this.#route(current, progress, () => store.domains.remove(app.id, fresh, this.#manifestDomains(current)));
    });
  }

  /** Takes host names from an app again. @throws DinpError not-found; refused for those of dinp.yml; as Router.setRoute */
  async remove(app: App, names: string[], progress: Progress): Promise<void> {
    const { store, rollouts } = this.#parts;
    await rollouts.exclusively(app, progress, async (current) => {
      for (const name of names) this.#checkRemovable(current, name);
      store.domains.remove(app.id, names, this.#manifestDomains(current));
      await this.#route(current, progress, () => store.domains.add(app.id, names));
      for (const name of names.filter((each) => this.#manifestDomains(current).includes(each)))
        progress.line(`${name} stays: the dinp.yml of the live release has it as well.`);
    });
  }

  /** A change that no router takes is none. */
  async #route(app: App, progress: Progress, undo: () => void): Promise<void> {
    try {
      await this.#parts.rollouts.traffic.renew(app, progress);
    } catch (error) {
      undo();
      // Where one of several routers took it.
      await this.#parts.rollouts.traffic.renew(app, progress).catch(() => this.#parts.rollouts.tidyLater(app));
      throw error;
    }
  }

  #checkFree(app: App, name: string): void {
    const { store, addresses } = this.#parts;
    if (addresses.isReserved(name)) {
      throw new DinpError('refused', `${name} is under the server's own domain, whose names are those of apps.`, {
        hint: 'Every app has APP.DOMAIN without being asked; to change that name: dinp apps rename APP NAME',
      });
    }
    const owner = store.domains.findOwner(name);
    if (owner === undefined || owner === app.id) return;
    const other = store.apps.findById(owner)!.name;
    const isAdded = store.domains.list(owner).some((domain) => domain.name === name && domain.added);
    throw new DinpError('exists', `${name} is the address of ${other} already.`, {
      hint: isAdded
        ? `To take it from there: dinp domains remove ${other} ${name}`
        : `Its dinp.yml has it: take it out there and push.`,
    });
  }

  #checkRemovable(app: App, name: string): void {
    const domains = this.list(app);
    const found = domains.find((domain) => domain.name === name);
    if (found?.from === 'added') return;
    if (found?.from === 'dinp.yml') {
      throw new DinpError('refused', `${name} is in the dinp.yml of ${app.name}.`, {
        hint: 'Take it out of "domains" there and push.',
      });
    }
    if (found?.from === 'server') {
      throw new DinpError('refused', `${name} is the name that every app has under the server's domain.`, {
        hint: `To change it: dinp apps rename ${app.name} NAME`,
      });
    }
    const added = domains.filter(({ from }) => from === 'added').map((domain) => domain.name);
    const near = nearest(name, added);
    throw new DinpError('not-found', `${app.name} has no domain ${printable(name)}.`, {
      hint: near === undefined ? `dinp domains list ${app.name} shows what it has.` : `Did you mean ${near}?`,
    });
  }

  #manifestDomains(app: App): string[] {
    return this.#live(app)?.domains ?? [];
  }

  #live(app: App): Release | undefined {
    return this.#parts.store.releases.findLive(app);
  }
}
