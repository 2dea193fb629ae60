import type { App } from '../domain/app.ts';
import type { InstanceSpec } from '../domain/instance.ts';
import type { Release } from '../domain/release.ts';
import type { Route } from '../router/router.ts';
import { WEB } from './instances.ts';

/** Where instances of this machine listen. */
export const LOOPBACK = '127.0.0.1';

/** How an app is reached while these instances of its release run. */
export function routeOf(
  app: App,
  release: Release,
  specs: InstanceSpec[],
  address: Pick<Route, 'hosts' | 'port'>,
): Route {
  return { app: app.name, ...address, upstreams: upstreamsOf(specs), idle: whyIdle(app, release) };
}

/** Addresses of the instances that answer visitors. */
export function upstreamsOf(specs: InstanceSpec[]): string[] {
  return specs
    .filter((spec) => spec.process === WEB && spec.port)
    .map((spec) => `${spec.port!.address ?? LOOPBACK}:${spec.port!.host}`);
}

/** What visitors read where no instance can answer. */
function whyIdle(app: App, release: Release): string {
  const processes = release.services.flatMap((service) => service.processes);
  if (app.stopped) return `${app.name} is stopped.`;
  if (!processes.some((process) => process.name === WEB && process.port !== undefined))
    return `${app.name} has no web process.`;
  return `${app.name} runs no instance of its web process.`;
}
