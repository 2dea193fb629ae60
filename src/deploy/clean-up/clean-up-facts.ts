import type { App } from '../../domain/app.ts';
import { formatImageRef } from '../../domain/image-ref.ts';
import type { KeepRules } from '../../domain/keep.ts';
import type { Target } from '../../run/target.ts';
import type { Store } from '../../store/store.ts';
import type { AppFacts, ImageFacts } from './clean-up-rules.ts';

const ALL = Number.MAX_SAFE_INTEGER;

export interface FactParts {
  store: Store;
  /** @throws DinpError config for a target that this server does not have */
  target(name: string | undefined): Target;
  repositories: { taggedCommits(app: string, limit: number): Promise<string[]> };
  /** What holds where dinp.yml says nothing. */
  keep: KeepRules;
}

/**
 * Gathers what the rules of clean-up need to know of every app, and all images that builds made. Of apps that are not asked
 * about, nothing may go.
 */
export async function gatherFacts(
  parts: FactParts,
  isAsked: (app: App) => boolean,
): Promise<{ apps: AppFacts[]; images: ImageFacts[] }> {
  const { store } = parts;
  const seen = new Map<number, Seen>();
  for (const app of store.apps.list()) if (isAsked(app)) seen.set(app.id, await lookAtApp(parts, app));
  // Rows are read when nothing is waited for any more: all of them are of one moment.
  const apps = store.apps.list().map((app): AppFacts => {
    const { id, name } = app;
    const found = seen.get(id) ?? { frozen: 'it is not what is cleaned up now', instancesOf: new Set(), tagged: [] };
    const frozen = store.changes.find(id) ? 'it is being renamed or removed' : found.frozen;
    const releases = store.releases.list(id, ALL).filter((release) => release.state !== 'gone');
    return { ...found, id, name, frozen, keep: keepOf(parts, app), releases, builds: store.builds.list(id, ALL) };
  });
  return { apps, images: listImages(store) };
}

/** What only targets and repositories know of an app. */
type Seen = Pick<AppFacts, 'frozen' | 'instancesOf' | 'tagged'>;

async function lookAtApp(parts: FactParts, app: App): Promise<Seen> {
  const instancesOf = new Set<number>();
  for (const name of parts.store.releases.targets(app.id)) {
    try {
      const target = parts.target(name);
      const instances = target.runs ? await target.list(app.name) : [];
      for (const { release } of instances) instancesOf.add(release);
    } catch (error) {
      const why = (error as Error).message.replace(/\.$/, '');
      return { frozen: `what runs on its target ${name} cannot be seen (${why})`, instancesOf, tagged: [] };
    }
  }
  const tagged = await parts.repositories.taggedCommits(app.name, keepOf(parts, app).tags);
  return { frozen: undefined, instancesOf, tagged };
}

/** All images that builds made, each once. */
function listImages(store: Store): ImageFacts[] {
  const byImage = new Map<string, { image: ImageFacts['image']; madeBy: ImageFacts['madeBy'][number][] }>();
  for (const { image, appId, buildId, tags } of store.images.list()) {
    const key = formatImageRef(image);
    const known = byImage.get(key) ?? { image, madeBy: [] };
    known.madeBy.push({ appId, buildId, tags });
    byImage.set(key, known);
  }
  return [...byImage.values()];
}

/** The live release's dinp.yml, and the server's config for what it does not say. */
function keepOf({ store, keep }: FactParts, app: App): KeepRules {
  const live = store.releases.findLive(app);
  return { ...keep, ...live?.keep };
}
