import type { AuthContext, Connection, PublicKeyAuthContext } from 'ssh2';
import type { Identity } from '../domain/identity.ts';
import type { Requests } from './requests.ts';
import { fingerprintOf, isAcceptable, isSigned, type SignedRequest } from './signature.ts';
import { protocolOf } from './ssh2-internals.ts';

/** The same answer to everything that is not a good signature. */
const METHODS: ['publickey'] = ['publickey'];
const MAX_TRIES = 6;
const NO_MORE_AUTH_METHODS_AVAILABLE = 14;

/**
 * Logs a client in by public key (RFC 4252) and calls `onIdentity` with whom the key stands for: only after its
 * signature has been verified and ssh2 has taken it. Other users and unknown keys cost the same work and get the same
 * answer.
 */
export function handleLogin(
  client: Connection,
  user: string,
  requests: Requests,
  onIdentity: (identity: Identity) => void,
  onRefused: (reason: string, fingerprint: string | undefined) => void,
): void {
  let tries = 0;
  const state = { done: false };
  client.on('authentication', (context) => {
    if (context.method !== 'none' && ++tries > MAX_TRIES) {
      onRefused('too many keys', undefined);
      protocolOf(client).disconnect(NO_MORE_AUTH_METHODS_AVAILABLE);
      client.end();
      return;
    }
    if (context.method !== 'publickey') {
      context.reject(METHODS);
      return;
    }
    judge(context, user, requests).then(
      ({ identity, fingerprint }) => {
        if (identity === undefined) {
          if (context.signature !== undefined) onRefused('not let in', fingerprint);
          tryTo(() => context.reject(METHODS));
          return;
        }
        tryTo(() => context.accept());
        // Without a signature this was only a question, which ssh2 has answered with PK_OK.
        if (context.signature === undefined || state.done || !isAuthenticated(client)) return;
        state.done = true;
        onIdentity(identity);
      },
      () => tryTo(() => context.reject(METHODS)),
    );
  });
}

async function judge(
  context: PublicKeyAuthContext,
  user: string,
  requests: Requests,
): Promise<{ identity: Identity | undefined; fingerprint: string }> {
  const request = signedRequest(context);
  const fingerprint = fingerprintOf(request.key);
  const { identity } = await requests.request({ kind: 'key', fingerprint });
  const fits = request.signature === undefined ? isAcceptable(request) : isSigned(request);
  const known = fits && context.username === user ? identity : undefined;
  return { identity: known, fingerprint };
}

function signedRequest(context: PublicKeyAuthContext): SignedRequest {
  return {
    algorithm: context.key.algo,
    key: context.key.data,
    hash: context.hashAlgo,
    blob: context.blob,
    signature: context.signature,
  };
}

function isAuthenticated(client: AuthContext | Connection): boolean {
  return (client as unknown as { authenticated: boolean }).authenticated;
}

/** ssh2 throws when the connection ended while the key was looked up. */
function tryTo(answer: () => void): void {
  try {
    answer();
  } catch {
    // The client is gone; its `close` has told everybody.
  }
}
