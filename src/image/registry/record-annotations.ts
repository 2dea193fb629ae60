/** Kind of what a build leaves beside its image: its log and its provenance. */
export const RECORD_TYPE = 'application/vnd.dinp.build.v1+json';
/** Which server's build it was: an image that several servers built is needed until the last of them has withdrawn its record. */
export const RECORD_SERVER = 'dinp.record.server';
export const RECORD_APP = 'dinp.record.app';
export const RECORD_BUILD = 'dinp.record.build';
export const CREATED = 'org.opencontainers.image.created';
export const TITLE = 'org.opencontainers.image.title';
