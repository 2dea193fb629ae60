import { DinpError } from '../../domain/errors.ts';
import { BuildOutput, LineBuffer } from '../engine/output.ts';
import type { BaseCatalogue } from './bases.ts';

export interface CataloguedBasesOptions {
  bases: BaseCatalogue;
  /** Build a missing base of the catalogue when a push needs it, where that can be done here. */
  autoBases: boolean;
}

/** Who asks for a base. */
export interface Asker {
  /** For people: `Dockerfile`, `the base static`. */
  what: string;
  onOutput(text: string): void;
  signal: AbortSignal;
}

/** A base of the catalogue as a registry has it. */
export interface CataloguedBase {
  /** As the catalogue names it, with host and tag. */
  image: string;
  /** With host, without tag. */
  repository: string;
  digest: string;
}

/** Finds the bases of the operator's catalogue. No engine is needed for them. */
export class CataloguedBases {
  readonly #options: CataloguedBasesOptions;

  constructor(options: CataloguedBasesOptions) {
    this.#options = options;
  }

  /** A base, made from packages where it is missing. @throws DinpError refused, unavailable, canceled */
  async find(name: string, asker: Asker): Promise<CataloguedBase> {
    const { bases, autoBases } = this.#options;
    const { image, repository, digest, problem, buildable, remedies } = await bases.check(name, asker.signal);
    if (digest !== undefined && problem === undefined) return { image, repository, digest };
    if (!buildable || !autoBases) {
      throw new DinpError('refused', `The base ${name} cannot be used: ${problem ?? 'it is missing'}.`, {
        hint: buildable
          ? `Make it here, once: dinp ${remedies[0]}`
          : `Bring it, once: ${remedies.map((remedy) => `dinp ${remedy}`).join(', or ')}`,
      });
    }
    asker.onOutput(`The base ${name} is not in the registry yet: making it from Debian packages, once\n`);
    const output = new BuildOutput(asker.onOutput);
    const lines = new LineBuffer((line) => output.line(line));
    const made = await bases.ensure(name, (text) => lines.write(text), asker.signal);
    lines.flush();
    return { image, repository, digest: made.digest };
  }
}
