/** The package names under which the Servlet API went by until Jakarta EE 9, and since. */
export type ServletApi = 'javax' | 'jakarta';

export interface ClassFacts {
  /** The Java release that it needs: 17 for class files of version 61. */
  java: number;
  /** Which Servlet API (WebSocket included, which Tomcat brings too) it refers to. */
  apis: ReadonlySet<ServletApi>;
}

const MAGIC = 0xcafebabe;
const UTF8 = 1;
/** Class files count from Java 1.0 as 45. */
const BEFORE_JAVA = 44;
/** Bytes behind the tag of a constant (Java Virtual Machine Specification, 4.4). */
const SIZES: Record<number, number> = {
  3: 4, // Integer
  4: 4, // Float
  5: 8, // Long
  6: 8, // Double
  7: 2, // Class
  8: 2, // String
  9: 4, // Fieldref
  10: 4, // Methodref
  11: 4, // InterfaceMethodref
  12: 4, // NameAndType
  15: 3, // MethodHandle
  16: 2, // MethodType
  17: 4, // Dynamic
  18: 4, // InvokeDynamic
  19: 2, // Module
  20: 2, // Package
};

/**
 * Reads the version and the constant pool of a class file, which lie at its beginning: a cut off file tells what it has.
 * @returns undefined where it is no class file
 */
export function readClassFile(bytes: Buffer): ClassFacts | undefined {
  if (bytes.length < 10 || bytes.readUInt32BE(0) !== MAGIC) return undefined;
  const java = bytes.readUInt16BE(6) - BEFORE_JAVA;
  if (java < 1) return undefined;
  const apis = new Set<ServletApi>();
  const count = bytes.readUInt16BE(8);
  let at = 10;
  for (let index = 1; index < count && at + 3 <= bytes.length; index++) {
    const tag = bytes[at]!;
    if (tag === UTF8) {
      const length = bytes.readUInt16BE(at + 1);
      const text = bytes.toString('latin1', at + 3, at + 3 + length);
      for (const [, api] of text.matchAll(/(?<!\/)(javax|jakarta)\/(?:servlet|websocket)\//g))
        apis.add(api as ServletApi);
      at += 3 + length;
      continue;
    }
    const size = SIZES[tag];
    if (size === undefined) return { java, apis };
    // Long and Double take two places in the pool.
    if (tag === 5 || tag === 6) index++;
    at += 1 + size;
  }
  return { java, apis };
}
