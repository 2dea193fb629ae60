import { DinpError } from '../domain/errors.ts';
import { printable } from '../domain/names.ts';
import type { ImagePlan } from '../domain/plan.ts';
import type { Tree } from '../domain/tree.ts';
import type { ContextFile } from './context.ts';

type LayersPlan = Extract<ImagePlan, { kind: 'layers' }>;

/** Where the placed files lie in the context; its inside mirrors the image's root. */
const ROOT = 'root';

/**
 * The context of a layers plan: the placed files under their paths in the image, and a Dockerfile that lays them over the base.
 * @param base reference of the base by digest
 * @throws DinpError refused for files that are not in the commit and values that a Dockerfile cannot hold
 */
export function layersContext(
  plan: LayersPlan,
  tree: Tree,
  base: string,
): { dockerfile: string; files: ContextFile[] } {
  const files = plan.files.map((placed): ContextFile => {
    const entry = tree.find(placed.from);
    if (entry === undefined) throw new DinpError('refused', `${printable(placed.from)} is not in the commit.`);
    const parts = placed.to.split('/').slice(1);
    if (!placed.to.startsWith('/') || parts.some((part) => part === '' || part === '.' || part === '..')) {
      throw new DinpError('refused', `${printable(placed.to)} cannot be a path in an image.`);
    }
    return { path: `${ROOT}${placed.to}`, mode: placed.mode ?? entry.mode, entry };
  });
  return { dockerfile: layersDockerfile(plan, base), files };
}

/** The Dockerfile of a layers plan. */
export function layersDockerfile(plan: LayersPlan, base: string): string {
  const lines = [`FROM ${base}`];
  if (plan.files.length > 0) lines.push(`COPY ["${ROOT}/", "/"]`);
  if (plan.workdir !== undefined) lines.push(`WORKDIR ${quote(plan.workdir, 'the working directory')}`);
  for (const [name, value] of Object.entries(plan.env).sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name))
      throw new DinpError('refused', `"${printable(name)}" cannot be the name of a variable.`);
    lines.push(`ENV ${name}=${quote(value, `the value of ${name}`)}`);
  }
  if (plan.port !== undefined) lines.push(`EXPOSE ${plan.port}`);
  // A base's entrypoint would run before our command, with the command as its arguments.
  if (plan.command !== undefined) lines.push('ENTRYPOINT []', `CMD ${JSON.stringify(plan.command)}`);
  return `${lines.join('\n')}\n`;
}

/** Double quotes, inside which a Dockerfile knows `\`, `"` and `$`. */
function quote(value: string, what: string): string {
  if (/[\r\n\0]/.test(value)) {
    throw new DinpError('refused', `${what} holds a line break, which an image's settings cannot.`, {
      hint: 'Set it with dinp config set, which takes any text.',
    });
  }
  return `"${value.replace(/[\\"$]/g, '\\$&')}"`;
}
