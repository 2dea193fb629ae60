import { createHash } from 'node:crypto';
import type { ContainerSpec, HealthConfig, Service, ServiceSpec } from 'dockerode';
import { formatImageRef } from '../../domain/image-ref.ts';
import type { InstanceSpec } from '../../domain/instance.ts';
import type { UnitFile } from '../../domain/unit-file.ts';
import { CAPABILITIES, graceSeconds, LABEL, LOG_CONFIG, PIDS_LIMIT, volumeMounts } from '../docker/docker-container.ts';

/** Labels of services beside those that containers have. */
export const SERVICE_LABEL = {
  /** The instance's name: that of the service may be shorter. */
  instance: 'dinp.instance',
  /** What it was made of, as `fingerprint` gives it. */
  made: 'dinp.made-of',
  /** Present where Swarm runs the health command itself, so that a running task is a healthy one. */
  checked: 'dinp.health-command',
} as const;

/** The fields of a service that we write, all of them present. */
export type InstanceService = ServiceSpec & {
  Name: string;
  Labels: Record<string, string>;
  TaskTemplate: { ContainerSpec: ContainerSpec; Placement: { Constraints: string[] } };
};

const SECOND = 1_000_000_000;
const MILLISECOND = 1_000_000;
/** Swarm takes names as labels of DNS (RFC 1035, 2.3.4). */
const NAME_LIMIT = 63;
/** Swarm knows no growing pause: short enough for a node that died, long enough for a program that cannot start. */
const RESTART_DELAY = 2 * SECOND;

/** The service's name: the instance's own, or where that is too long for Swarm its head with a hash of all of it. */
export function serviceName(instance: string): string {
  if (instance.length <= NAME_LIMIT) return instance;
  const hash = createHash('sha256').update(instance).digest('hex').slice(0, 10);
  return `${instance.slice(0, NAME_LIMIT - hash.length - 1).replace(/-+$/, '')}-${hash}`;
}

/**
 * The Swarm service of one instance: one replica with its port published by its node itself, no ingress, no virtual IP.
 * Each instance is a service of its own, so that any one of them can be checked, get traffic and be removed by name.
 * @param spec its image as all nodes pull it
 * @param options.constraints where it may be, as Swarm writes it: `node.labels.zone==a`
 */
export function instanceService(
  spec: InstanceSpec,
  options: { serverId: string; constraints: string[] },
): InstanceService {
  const { port, health } = spec;
  const service = {
    Name: serviceName(spec.name),
    Labels: {
      ...serviceLabels(spec, options.serverId),
      ...(port === undefined ? {} : { [LABEL.hostPort]: String(port.host) }),
      ...(health.kind === 'command' ? { [SERVICE_LABEL.checked]: 'true' } : {}),
    },
    TaskTemplate: {
      ContainerSpec: {
        ...containerSpec(spec, options.serverId),
        ...(spec.command === undefined ? {} : { Args: spec.command }),
        ...healthCheck(spec),
      },
      Resources: limits(spec),
      RestartPolicy: { Condition: 'any', Delay: RESTART_DELAY, MaxAttempts: 0 },
      Placement: { Constraints: options.constraints },
      LogDriver: { Name: LOG_CONFIG.Type, Options: LOG_CONFIG.Config },
    },
    Mode: { Replicated: { Replicas: 1 } },
    UpdateConfig: updateConfig(spec),
    RollbackConfig: updateConfig(spec),
    EndpointSpec: {
      Mode: 'dnsrr',
      ...(port === undefined
        ? {}
        : {
            Ports: [
              {
                Protocol: 'tcp' as const,
                TargetPort: port.container,
                PublishedPort: port.host,
                PublishMode: 'host' as const,
              },
            ],
          }),
    },
  };
  return { ...service, Labels: { ...service.Labels, [SERVICE_LABEL.made]: fingerprint(service) } };
}

/** A service that runs a command once, as the instance would, without its port. */
export function oneOffService(
  spec: InstanceSpec,
  command: string[],
  options: { serverId: string; name: string; constraints: string[] },
): InstanceService {
  return {
    Name: serviceName(options.name),
    Labels: {
      ...serviceLabels(spec, options.serverId),
      [SERVICE_LABEL.instance]: options.name,
      [LABEL.oneOff]: 'true',
    },
    TaskTemplate: {
      ContainerSpec: { ...containerSpec(spec, options.serverId), Args: command, HealthCheck: { Test: ['NONE'] } },
      Resources: limits(spec),
      RestartPolicy: { Condition: 'none' },
      Placement: { Constraints: options.constraints },
      LogDriver: { Name: LOG_CONFIG.Type, Options: LOG_CONFIG.Config },
    },
    Mode: { Replicated: { Replicas: 1 } },
    EndpointSpec: { Mode: 'dnsrr' },
  };
}

/** Whether a service is what `wanted` would make, wherever it may be placed. */
export function isMadeOf(found: Service, wanted: InstanceService): boolean {
  return found.Spec?.Labels?.[SERVICE_LABEL.made] === wanted.Labels[SERVICE_LABEL.made];
}

/**
 * Services of instances as files for people: what `POST /services/create` takes.
 * @param options.values whether the values of the app's config are in them, or only their names
 */
export function renderServices(specs: InstanceSpec[], serverId: string, options: { values: boolean }): UnitFile[] {
  return specs.map((spec) => {
    const names = Object.keys(spec.secrets).map((name) => [name, "(from the app's config)"]);
    const shown = options.values ? spec : { ...spec, secrets: Object.fromEntries(names) };
    const service = instanceService(shown, { serverId, constraints: shownConstraints(spec) });
    // It is a hash of the values, too.
    delete service.Labels[SERVICE_LABEL.made];
    return { name: `${spec.name}.service.json`, text: `${JSON.stringify(service, undefined, 2)}\n` };
  });
}

/** Where several names or labels would do, the nodes that do not match are left out by id once they are known. */
function shownConstraints({ hosts = [] }: InstanceSpec): string[] {
  return hosts.length === 1 ? [constraintOf(hosts[0]!)] : [];
}

/** `node.hostname==n1` for the name of a node, `node.labels.zone==a` for the label `zone=a`. */
export function constraintOf(wish: string): string {
  const at = wish.indexOf('=');
  return at === -1 ? `node.hostname==${wish}` : `node.labels.${wish.slice(0, at)}==${wish.slice(at + 1)}`;
}

function serviceLabels(spec: InstanceSpec, serverId: string): Record<string, string> {
  return { [LABEL.server]: serverId, [SERVICE_LABEL.instance]: spec.name, ...containerLabels(spec) };
}

/** Not the server's: what has that label in an engine belongs to the target docker. */
function containerLabels(spec: InstanceSpec): Record<string, string> {
  return {
    [LABEL.app]: spec.app,
    [LABEL.release]: String(spec.release),
    [LABEL.process]: spec.process,
    [LABEL.service]: spec.service,
    [LABEL.index]: String(spec.index),
  };
}

function containerSpec(spec: InstanceSpec, serverId: string): ContainerSpec {
  return {
    Image: formatImageRef(spec.image),
    Labels: containerLabels(spec),
    Env: Object.entries({ ...spec.env, ...spec.secrets }).map(([name, value]) => `${name}=${value}`),
    Init: true,
    StopGracePeriod: graceSeconds(spec.stopMs) * SECOND,
    CapabilityDrop: ['ALL'],
    CapabilityAdd: CAPABILITIES.map((name) => `CAP_${name}`),
    // Engines before 27 do not know it, and pass over it.
    Privileges: { NoNewPrivileges: true } as object,
    Mounts: volumeMounts(spec, serverId),
  };
}

function limits(spec: InstanceSpec): { Limits: { MemoryBytes: number; Pids: number } } {
  return { Limits: { MemoryBytes: spec.memoryBytes, Pids: PIDS_LIMIT } };
}

/**
 * The health command is run by the node, since nobody else can; a container that fails it is replaced. A check over the
 * network is ours, and then the image's own does not count.
 */
function healthCheck({ health }: InstanceSpec): { HealthCheck?: HealthConfig } {
  if (health.kind === 'auto') return {};
  if (health.kind !== 'command') return { HealthCheck: { Test: ['NONE'] } };
  return {
    HealthCheck: {
      Test: ['CMD', 'sh', '-c', health.command ?? 'true'],
      Interval: health.intervalMs * MILLISECOND,
      Timeout: health.timeoutMs * MILLISECOND,
      Retries: health.retries,
      StartPeriod: health.startMs * MILLISECOND,
    },
  };
}

/**
 * How a restart goes: the new container beside the old one where that can be, which is where they share neither a port
 * of the node nor a volume. One that does not come up is not tried on and on.
 */
function updateConfig({ port, volumes }: InstanceSpec): NonNullable<ServiceSpec['UpdateConfig']> {
  const alone = port === undefined && Object.keys(volumes).length === 0;
  return { Parallelism: 1, Order: alone ? 'start-first' : 'stop-first', FailureAction: 'pause' };
}

/** Tells services apart that differ in more than their place. */
function fingerprint(service: ServiceSpec): string {
  const { TaskTemplate, ...rest } = service;
  const json = JSON.stringify({ ...rest, TaskTemplate: { ...TaskTemplate, Placement: undefined } });
  return createHash('sha256').update(json).digest('hex').slice(0, 32);
}
