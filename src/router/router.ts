/** Where an app is reached, and what serves it now. */
export interface Route {
  app: string;
  /** Host names, `blog.localhost`; may be empty. */
  hosts: string[];
  /** The app's stable port on the server's address. */
  port: number;
  /** `127.0.0.1:20013`, one an instance; empty where nothing can answer. */
  upstreams: string[];
  /** What visitors read, with status 503, while there are no upstreams; `APP is stopped.` where not given. */
  idle?: string;
}

/** HTTP routing to live instances. Routes live in the router itself and outlive this server. */
export interface Router {
  /** Creates or changes the route of an app; swapping upstreams loses no request. @throws DinpError unavailable */
  setRoute(route: Route): Promise<void>;
  removeRoute(app: string): Promise<void>;
  /**
   * Waits until requests that were on their way to upstreams before `setRoute` took them out have ended, so that their
   * instances may be stopped. @returns whether they have within maxMs
   */
  drain(upstreams: string[], options: { maxMs: number; signal: AbortSignal }): Promise<boolean>;
  /** The routes that the router holds now. @throws DinpError unavailable */
  listRoutes(): Promise<Route[]>;
}
