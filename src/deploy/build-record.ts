import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import type { Build } from '../domain/build.ts';
import type { Source } from '../domain/source.ts';
import {
  CREATED,
  RECORD_APP,
  RECORD_BUILD,
  RECORD_SERVER,
  RECORD_TYPE,
  TITLE,
} from '../image/registry/record-annotations.ts';
import type { Referrer } from '../image/registry/referrers.ts';
import type { Manifest } from '../image/registry/registry.ts';
import type { MadeImage } from '../store/images.ts';

/** Logs longer than this are compressed, bytes. */
const LONG_LOG = 4096;
export const LOG_TYPE = 'text/plain';
export const LOG_GZIP_TYPE = 'text/plain+gzip';
const PROVENANCE_TYPE = 'application/vnd.in-toto+json';

/** What a record tells besides the build's own row. */
export interface RecordFacts {
  build: Build;
  made: MadeImage;
  /** Repository within the registry. */
  repository: string;
  log: Buffer;
  /** Fingerprint of the key that deployed, where it is still known. */
  fingerprint: string | undefined;
  /** Of the image that it was laid over, where the image says so. */
  base: { name: string; digest: string } | undefined;
  server: { id: string; version: string };
}

/** The log and the provenance of a build, as they are kept beside its image. The same build gives the same bytes. */
export function makeRecord(subject: Manifest, facts: RecordFacts): Referrer {
  const { build, log, server } = facts;
  const isLong = log.length > LONG_LOG;
  const provenance = Buffer.from(JSON.stringify(makeProvenance(facts), undefined, 2));
  return {
    subject,
    artifactType: RECORD_TYPE,
    blobs: [
      blob(
        isLong ? LOG_GZIP_TYPE : LOG_TYPE,
        isLong ? gzipSync(log) : log,
        `build-${build.number}.log${isLong ? '.gz' : ''}`,
      ),
      blob(PROVENANCE_TYPE, provenance, `build-${build.number}.provenance.json`),
    ],
    annotations: {
      [CREATED]: new Date(build.finishedAt ?? build.createdAt).toISOString(),
      [RECORD_SERVER]: server.id,
      [RECORD_APP]: build.app,
      [RECORD_BUILD]: String(build.number),
    },
  };
}

/** An in-toto statement (v1) with a SLSA provenance (v1) about one image. It holds no config value. */
export function makeProvenance({ build, made, repository, log, fingerprint, base, server }: RecordFacts): object {
  return {
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ name: repository, digest: takeApart(made.image.digest) }],
    predicateType: 'https://slsa.dev/provenance/v1',
    predicate: {
      buildDefinition: {
        buildType: 'urn:dinp:build:v1',
        externalParameters: {
          app: build.app,
          source: build.source,
          note: build.note ?? null,
          noCache: build.noCache,
          by: { key: build.by, fingerprint: fingerprint ?? null },
        },
        internalParameters: { recipe: made.recipe, contentKey: made.contentKey },
        resolvedDependencies: [
          resolvedSource(build.source),
          ...(base === undefined ? [] : [{ name: 'base', uri: `oci:${base.name}`, digest: takeApart(base.digest) }]),
        ],
      },
      runDetails: {
        builder: { id: `urn:dinp:server:${server.id}`, version: { dinp: server.version } },
        metadata: {
          invocationId: `${build.app}#${build.number}`,
          startedOn: iso(build.startedAt ?? build.createdAt),
          finishedOn: iso(build.finishedAt ?? build.createdAt),
          dinp_build: build.number,
          dinp_release: build.release ?? null,
          dinp_state: build.state,
          dinp_stages: stageTimes(build),
        },
        byproducts: [{ name: 'log', digest: takeApart(digestOf(log)) }],
      },
    },
  };
}

/** How long the build was in each stage, milliseconds. */
function stageTimes(build: Build): { stage: string; milliseconds: number }[] {
  return build.stages.map(({ stage, at }, i) => ({
    stage,
    milliseconds: (build.stages[i + 1]?.at ?? build.finishedAt ?? at) - at,
  }));
}

function resolvedSource(source: Source): object {
  switch (source.kind) {
    case 'commit':
      return { name: 'source', uri: `git+${source.ref}`, digest: { gitCommit: source.sha } };
    case 'upload':
      return { name: 'source', uri: `file:${encodeURIComponent(source.filename)}`, digest: { sha256: source.sha256 } };
    case 'image':
      return { name: 'source', uri: `oci:${source.reference}` };
  }
}

function blob(mediaType: string, source: Buffer, title: string): Referrer['blobs'][number] {
  return { mediaType, digest: digestOf(source), size: source.length, source, annotations: { [TITLE]: title } };
}

/** `sha256:ab…` as in-toto writes it. */
function takeApart(digest: string): Record<string, string> {
  const [algorithm = '', hex = ''] = digest.split(':');
  return { [algorithm]: hex };
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

function iso(at: number): string {
  return new Date(at).toISOString();
}
