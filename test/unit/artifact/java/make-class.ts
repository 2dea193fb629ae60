/**
 * A class file (JVMS 4) of a release of Java whose constants hold these texts. After each stands a Long, which takes two
 * places of the pool.
 */
export function makeClass(java: number, ...texts: string[]): Buffer {
  const header = Buffer.alloc(10);
  header.writeUInt32BE(0xcafebabe, 0);
  header.writeUInt16BE(java + 44, 6);
  header.writeUInt16BE(1 + 3 * texts.length, 8);
  const pool = texts.flatMap((text) => {
    const bytes = Buffer.from(text);
    return [Buffer.from([1, bytes.length >> 8, bytes.length & 0xff]), bytes, Buffer.from([5, 0, 0, 0, 0, 0, 0, 0, 1])];
  });
  return Buffer.concat([header, ...pool, Buffer.alloc(14)]);
}

export const JAVAX = 'javax/servlet/http/HttpServlet';
export const JAKARTA = '(ILjakarta/servlet/http/HttpServletRequest;)V';
