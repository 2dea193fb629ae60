import { DinpError } from '../../domain/errors.ts';
import type { InstanceSpec } from '../../domain/instance.ts';
import type { Host } from '../host.ts';
import type { Target } from '../target.ts';
import type { FleetClient, FleetMachine } from './fleet-client.ts';

/** A machine of fleet that is a host of this server too, so that more can be done there than fleet's API does. */
export interface FleetAccess {
  host: Host;
  /** What systemd there knows of the units that fleet has given it. */
  units: Target;
}

/** The machines of a cluster: which there are, and what this server brings to them past fleet. */
export class FleetMachines {
  readonly #client: FleetClient;
  readonly #access: (address: string) => FleetAccess | undefined;
  readonly #environmentFolder: string;
  /** Ids of the machines that have the files of an instance. */
  readonly #filled = new Map<string, Set<string>>();

  constructor(options: {
    client: FleetClient;
    access(address: string): FleetAccess | undefined;
    environmentFolder: string;
  }) {
    this.#client = options.client;
    this.#access = options.access;
    this.#environmentFolder = options.environmentFolder;
  }

  /** @throws DinpError unavailable where fleet names none: then it does not even hear of the one that answers */
  async list(): Promise<FleetMachine[]> {
    const machines = await this.#client.machines();
    if (machines.length > 0) return machines;
    throw new DinpError('unavailable', `fleet at ${this.#client.endpoint} names no machine.`, {
      hint: 'Its etcd may have lost its data, or fleetd its connection to it: journalctl -u fleet',
    });
  }

  /** A machine that the instance may run on and that is reached. */
  reached({ fleet = {} }: InstanceSpec, machines: readonly FleetMachine[]): FleetAccess | undefined {
    const pairs = (fleet.MachineMetadata ?? []).map((pair) => [pair.slice(0, pair.indexOf('=')), pair] as const);
    const fits = machines.filter(({ id, metadata }) => {
      const isOne = fleet.MachineID === undefined || fleet.MachineID === id;
      return (
        isOne &&
        pairs.every(([key]) => pairs.some(([other, pair]) => other === key && `${key}=${metadata[key]}` === pair))
      );
    });
    return fits.map(({ primaryIP }) => this.#access(primaryIP)).find((access) => access !== undefined);
  }

  /**
   * Puts an instance's config on the machines that do not have it yet. One that does not answer is left out.
   * @param options.all they must reach every machine of the cluster
   * @throws DinpError refused where a machine is no host of this server; unavailable where none answers
   */
  async putFiles(
    spec: InstanceSpec,
    files: readonly { path: string; text: string }[],
    machines: readonly FleetMachine[],
    options: { all: boolean } = { all: false },
  ): Promise<void> {
    if (files.length === 0) return;
    const hosts = machines.map((machine) => ({ ...machine, access: this.#access(machine.primaryIP) }));
    const strange = hosts.filter(({ access }) => access === undefined);
    if (options.all && strange.length > 0) throw cannotHide(spec, strange);
    const filled = this.#filled.get(spec.name) ?? new Set();
    this.#filled.set(spec.name, filled);
    const problems: unknown[] = [];
    const put = async ({ id, access }: (typeof hosts)[number]) => {
      if (access === undefined || filled.has(id)) return;
      try {
        for (const { path, text } of files) await access.host.putFile(path, text, 0o600);
        filled.add(id);
      } catch (error) {
        problems.push(error);
      }
    };
    await Promise.all(hosts.map(put));
    if (filled.size === 0 && problems.length > 0) throw problems[0];
  }

  /** Takes the files of instances from all machines that are reached. One that does not answer keeps them, for root alone to read. */
  async removeFiles(instances: readonly string[]): Promise<void> {
    for (const name of instances) this.#filled.delete(name);
    const paths = instances.flatMap((name) => [`${name}.env`, `${name}.systemd-env`]);
    const argv = ['rm', '-f', '--', ...paths.map((path) => `${this.#environmentFolder}/${path}`)];
    const machines = await this.#client.machines();
    const hosts = machines.flatMap(({ primaryIP }) => this.#access(primaryIP)?.host ?? []);
    await Promise.all(hosts.map((host) => host.run(argv).catch(() => undefined)));
  }
}

/** What stands in a unit can be read by everybody who reads the API, or etcd. */
function cannotHide({ app }: InstanceSpec, machines: readonly FleetMachine[]): DinpError {
  const names = machines.map(({ primaryIP }) => primaryIP).join(', ');
  return new DinpError('refused', `${app} has config, and ${names} of fleet cannot be given it unseen by others.`, {
    hint: `Take those machines up as hosts, so that it travels by SSH (dinp hosts add NAME ssh://root@${machines[0]!.primaryIP}), or let it stand in units, for all who read fleet's API or etcd: fleet.configInUnits: true in the server's config.`,
  });
}
