import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readClassFile } from '../../../../src/artifact/java/class-file.ts';
import { parseJarManifest } from '../../../../src/artifact/java/jar-manifest.ts';
import { apiOfDescriptor } from '../../../../src/artifact/java/web-app.ts';
import { JAKARTA, JAVAX, makeClass } from './make-class.ts';

function read(bytes: Buffer) {
  const facts = readClassFile(bytes);
  return facts && [facts.java, ...facts.apis];
}

test('A class tells its Java and the Servlet API that its constants name', () => {
  assert.deepEqual(read(makeClass(8)), [8]);
  assert.deepEqual(read(makeClass(17, 'Shop', JAVAX)), [17, 'javax']);
  assert.deepEqual(read(makeClass(21, JAKARTA, 'x')), [21, 'jakarta']);
  assert.deepEqual(read(makeClass(11, '[Ljavax/servlet/Filter;', 'jakarta/websocket/Session')), [
    11,
    'javax',
    'jakarta',
  ]);
  // Texts with dots are looked up at run time, if ever; relocated packages and other javax ones are something else.
  assert.deepEqual(
    read(makeClass(11, 'javax.servlet.Servlet', 'javax/sql/DataSource', 'shaded/javax/servlet/Filter')),
    [11],
  );
});

test('A class that is cut off tells what it has; what is none tells nothing', () => {
  const whole = makeClass(17, JAVAX, 'x'.repeat(100), JAKARTA);
  assert.deepEqual(read(whole.subarray(0, 80)), [17, 'javax']);
  for (let length = 0; length < whole.length; length++) readClassFile(whole.subarray(0, length));
  assert.equal(read(Buffer.from('not a class at all')), undefined);
  assert.equal(read(Buffer.alloc(0)), undefined);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      readClassFile(Buffer.concat([Buffer.from('cafebabe00000041', 'hex'), bytes]));
    }),
  );
});

test('The manifest of a jar: continued lines, any line ends, names without case, the main section alone', () => {
  const attributes = parseJarManifest(
    'Manifest-Version: 1.0\r\nmain-CLASS: com.example.very.long.na\r\n me.Main\r\nClass-Path: lib/a.jar l\r\n ib/b.jar\r\n\r\nName: x\r\nMain-Class: Other\r\n',
  );
  assert.equal(attributes.get('main-class'), 'com.example.very.long.name.Main');
  assert.equal(attributes.get('class-path'), 'lib/a.jar lib/b.jar');
  assert.equal(attributes.get('name'), undefined);
  assert.equal(parseJarManifest('\ufeffMain-Class: A\rX: y').get('main-class'), 'A');
});

test('A manifest of any value survives being cut into lines of 72 bytes', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[!-~](?:[ -~]*[!-~])?$/), fc.constantFrom('\n', '\r\n', '\r'), (value, end) => {
      const lines = `Main-Class: ${value}`.match(/.{1,70}/g)!.join(`${end} `);
      assert.equal(parseJarManifest(`A: b${end}${lines}${end}${end}`).get('main-class'), value);
    }),
  );
});

test('web.xml tells by its namespace or document type', () => {
  assert.equal(apiOfDescriptor('<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0">'), 'jakarta');
  assert.equal(apiOfDescriptor('<web-app xmlns="http://xmlns.jcp.org/xml/ns/javaee" version="4.0">'), 'javax');
  assert.equal(apiOfDescriptor('<web-app xmlns="http://java.sun.com/xml/ns/j2ee">'), 'javax');
  assert.equal(apiOfDescriptor('<!DOCTYPE web-app PUBLIC "x" "http://java.sun.com/dtd/web-app_2_3.dtd">'), 'javax');
  assert.equal(apiOfDescriptor('<web-app/>'), undefined);
});
