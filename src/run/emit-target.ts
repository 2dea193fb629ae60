import { DinpError } from '../domain/errors.ts';
import type { RunningInstance } from '../domain/instance.ts';
import type { LogLine, Target } from './target.ts';

/**
 * Nothing runs here: a release ends with its unit files in the data folder, and somebody else takes them to where
 * they run, such as a cluster (`kustomize`). Asking what runs gives nothing, removing has nothing to do; all else is refused.
 */
export class EmitTarget implements Target {
  readonly name: string;
  readonly runs = false;
  readonly #folder: string;

  /** @param folder where the unit files are, for the texts of refusals */
  constructor(name: 'emit' | 'kustomize', folder: string) {
    this.name = name;
    this.#folder = folder;
  }

  async start(): Promise<void> {
    throw this.#refusal('start an instance');
  }

  async remove(): Promise<void> {}

  async list(): Promise<RunningInstance[]> {
    return [];
  }

  // biome-ignore lint/correctness/useYield: it has nothing to give, and says so
  async *logs(): AsyncGenerator<LogLine> {
    throw this.#refusal('read logs');
  }

  async exec(): Promise<number> {
    throw this.#refusal('run a command in an instance');
  }

  async runOnce(): Promise<number> {
    throw this.#refusal('run a command');
  }

  async restart(): Promise<void> {
    throw this.#refusal('restart an instance');
  }

  async removeVolume(): Promise<void> {}

  #refusal(doing: string): DinpError {
    return new DinpError('refused', `The target ${this.name} runs nothing, so it cannot ${doing}.`, {
      hint: `Its unit files are in ${this.#folder}. To run apps here, set the target docker or systemd.`,
    });
  }
}
