import { openUpload } from '../artifact/archive/upload.ts';
import type { OpenTree } from '../deploy/deploy.ts';
import type { Downloads } from '../deploy/uploads/download.ts';
import type { Uploads } from '../deploy/uploads/uploads.ts';
import type { App } from '../domain/app.ts';
import type { Source } from '../domain/source.ts';

/** Opens artifacts that are no commits: what was uploaded, and what a dinp.yml names by address. */
export class ArtifactSources {
  readonly #uploads: Uploads;
  readonly #downloads: Downloads;

  constructor(uploads: Uploads, downloads: Downloads) {
    this.#uploads = uploads;
    this.#downloads = downloads;
  }

  /** @throws DinpError not-found when the file was removed since; refused for what cannot be deployed */
  async openUpload(app: App, { sha256, filename }: Source & { kind: 'upload' }): Promise<OpenTree> {
    return await this.#open(app, sha256, filename);
  }

  /** @throws DinpError as downloads and uploads throw; what is there with this checksum is not fetched again */
  async openDownload(app: App, artifact: { url: string; sha256: string }, signal: AbortSignal): Promise<OpenTree> {
    const { url, sha256 } = artifact;
    if (this.#uploads.find(app, sha256) === undefined) {
      await using received = await this.#downloads.fetch(url, { signal, sha256 });
      this.#uploads.keep(app, received);
    }
    return await this.#open(app, sha256, new URL(url).pathname);
  }

  async #open(app: App, sha256: string, filename: string): Promise<OpenTree> {
    return await openUpload(this.#uploads.path(app, sha256), filename, { sha256, scratch: this.#uploads.scratch });
  }
}
