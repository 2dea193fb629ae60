import type { Command } from 'commander';
import { DinpError } from '../domain/errors.ts';
import { formatImageRef } from '../domain/image-ref.ts';
import type { InspectedImage, InspectedLayer } from '../image/registry/inspect-image.ts';
import type { Bind } from './bind.ts';
import type { Call } from './context.ts';
import { findApp, findRelease } from './lookup.ts';
import { printJson } from './print.ts';
import { renderFields, renderTable } from './table.ts';

export function defineImages(program: Command, bind: Bind): void {
  const images = program.command('images').description('images of releases');
  images
    .command('inspect')
    .argument('<app>')
    .description('layers of an image: what each holds, its size, and whether the release before has it too')
    .option('--release <number>', 'the live one where none is given')
    .option(
      '--json',
      'print JSON: image, key, created, platform, labels, layers (digest, size, holds, createdBy, reused)',
    )
    .action(bind(inspect));
}

interface Shown extends InspectedLayer {
  /** Also in an image of the release before: pulled and stored once. */
  reused: boolean;
}

async function inspect(call: Call, name: string, options: { release?: string; json?: boolean }): Promise<void> {
  const app = findApp(call, name);
  const release = findRelease(call, app, options.release);
  const before = await layersBefore(call, app.id, release.number);
  const images: { image: string; about: InspectedImage; layers: Shown[] }[] = [];
  for (const { image } of release.services) {
    const about = await call.inspectImage(image, call.out.signal);
    if (about === undefined) {
      throw new DinpError('not-found', `the registry does not have ${formatImageRef(image)} any more.`, {
        hint: `Deploy it again to have it made anew, or see ${call.program} releases list ${app.name}`,
      });
    }
    const layers = about.layers.map((layer) => ({ ...layer, reused: before.has(layer.digest) }));
    images.push({ image: formatImageRef(image), about, layers });
  }
  if (options.json) return printJson(call, images.map(view));
  const texts = images.map(({ image, about, layers }) => describe(call, release.number, image, about, layers));
  await call.out.stdout(texts.join('\n'));
}

/** Digests of the layers of the release before, as far as the registry still has its images. */
async function layersBefore(call: Call, appId: number, number: number): Promise<Set<string>> {
  const release = call.store.releases.find(appId, number - 1);
  const found = (release?.services ?? []).map(({ image }) => call.inspectImage(image, call.out.signal));
  return new Set((await Promise.all(found)).flatMap((about) => about?.layers.map((layer) => layer.digest) ?? []));
}

function view({ image, about, layers }: { image: string; about: InspectedImage; layers: Shown[] }): object {
  return {
    image,
    key: about.key ?? null,
    created: about.created ?? null,
    platform: about.platform,
    labels: about.labels,
    layers: layers.map(({ digest, size, holds, createdBy, reused }) => ({ digest, size, holds, createdBy, reused })),
  };
}

function describe(call: Call, release: number, image: string, about: InspectedImage, layers: Shown[]): string {
  const base = about.labels['org.opencontainers.image.base.name'];
  const fields = renderFields({
    Image: image,
    Release: `v${release}`,
    Platform: about.platform,
    Base: base && `${base}@${about.labels['org.opencontainers.image.base.digest'] ?? '?'}`,
    Commit: about.labels['org.opencontainers.image.revision'],
    'Content key': about.key,
  });
  const table = renderTable(
    [
      { title: 'LAYER', value: (layer) => layer.digest.slice(0, 19) },
      { title: 'SIZE', value: (layer) => megabytes(layer.size), right: true },
      { title: 'HOLDS', value: (layer) => (layer.holds === 'other' ? '-' : layer.holds) },
      { title: 'REUSED', value: (layer) => (layer.reused ? `as in v${release - 1}` : 'new') },
      { title: 'MADE BY', value: (layer) => layer.createdBy, shrink: true },
    ],
    layers,
    call.out.columns,
  );
  return `${fields}\n${table}`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(bytes < 1e6 ? 2 : 1)} MB`;
}
