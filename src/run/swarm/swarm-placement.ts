import { DinpError } from '../../domain/errors.ts';
import type { InstanceSpec } from '../../domain/instance.ts';
import { engineVolumeName } from '../docker/docker-container.ts';
import { constraintOf } from './swarm-service.ts';
import { isOpen, type SwarmNode, type SwarmTask } from './swarm-state.ts';

/** Where an instance goes: what must always hold, and what only its first place must keep to. */
export interface Placement {
  constraints: string[];
  /** Keeps it off the nodes that have others of its kind; taken away once it has its place. */
  first: string[];
}

/** Node labels that say on which node a volume's data is: `dinp.volume.<name>=<server>`. */
export function volumeLabel(volume: string): string {
  return `dinp.volume.${engineVolumeName(volume)}`;
}

/**
 * Where an instance may be and where it should be put first.
 * @param siblings tasks of other instances of the same process and release
 * @throws DinpError unavailable where no node matches the wishes of dinp.yml; refused where its volumes are on several nodes
 */
export function placementOf(
  spec: InstanceSpec,
  options: { nodes: readonly SwarmNode[]; siblings: readonly SwarmTask[]; serverId: string },
): Placement {
  const { nodes, siblings, serverId } = options;
  const volumes = Object.keys(spec.volumes);
  // What has data stays with it: all instances share it.
  const pinned = volumes.map((volume) => `node.labels.${volumeLabel(volume)}==${serverId}`);
  if (pinned.length > 0) return { constraints: pinned, first: [] };
  const constraints = wishConstraints(spec, nodes);
  const taken = new Set(siblings.map(({ NodeID }) => NodeID));
  const free = nodes.filter((node) => isOpen(node) && matches(node, spec.hosts) && !taken.has(node.ID));
  const first = free.length === 0 ? [] : nodes.filter(({ ID }) => taken.has(ID)).map(({ ID }) => `node.id!=${ID}`);
  return { constraints, first };
}

/**
 * The node that a volume's data is on, or is to be on: all volumes of an instance share one. An instance with data of
 * its own goes to the node with the fewest tasks of ours.
 * @returns the node, and the volumes that it has no label for yet
 * @throws DinpError refused, unavailable
 */
export function volumeNode(
  spec: InstanceSpec,
  options: { nodes: readonly SwarmNode[]; tasks: readonly SwarmTask[]; serverId: string },
): { node: SwarmNode; missing: string[] } {
  const { nodes, tasks, serverId } = options;
  const volumes = Object.keys(spec.volumes);
  const hasLabel = (node: SwarmNode, volume: string) => volumeLabel(volume) in (node.Spec.Labels ?? {});
  const having = nodes.filter((node) => volumes.some((volume) => hasLabel(node, volume)));
  for (const node of having) refuseForeign(node, volumes, serverId);
  if (having.length > 1) {
    const names = having.map((node) => node.Description.Hostname).join(' and ');
    throw new DinpError('refused', `the volumes of ${spec.process} are on several nodes: ${names}.`, {
      hint: 'Bring their data to one node, and its labels with it: docker node update --label-rm, --label-add.',
    });
  }
  const count = (node: SwarmNode) => tasks.filter(({ NodeID }) => NodeID === node.ID).length;
  const open = nodes.filter((node) => isOpen(node) && matches(node, spec.hosts));
  const node = having[0] ?? open.sort((a, b) => count(a) - count(b))[0];
  if (node === undefined) throw noNode(spec.hosts ?? []);
  return { node, missing: volumes.filter((volume) => !hasLabel(node, volume)) };
}

/** Swarm wants all of its constraints to hold; of several wishes any one will do, so the nodes that match none are left out. */
function wishConstraints({ hosts = [] }: InstanceSpec, nodes: readonly SwarmNode[]): string[] {
  if (hosts.length === 0) return [];
  if (!nodes.some((node) => matches(node, hosts))) throw noNode(hosts);
  if (hosts.length === 1) return [constraintOf(hosts[0]!)];
  return nodes.filter((node) => !matches(node, hosts)).map(({ ID }) => `node.id!=${ID}`);
}

function matches(node: SwarmNode, wishes: readonly string[] = []): boolean {
  if (wishes.length === 0) return true;
  return wishes.some((wish) => {
    const at = wish.indexOf('=');
    if (at === -1) return wish === node.Description.Hostname;
    return node.Spec.Labels?.[wish.slice(0, at)] === wish.slice(at + 1);
  });
}

function refuseForeign(node: SwarmNode, volumes: string[], serverId: string): void {
  const foreign = volumes.find((volume) => {
    const owner = node.Spec.Labels?.[volumeLabel(volume)];
    return owner !== undefined && owner !== serverId;
  });
  if (foreign === undefined) return;
  const name = engineVolumeName(foreign);
  throw new DinpError('refused', `Volume ${name} of ${node.Description.Hostname} belongs to another dinp server.`, {
    hint: 'Rename the app here, or the volume in dinp.yml.',
  });
}

function noNode(wishes: readonly string[]): DinpError {
  const which = wishes.length === 0 ? 'takes new tasks' : `is ${wishes.join(' or ')}`;
  return new DinpError('unavailable', `no node of the swarm ${which}.`, {
    hint: 'The nodes and their labels: docker node ls; docker node inspect NODE',
  });
}
