/**
 * The main attributes of META-INF/MANIFEST.MF (JAR File Specification). Lines end after 72 bytes and go on behind a
 * space on the next one; names count without case and are given in lower case.
 */
export function parseJarManifest(text: string): Map<string, string> {
  const attributes = new Map<string, string>();
  const whole = text.replace(/^\ufeff/, '').replace(/(?:\r\n|\r|\n) /g, '');
  for (const line of whole.split(/\r\n|\r|\n/)) {
    // An empty line ends the main section.
    if (line === '') break;
    const [, name, value] = /^([A-Za-z0-9][A-Za-z0-9_-]*): ?(.*)$/s.exec(line) ?? [];
    if (name !== undefined) attributes.set(name.toLowerCase(), value!.trim());
  }
  return attributes;
}
