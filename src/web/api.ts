import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { buildView } from '../commands/builds.ts';
import { cleanLines } from '../commands/text.ts';
import type { Watcher } from '../deploy/pushes.ts';
import type { ArtifactDeploys, Taken } from '../deploy/uploads/artifact-deploys.ts';
import type { PartialUploads } from '../deploy/uploads/partial-uploads.ts';
import type { Received } from '../deploy/uploads/received-file.ts';
import type { Uploads } from '../deploy/uploads/uploads.ts';
import type { App } from '../domain/app.ts';
import { type Build, isFinished } from '../domain/build.ts';
import { DinpError } from '../domain/errors.ts';
import type { Identity } from '../domain/identity.ts';
import type { BuildLogs } from '../store/build-log.ts';
import type { Store } from '../store/store.ts';
import { sendError, sendJson } from './answers.ts';
import { wantedSha256 } from './digests.ts';
import { WebError } from './errors.ts';
import type { UploadSlots } from './slots.ts';

export interface ApiParts {
  store: Store;
  artifacts: Pick<ArtifactDeploys, 'check' | 'deployUpload'>;
  uploads: Pick<Uploads, 'receive' | 'newPath' | 'maxSize'>;
  partials: PartialUploads;
  slots: UploadSlots;
  buildLogs: Pick<BuildLogs, 'follow' | 'read'>;
  /** Shows a build to its end. Gives 0 when it released. */
  watchBuild(build: Build, watcher: Watcher): Promise<number>;
  /** Where an app is reached now. */
  addresses(app: App): string[];
  log: { info(fields: object, message: string): void; error(fields: object, message: string): void };
}

/** One request, once it is known whose it is. */
interface Asked {
  req: IncomingMessage;
  res: ServerResponse;
  /** Parameters behind `?`. */
  query: URLSearchParams;
  app: App;
  identity: Identity;
  /** Aborted when the client is gone. */
  signal: AbortSignal;
}

type Handler = (asked: Asked, id: string) => Promise<void>;

/**
 * The HTTP interface of deploys (docs/http-api.md): a token of one app uploads its artifact, whole or in pieces, and follows
 * its builds.
 */
export class Api {
  readonly #parts: ApiParts;
  readonly #routes: readonly (readonly [method: string, path: RegExp, handler: Handler])[];

  constructor(parts: ApiParts) {
    this.#parts = parts;
    this.#routes = [
      ['PUT', /^artifact$/, (asked) => this.#putArtifact(asked)],
      ['POST', /^uploads$/, (asked) => this.#beginUpload(asked)],
      ['HEAD', /^uploads\/([^/]+)$/, (asked, id) => this.#tellOffset(asked, id)],
      ['PATCH', /^uploads\/([^/]+)$/, (asked, id) => this.#addPiece(asked, id)],
      ['DELETE', /^uploads\/([^/]+)$/, (asked, id) => this.#abandon(asked, id)],
      ['GET', /^builds\/([1-9]\d{0,8})$/, (asked, number) => this.#showBuild(asked, number)],
      ['GET', /^builds\/([1-9]\d{0,8})\/log$/, (asked, number) => this.#showLog(asked, number)],
    ];
  }

  /** Answers one request; every error becomes an answer. */
  handle(req: IncomingMessage, res: ServerResponse): void {
    res.setHeader('cache-control', 'no-store');
    res.setHeader('x-content-type-options', 'nosniff');
    this.#answer(req, res)
      .catch((error: unknown) => sendError(req, res, error, this.#parts.log))
      .catch((err: unknown) => this.#parts.log.error({ err }, 'unexpected error'));
  }

  async #answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const url = URL.canParse(req.url ?? '', 'http://dinp') ? new URL(req.url!, 'http://dinp') : undefined;
    const [, name, rest] = /^\/api\/apps\/([^/]+)\/(.+)$/.exec(url?.pathname ?? '') ?? [];
    if (url === undefined || name === undefined || rest === undefined) throw nothingHere();
    const matching = this.#routes.filter(([, path]) => path.test(rest));
    if (matching.length === 0) throw nothingHere();
    const { app, identity } = this.#authenticate(req, name);
    const [, path, handler] = matching.find(([method]) => method === req.method) ?? [];
    if (path === undefined || handler === undefined) throw wrongMethod(matching.map(([method]) => method));
    const gone = new AbortController();
    res.once('close', () => gone.abort());
    await handler(
      { req, res, query: url.searchParams, app, identity, signal: gone.signal },
      path.exec(rest)?.[1] ?? '',
    );
  }

  /** @throws WebError 401; 403 for a token of another app, which is told nothing of this one */
  #authenticate(req: IncomingMessage, name: string): { app: App; identity: Identity } {
    const [, secret = ''] = /^Bearer +(\S+)$/i.exec(req.headers.authorization ?? '') ?? [];
    const token = this.#parts.store.tokens.authenticate(secret);
    const app = token && this.#parts.store.apps.findById(token.appId);
    if (!token || !app) {
      throw new WebError(401, 'denied', 'a deploy token is missing, is unknown or has expired.', {
        hint: 'Send "Authorization: Bearer TOKEN". To make one:  dinp tokens create APP',
        headers: { 'www-authenticate': 'Bearer realm="dinp"' },
      });
    }
    if (app.name !== name) throw new WebError(403, 'denied', `this token deploys ${app.name} only.`);
    return { app, identity: { name: `${token.name} (token)`, role: 'deployer', fingerprint: undefined, apps: [name] } };
  }

  /** The artifact itself, or one that came in pieces; deployed when it is whole. */
  async #putArtifact(asked: Asked): Promise<void> {
    const { query, app, identity } = asked;
    const wish = {
      base: query.get('base') ?? undefined,
      note: query.get('note') ?? undefined,
      force: isSet(query, 'force'),
      filename: query.get('filename') ?? 'upload',
    };
    this.#parts.artifacts.check(identity, app.name, wish);
    const upload = query.get('upload');
    await using received = upload === null ? await this.#receive(asked) : await this.#takePieces(asked, upload);
    const taken = await this.#parts.artifacts.deployUpload(identity, app.name, received, wish);
    const { sha256, size } = received;
    this.#parts.log.info({ app: app.name, by: identity.name, sha256, size, became: taken.kind }, 'upload received');
    await this.#answerTaken(asked, taken);
  }

  async #receive({ req, res, app, signal }: Asked): Promise<Received> {
    const sha256 = wantedSha256(req.headers);
    this.#checkBody(req, this.#parts.uploads.maxSize);
    using _slot = this.#parts.slots.take(app.id);
    return await this.#parts.uploads.receive(bodyOf(req, res), { signal, sha256 });
  }

  async #takePieces({ req, app }: Asked, id: string): Promise<Received> {
    if (hasBody(req)) throw new DinpError('usage', 'a request that names an upload has no body of its own.');
    return await this.#parts.partials.take(app, id, this.#parts.uploads.newPath(), wantedSha256(req.headers));
  }

  async #answerTaken(asked: Asked, taken: Taken): Promise<void> {
    const { res, query, app, signal } = asked;
    if (taken.kind === 'live') {
      const { number, source } = taken.release;
      sendJson(res, 200, { app: app.name, state: 'live', release: number, source, addresses: this.#addresses(app) });
      return;
    }
    const path = `/api/apps/${app.name}/builds/${taken.build.number}`;
    if (!isSet(query, 'wait')) {
      sendJson(res, 202, this.#view(app, taken.build), { location: path });
      return;
    }
    await this.#parts.watchBuild(taken.build, { write: async () => {}, signal });
    if (signal.aborted) return;
    const build = this.#parts.store.builds.get(taken.build.id);
    const view = this.#view(app, build);
    if (build.state === 'succeeded') return sendJson(res, 200, view, { location: path });
    const message = `build #${build.number} ${build.state}: ${build.reason ?? 'no reason is known'}`;
    const failure = { code: 'build-failed', message, hint: `Its output:  GET ${path}/log`, ...view };
    return sendJson(res, 422, failure, { location: path });
  }

  async #beginUpload({ req, res, app }: Asked): Promise<void> {
    if (hasBody(req)) throw new DinpError('usage', 'an upload begins without a body; its pieces come with PATCH.');
    const id = this.#parts.partials.begin(app);
    const headers = { location: `/api/apps/${app.name}/uploads/${id}`, 'upload-offset': '0' };
    sendJson(res, 201, { id, offset: 0 }, headers);
  }

  async #tellOffset({ res, app }: Asked, id: string): Promise<void> {
    res.writeHead(200, { 'upload-offset': this.#parts.partials.offset(app, id) });
    res.end();
  }

  async #addPiece({ req, res, app, signal }: Asked, id: string): Promise<void> {
    const text = String(req.headers['upload-offset'] ?? '');
    if (!/^\d{1,15}$/.test(text)) {
      throw new DinpError('usage', 'the header Upload-Offset must say where this piece begins, such as 0.');
    }
    const offset = Number(text);
    this.#parts.partials.offset(app, id);
    this.#checkBody(req, this.#parts.uploads.maxSize - offset);
    using _slot = this.#parts.slots.take(app.id);
    const end = await this.#parts.partials.append(app, id, { offset, stream: bodyOf(req, res), signal });
    sendJson(res, 200, { id, offset: end }, { 'upload-offset': String(end) });
  }

  async #abandon({ res, app }: Asked, id: string): Promise<void> {
    this.#parts.partials.abandon(app, id);
    res.writeHead(204);
    res.end();
  }

  async #showBuild({ res, app }: Asked, number: string): Promise<void> {
    sendJson(res, 200, this.#view(app, this.#findBuild(app, number)));
  }

  /** The output so far; with `follow` until the build has ended, whose state is a trailer then. */
  async #showLog({ res, query, app, signal }: Asked, number: string): Promise<void> {
    const build = this.#findBuild(app, number);
    const follow = isSet(query, 'follow');
    res.writeHead(200, {
      'content-type': 'text/plain; charset=utf-8',
      trailer: 'Dinp-Build-State',
      'x-accel-buffering': 'no',
    });
    const chunks = follow ? this.#parts.buildLogs.follow(build.id, signal) : this.#parts.buildLogs.read(build.id);
    for await (const lines of cleanLines(chunks)) {
      if (signal.aborted) return;
      if (!res.write(lines)) await once(res, 'drain', { signal }).catch(() => undefined);
    }
    if (signal.aborted) return;
    res.addTrailers({ 'Dinp-Build-State': this.#parts.store.builds.get(build.id).state });
    res.end();
  }

  #findBuild(app: App, number: string): Build {
    const build = this.#parts.store.builds.find(app.id, Number(number));
    if (build) return build;
    throw new DinpError('not-found', `${app.name} has no build ${number}.`);
  }

  #view(app: App, build: Build): object {
    const path = `/api/apps/${app.name}/builds/${build.number}`;
    const addresses = isFinished(build.state) && build.release !== undefined ? this.#addresses(app) : [];
    return { app: app.name, ...buildView(build), addresses, links: { build: path, log: `${path}/log` } };
  }

  #addresses(app: App): string[] {
    const current = this.#parts.store.apps.findById(app.id);
    return current ? this.#parts.addresses(current) : [];
  }

  /** Refuses by its headers what would be refused in the end. */
  #checkBody(req: IncomingMessage, maxSize: number): void {
    const type = req.headers['content-type'] ?? '';
    if (type.startsWith('multipart/')) {
      throw new WebError(415, 'usage', 'the body must be the file itself, not a form.', {
        hint: 'curl -T FILE  sends it so.',
      });
    }
    if ((req.headers['content-encoding'] ?? 'identity') !== 'identity') {
      throw new WebError(415, 'usage', 'the body must not be encoded on its way.');
    }
    if (Number(req.headers['content-length'] ?? 0) > maxSize) {
      throw new DinpError('too-large', `the body is larger than the ${maxSize} bytes that are taken.`, {
        hint: "The operator can raise uploads.maxSize in the server's config.",
      });
    }
  }
}

/**
 * The body, which clients that ask first are told to send now. The connection stays when reading stops early, so that the
 * reason can be told; a body that ends too early is an error.
 */
function bodyOf(req: IncomingMessage, res: ServerResponse): AsyncIterable<Uint8Array> {
  if (req.headers.expect?.toLowerCase() === '100-continue') res.writeContinue();
  return req.iterator({ destroyOnReturn: false });
}

function hasBody(req: IncomingMessage): boolean {
  return Number(req.headers['content-length'] ?? 0) > 0 || req.headers['transfer-encoding'] !== undefined;
}

function isSet(query: URLSearchParams, name: string): boolean {
  return query.has(name) && !['0', 'false', 'no'].includes(query.get(name)!);
}

function nothingHere(): WebError {
  return new WebError(404, 'not-found', 'there is nothing at this address.', {
    hint: 'PUT /api/apps/APP/artifact deploys an app.',
  });
}

function wrongMethod(methods: string[]): WebError {
  const allow = methods.join(', ');
  return new WebError(405, 'usage', `this address takes ${allow}.`, { headers: { allow } });
}
