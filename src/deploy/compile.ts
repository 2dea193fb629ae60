import { posix } from 'node:path';
import type { Readable } from 'node:stream';
import type { Build } from '../domain/build.ts';
import type { Compiled, CompilePlan } from '../domain/compile-plan.ts';
import { DinpError } from '../domain/errors.ts';
import { printable } from '../domain/names.ts';
import type { Tree } from '../domain/tree.ts';
import type { ToolchainImages } from '../image/bases/toolchain-images.ts';
import type { CompiledImages } from '../image/compiled-images.ts';
import { contextTar } from '../image/engine/context.ts';
import { LineBuffer, BuildOutput as ToolOutput } from '../image/engine/output.ts';
import type { CommandEnd, Toolchain, Toolchains } from '../run/toolchain/toolchain.ts';
import type { BuildOutput } from './build-output.ts';

export interface CompilerParts {
  toolchainImages: ToolchainImages;
  toolchains: Toolchains;
  images: CompiledImages;
  /** The files of a tar that the engine makes of a folder or file. */
  openOutput(tar: Readable, what: string): Promise<Tree & AsyncDisposable>;
}

export interface CompileRequest {
  build: Build;
  plan: CompilePlan;
  /** The files that `plan.sources` is a folder of. */
  tree: Tree;
  /** Of the image within the registry. */
  repository: string;
  output: BuildOutput;
  /** Closes what the compiled files are read from. */
  scope: AsyncDisposableStack;
  signal: AbortSignal;
}

/** Has a toolchain container compile what dinp.yml says, unless the registry has the image of the same sources already. */
export class Compiler {
  readonly #parts: CompilerParts;

  constructor(parts: CompilerParts) {
    this.#parts = parts;
  }

  /**
   * @returns the files that the builder left, or the image that was made of the same sources before; and the key of these
   * @throws DinpError build-failed for a script that fails, with its last lines; refused where there is no such builder or no output;
   *   unavailable, canceled
   */
  async compile(request: CompileRequest): Promise<{ compiled: Compiled; key: string }> {
    const { build, plan, repository, output, signal } = request;
    const { toolchainImages, images } = this.#parts;
    const asker = { what: 'The builder of dinp.yml', onOutput: (text: string) => output.raw(text), signal };
    const image = await toolchainImages.find(plan.image, asker);
    const key = images.keyOf(plan, image.is);
    const found = build.noCache ? undefined : await images.find(repository, key, signal);
    if (found !== undefined) {
      output.line('Unchanged: the registry has the image of these sources, so no script has to run');
      return { compiled: { kind: 'kept', ...found }, key };
    }
    return { compiled: { kind: 'files', tree: await this.#run(request, await image.provide()) }, key };
  }

  /** Notes of what an image was compiled, for the next time. */
  async remember(image: { repository: string; digest: string }, key: string, signal: AbortSignal): Promise<void> {
    await this.#parts.images.remember(image, key, signal);
  }

  async #run({ build, plan, tree, output, scope, signal }: CompileRequest, image: string): Promise<Tree> {
    const commit: Record<string, string> = build.source.kind === 'commit' ? { DINP_COMMIT: build.source.sha } : {};
    const { app, appId, id } = build;
    const { workdir } = plan;
    const job = { app, appId, build: id, image, workdir, env: { ...plan.env, ...commit } };
    await using toolchain = await this.#parts.toolchains.start(job, signal);
    const files = tree.entries
      .filter(({ path }) => plan.sources === '.' || path.startsWith(`${plan.sources}/`))
      .map((entry) => ({
        path: plan.sources === '.' ? entry.path : entry.path.slice(plan.sources.length + 1),
        mode: entry.mode,
        entry,
      }));
    await toolchain.put(contextTar(tree, files, { below: workdir.slice(1), owner: toolchain.owner }));
    await runCommands(toolchain, plan, output);
    return scope.use(await this.#take(toolchain, plan));
  }

  async #take(toolchain: Toolchain, plan: CompilePlan): Promise<Tree & AsyncDisposable> {
    const path = posix.join(plan.workdir, plan.dir, plan.output);
    const tar = await toolchain.take(path);
    if (tar === undefined) throw noOutput(plan, await toolchain.listNearest(path));
    const files = await this.#parts.openOutput(tar, plan.output);
    if (files.entries.length > 0) return files;
    await files[Symbol.asyncDispose]();
    throw new DinpError('refused', `The scripts left ${plan.output} empty, and dinp.yml says that it is the output.`, {
      hint: 'Correct output: in dinp.yml, or what the scripts do.',
    });
  }
}

/** @throws DinpError build-failed for the first that fails */
async function runCommands(toolchain: Toolchain, plan: CompilePlan, output: BuildOutput): Promise<void> {
  const tool = new ToolOutput((text) => output.raw(text));
  for (const command of plan.commands) {
    tool.newStep();
    for (const [i, line] of command.line.trimEnd().split('\n').entries())
      output.line(`${i === 0 ? '$' : '>'} ${printable(line)}`);
    const lines = new LineBuffer((line) => tool.line(line));
    const end = await toolchain.run(command.line, posix.join(plan.workdir, plan.dir), (chunk) => lines.write(chunk));
    lines.flush();
    if (end.status !== 0) throw failed(plan, command, end, tool.tail());
  }
}

function failed(
  { image }: CompilePlan,
  { script, line }: CompilePlan['commands'][number],
  { status, outOfMemory }: CommandEnd,
  detail: string,
): DinpError {
  const first = printable(line.trim().split('\n')[0]!);
  const shown = first.length > 80 || line.trim().includes('\n') ? `${first.slice(0, 80)}…` : first;
  const why = outOfMemory
    ? 'It used all the memory that a builder has, and was killed. Let it work on less at a time, or give the compiler a limit (such as MAVEN_OPTS: -Xmx1g in env).'
    : status === 127
      ? `The builder ${image} may lack that program. Name an image that has it, in builder.image of dinp.yml.`
      : script === 'scripts.test'
        ? 'Nothing was deployed. Correct what the tests found, commit and push again.'
        : 'Nothing was deployed. Correct it, commit and push again.';
  return new DinpError('build-failed', `${script}: "${shown}" ended with exit status ${status}.`, {
    detail,
    hint: why,
  });
}

function noOutput(
  { output }: CompilePlan,
  { folder, names, more }: { folder: string; names: string[]; more: boolean },
): DinpError {
  const found = names.length === 0 ? 'is empty' : `holds ${names.map(printable).join(', ')}${more ? ' …' : ''}`;
  return new DinpError('refused', `The scripts left no ${output}, and dinp.yml says that it is the output.`, {
    detail: `${printable(folder)} ${found}`,
    hint: 'Correct output: in dinp.yml, or what the scripts do.',
  });
}
