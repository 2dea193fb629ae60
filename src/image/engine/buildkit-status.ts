import protobuf from 'protobufjs';

/** One step of a BuildKit build, as `moby.buildkit.trace` reports it; sent anew at every change. */
export interface Vertex {
  digest: string;
  name: string;
  cached: boolean;
  started: boolean;
  completed: boolean;
  /** Empty where it did not fail. */
  error: string;
}

export interface BuildKitStatus {
  vertexes: Vertex[];
  logs: { vertex: string; msg: Uint8Array }[];
  warnings: { vertex: string; short: string }[];
}

/* The part that is read here of moby/buildkit's api/services/control/control.proto. Timestamps are looked at for presence only. */
const StatusResponse = protobuf.Root.fromJSON({
  nested: {
    Timestamp: { fields: { seconds: { type: 'int64', id: 1 }, nanos: { type: 'int32', id: 2 } } },
    Vertex: {
      fields: {
        digest: { type: 'string', id: 1 },
        name: { type: 'string', id: 3 },
        cached: { type: 'bool', id: 4 },
        started: { type: 'Timestamp', id: 5 },
        completed: { type: 'Timestamp', id: 6 },
        error: { type: 'string', id: 7 },
      },
    },
    VertexLog: { fields: { vertex: { type: 'string', id: 1 }, msg: { type: 'bytes', id: 4 } } },
    VertexWarning: { fields: { vertex: { type: 'string', id: 1 }, short: { type: 'bytes', id: 3 } } },
    StatusResponse: {
      fields: {
        vertexes: { rule: 'repeated', type: 'Vertex', id: 1 },
        logs: { rule: 'repeated', type: 'VertexLog', id: 3 },
        warnings: { rule: 'repeated', type: 'VertexWarning', id: 4 },
      },
    },
  },
}).lookupType('StatusResponse');

interface Wire {
  vertexes: { digest: string; name: string; cached: boolean; started?: unknown; completed?: unknown; error: string }[];
  logs: { vertex: string; msg: Uint8Array }[];
  warnings: { vertex: string; short: Uint8Array }[];
}

/** Decodes the `aux` of a `moby.buildkit.trace` record: base64 of a StatusResponse. @throws Error where it is none */
export function decodeStatus(aux: string): BuildKitStatus {
  const wire = StatusResponse.decode(Buffer.from(aux, 'base64')) as unknown as Wire;
  return {
    vertexes: wire.vertexes.map((vertex) => ({
      digest: vertex.digest,
      name: vertex.name,
      cached: vertex.cached,
      started: vertex.started != null,
      completed: vertex.completed != null,
      error: vertex.error,
    })),
    logs: wire.logs.map((log) => ({ vertex: log.vertex, msg: log.msg })),
    warnings: wire.warnings.map((warning) => ({
      vertex: warning.vertex,
      short: Buffer.from(warning.short).toString('utf8'),
    })),
  };
}
