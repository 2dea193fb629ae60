import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startServer, type TestServer } from '../support/dinp-server.ts';

/** Adds a line to a file beside itself and to one in its volume for each request, and answers with both. */
const SERVER = `
const { appendFileSync, readFileSync } = require('node:fs');
const files = ['./notes.db', '/data/notes.db'];
require('node:http').createServer((request, response) => {
  try {
    for (const file of files) appendFileSync(file, request.url.slice(1));
    response.end(files.map((file) => readFileSync(file, 'utf8')).join(' '));
  } catch (error) {
    response.writeHead(500).end(error.message);
  }
}).listen(process.env.PORT);
`;

describe('an app that does not run as root', () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({ bases: ['node'] });
  });
  after(async () => {
    await server?.endTidily();
  });

  it('writes beside its files, and into a volume that the next release finds as it was', async () => {
    const me = await server.client();
    await me.commit({ 'server.js': SERVER, 'dinp.yml': 'volumes: {data: /data}\n' });
    const first = await me.push();
    assert.equal(first.status, 0, first.output);
    assert.deepEqual(await server.curl(me.app, '/a'), { status: 200, body: 'a a' });
    assert.deepEqual(await server.curl(me.app, '/b'), { status: 200, body: 'ab ab' });
    await me.commit({ 'server.js': `${SERVER}// The next one.\n` });
    const second = await me.push();
    assert.equal(second.status, 0, second.output);
    assert.deepEqual(await server.curl(me.app, '/c'), { status: 200, body: 'c abc' });
  });
});
