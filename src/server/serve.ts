import { join } from 'node:path';
import { convergeApps, recover, recoverRefs, syncRoutes } from '../deploy/recover.ts';
import { DinpError } from '../domain/errors.ts';
import { openFrontDoor } from '../ssh/front-door.ts';
import { respond } from '../ssh/responder.ts';
import { type OpenWeb, openWeb } from '../web/server.ts';
import { buildServer, type ServerParts, sshProgram } from './build-server.ts';
import { loadConfig, parseConfigDuration, parseListen, type ServerConfig } from './config.ts';
import { listenForCommands } from './control-socket.ts';
import { dataPaths, lockDataFolder } from './data-folder.ts';
import { findProgram } from './find-program.ts';
import { createLog, type ServerLog } from './log.ts';
import { PACKAGE } from './this-machine.ts';

const MAX_PACK_BYTES = 4 * 1024 ** 3;

export interface ServeOptions {
  config: string | undefined;
  /** `key.path=value` settings of the command line. */
  settings?: string[];
}

/**
 * Runs the server until SIGTERM or SIGINT. Builds that run then are left as they are; the next start takes them up.
 * @throws DinpError config, unavailable
 */
export async function serve(options: ServeOptions): Promise<void> {
  const config = loadConfig(options.config, process.env, options.settings);
  using _lock = lockDataFolder(config.data);
  const log = createLog(config.log.level);
  const server = buildServer(config, log);
  await recover(server.recovery);
  const socket = await listenForCommands(dataPaths(config.data).socket, server.control, server.onError);
  const door = await openDoor(config, server, log);
  const web = await openWebDoor(config, server);
  log.info(
    { ssh: door.port, hostKey: door.hostKey.fingerprint, nativeCrypto: door.nativeCrypto, web: web?.port },
    'server started',
  );
  server.after.start();
  syncRoutes(server.recovery)
    .then(() => convergeApps(server.recovery, server.store.apps.list()))
    .then(() => {
      server.after.reconciler.pass().catch(server.onError);
      return server.cleanUp.soon(server.store.apps.list().map(({ id }) => id));
    })
    .catch(server.onError);
  const signal = await nextSignal();
  log.info({ signal }, 'server stopping');
  server.queue.close();
  server.after.close();
  await Promise.all([door.close(), web?.close()]);
  socket.close();
  server.store.close();
  log.info('server stopped');
  // Builds and watchers hold connections open; they are rows and files by now.
  process.exit(0);
}

async function openDoor(config: ServerConfig, server: ServerParts, log: ServerLog) {
  const { host, port, user, workers } = config.ssh;
  return await openFrontDoor({
    host,
    port,
    user,
    program: sshProgram(config),
    hostKeyPath: dataPaths(config.data).hostKey,
    compileCache: process.env.NODE_COMPILE_CACHE ?? dataPaths(config.data).compileCache,
    git: { git: findProgram('git'), hooks: join(PACKAGE, 'hooks'), maxPackBytes: MAX_PACK_BYTES },
    ...(workers === undefined ? {} : { workers }),
    onWorker: (link) => respond(link, server.control, server.onError),
    onWorkerLost: (apps) => {
      for (const name of apps) {
        const app = server.store.apps.find(name);
        if (app) recoverRefs(server.recovery, app).catch(server.onError);
      }
    },
    log: (level, message, fields) => log[level](fields ?? {}, message),
  });
}

/** Listens for HTTP where the config says so. @throws DinpError unavailable */
async function openWebDoor(config: ServerConfig, { api }: ServerParts): Promise<OpenWeb | undefined> {
  const { listen } = config.web;
  if (listen === undefined) return undefined;
  const settings = { ...parseListen(listen)!, requestMs: parseConfigDuration(config.uploads.timeout) };
  try {
    return await openWeb(settings, (req, res) => api.handle(req, res));
  } catch (cause) {
    throw new DinpError('unavailable', `web.listen ${listen} cannot be had: ${(cause as Error).message}.`, { cause });
  }
}

function nextSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    process.once('SIGTERM', resolve);
    process.once('SIGINT', resolve);
  });
}
