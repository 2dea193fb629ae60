import type Docker from 'dockerode';
import type { Service } from 'dockerode';
import { DinpError, type ErrorCode } from '../../domain/errors.ts';
import { LABEL } from '../docker/docker-container.ts';
import { openStream, READ_TIMEOUT_MS, WRITE_TIMEOUT_MS } from '../docker/docker-engine.ts';
import { engineError, engineText, statusOf } from '../docker/docker-errors.ts';
import { type InstanceService, SERVICE_LABEL, serviceName } from './swarm-service.ts';
import type { SwarmNode, SwarmTask } from './swarm-state.ts';

/** The engine of a manager. */
export interface ManagerEngine {
  /** For people: the name of its host, or the path of its socket. */
  name: string;
  /** @throws DinpError config where there is no such host */
  docker(): Docker;
}

/** A registry login as the engine takes it. */
export interface ServiceAuth {
  username: string;
  password: string;
  serveraddress: string;
}

/**
 * The swarm as its managers show it. All of them know the same, so the next is asked where one does not answer; without
 * a majority of them nothing is known, and every call throws `unavailable`.
 */
export class SwarmManagers {
  readonly #engines: ManagerEngine[];
  readonly #serverId: string;
  #last: ManagerEngine | undefined;

  constructor(engines: ManagerEngine[], serverId: string) {
    this.#engines = engines;
    this.#serverId = serverId;
  }

  /** Whether any of the engines is in a swarm at all. @throws DinpError unavailable */
  async isSwarm(): Promise<boolean> {
    const info = await this.ask('tell about its swarm', (docker, abortSignal) => infoOf(docker, abortSignal));
    return info.Swarm?.LocalNodeState !== 'inactive';
  }

  async nodes(): Promise<SwarmNode[]> {
    return await this.ask('list the nodes', (docker, abortSignal) => docker.listNodes({ abortSignal } as object));
  }

  /** This server's services: those of instances, or of one-off commands. */
  async services(kind: 'instance' | 'one-off', app?: string): Promise<Service[]> {
    const filters = { label: this.#labels(app) };
    const all = await this.ask('list the services', (docker, abortSignal) =>
      docker.listServices({ filters, abortSignal } as object),
    );
    return all.filter((service) => LABEL.oneOff in (service.Spec?.Labels ?? {}) === (kind === 'one-off'));
  }

  /** Tasks of this server's services, also of those that are being removed. */
  async tasks(app?: string): Promise<SwarmTask[]> {
    return await this.#tasks({ label: this.#labels(app) });
  }

  /** All tasks of a service that the manager remembers; none where the service is gone. */
  async tasksOf(service: string): Promise<SwarmTask[]> {
    return (await this.#tasks({ label: this.#labels() })).filter(({ ServiceID }) => ServiceID === service);
  }

  /** This server's service for an instance. */
  async find(instance: string): Promise<Service | undefined> {
    const found = await this.#inspect(instance);
    return found !== undefined && this.#isOurs(found) ? found : undefined;
  }

  /** The same for somebody who is about to take the name. @throws DinpError start-failed where another's service has it */
  async findByFreeName(instance: string): Promise<Service | undefined> {
    const found = await this.#inspect(instance);
    if (found === undefined || this.#isOurs(found)) return found;
    const name = serviceName(instance);
    throw new DinpError('start-failed', `There is a service ${name} already, which this server did not make.`, {
      hint: `Another dinp server may use this swarm. Rename the app here, or remove the service: docker service rm ${name}`,
    });
  }

  /** @returns the id of the service @throws DinpError start-failed */
  async create(service: InstanceService, auth: ServiceAuth | undefined): Promise<string> {
    const created = await this.#write(`start ${service.Name}`, async (docker, abortSignal) => {
      const options = { ...service, abortSignal };
      return await (auth === undefined ? docker.createService(options) : docker.createService(auth, options));
    });
    return (created as unknown as { ID?: string }).ID ?? created.id;
  }

  /** Changes a service as it is now; again where somebody else changed it at the same time. @throws DinpError start-failed */
  async update(id: string, change: (spec: InstanceService) => InstanceService): Promise<void> {
    await this.#write(`update service ${id}`, async (docker, abortSignal) => {
      const service = docker.getService(id);
      const { Spec, Version } = await service.inspect();
      await service.update({ _query: { version: Version.Index }, _body: change(Spec), abortSignal });
    });
  }

  /** Fine where it is gone. @throws DinpError unavailable */
  async remove(id: string): Promise<void> {
    await this.ask(`remove service ${id}`, async (docker, abortSignal) => {
      await docker
        .getService(id)
        .remove({ abortSignal })
        .catch((error: unknown) => {
          if (statusOf(error) !== 404) throw error;
        });
    });
  }

  /** Changes the labels of a node. @throws DinpError start-failed */
  async labelNode(id: string, change: (labels: Record<string, string>) => Record<string, string>): Promise<void> {
    await this.#write(`label node ${id}`, async (docker, abortSignal) => {
      const node = docker.getNode(id);
      const { Spec, Version } = (await node.inspect()) as SwarmNode;
      const body = { ...Spec, Labels: change(Spec.Labels ?? {}) };
      await node.update({ _query: { version: Version.Index }, _body: body, abortSignal });
    });
  }

  /** The output of a task, multiplexed; undefined where it is gone. @throws DinpError unavailable */
  async taskLog(task: string, query: URLSearchParams, signal: AbortSignal): Promise<NodeJS.ReadableStream | undefined> {
    return await this.ask('read the logs', (docker) =>
      openStream(docker, 'GET', `/tasks/${task}/logs?${query}&`, signal).catch((error: unknown) => {
        if (statusOf(error) === 404) return undefined;
        throw error;
      }),
    );
  }

  /** The engine that is the node itself, where that is one of those we talk to. */
  async engineOf(node: string): Promise<Docker | undefined> {
    for (const engine of this.#engines) {
      try {
        const docker = engine.docker();
        const info = await infoOf(docker, AbortSignal.timeout(READ_TIMEOUT_MS));
        if (info.Swarm?.NodeID === node) return docker;
      } catch {
        // One that does not answer is of no use here.
      }
    }
    return undefined;
  }

  /**
   * Asks the manager that answered last, and where it does not the others.
   * @param doing completes "The Docker Engine could not …"
   * @throws DinpError unavailable; `code` for what a manager refused
   */
  async ask<T>(
    doing: string,
    call: (docker: Docker, signal: AbortSignal) => Promise<T>,
    code: ErrorCode = 'unavailable',
    timeoutMs = READ_TIMEOUT_MS,
  ): Promise<T> {
    const order = [...this.#engines].sort((a, b) => Number(b === this.#last) - Number(a === this.#last));
    const problems: { engine: string; problem: DinpError }[] = [];
    for (const engine of order) {
      try {
        const answer = await call(engine.docker(), AbortSignal.timeout(timeoutMs));
        this.#last = engine;
        return answer;
      } catch (error) {
        const problem = swarmError(error, engine.name, code, doing);
        if (problem.code !== 'unavailable' && problem.code !== 'denied') throw problem;
        problems.push({ engine: engine.name, problem });
      }
    }
    throw noAnswer(problems);
  }

  async #write<T>(doing: string, call: (docker: Docker, signal: AbortSignal) => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.ask(doing, call, 'start-failed', WRITE_TIMEOUT_MS);
      } catch (error) {
        const isStale = /update out of sequence/.test(engineText((error as Error).cause ?? error));
        if (!isStale || tries === 5) throw error;
      }
    }
  }

  async #tasks(filters: object): Promise<SwarmTask[]> {
    return await this.ask('list the tasks', (docker, abortSignal) =>
      docker.listTasks({ filters: JSON.stringify(filters), abortSignal }),
    );
  }

  async #inspect(instance: string): Promise<Service | undefined> {
    return await this.ask(`inspect ${instance}`, async (docker, abortSignal) => {
      try {
        return (await docker.getService(serviceName(instance)).inspect({ abortSignal })) as Service;
      } catch (error) {
        if (statusOf(error) === 404) return undefined;
        throw error;
      }
    });
  }

  #isOurs(service: Service): boolean {
    return service.Spec?.Labels?.[LABEL.server] === this.#serverId && SERVICE_LABEL.instance in service.Spec.Labels;
  }

  #labels(app?: string): string[] {
    return [`${LABEL.server}=${this.#serverId}`, ...(app === undefined ? [] : [`${LABEL.app}=${app}`])];
  }
}

function noAnswer(problems: { engine: string; problem: DinpError }[]): DinpError {
  if (problems.length === 1) return problems[0]!.problem;
  return new DinpError('unavailable', 'No manager of the swarm answers.', {
    detail: problems.map(({ engine, problem }) => `${engine}: ${problem.message}`).join('\n'),
    ...(problems[0]?.problem.hint !== undefined && { hint: problems[0].problem.hint }),
    cause: problems[0]?.problem,
  });
}

interface EngineInfo {
  Swarm?: { NodeID?: string; LocalNodeState?: string };
}

async function infoOf(docker: Docker, abortSignal: AbortSignal): Promise<EngineInfo> {
  // The types lack the options of this call.
  const ask = docker.info.bind(docker) as unknown as (options: { abortSignal: AbortSignal }) => Promise<EngineInfo>;
  return await ask({ abortSignal });
}

/** What a manager answered, in words that tell what to do about it. */
function swarmError(error: unknown, engine: string, code: ErrorCode, doing: string): DinpError {
  const text = engineText(error);
  if (/not a swarm manager|not part of a swarm/i.test(text)) {
    return new DinpError('unavailable', `The engine ${engine} is no manager of a swarm.`, {
      hint: 'Make it one (docker swarm init), or name managers in the config: swarm.managers.',
      cause: error,
    });
  }
  if (/does not have a leader|no leader/i.test(text)) {
    return new DinpError('unavailable', 'The swarm has no leader: more than half of its managers must answer.', {
      hint: 'Bring back those that are away; see: docker node ls',
      cause: error,
    });
  }
  // What a manager says that waits in vain for a leader.
  if (/context deadline exceeded/i.test(text)) {
    return new DinpError(
      'unavailable',
      `The swarm did not answer ${engine} in time: has it a majority of its managers?`,
      {
        hint: 'Bring back those that are away; see: docker node ls',
        cause: error,
      },
    );
  }
  if (statusOf(error) === 503) return engineError(error, 'unavailable', doing);
  return engineError(error, code, doing);
}
