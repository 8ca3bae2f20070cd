/**
 * Archive formats, as functions to bytes: the same input gives the same bytes, whoever runs them, when and where.
 * tar is POSIX.1-1988's ustar, ar the common format of deb(5), both with owner 0:0 and one time for everything.
 */

/**
 * @typedef {{ path: string, bytes?: Buffer, link?: string, mode?: number }} Entry a path without a leading slash, with
 * the content of a file, the target of a symbolic link, or neither: a directory
 */

const BLOCK = 512;

/** The time of everything packed, seconds: https://reproducible-builds.org/specs/source-date-epoch/ */
export function sourceDateEpoch() {
  const text = process.env.SOURCE_DATE_EPOCH ?? '0';
  if (!/^\d{1,10}$/.test(text)) throw new Error(`SOURCE_DATE_EPOCH=${text} is no number of seconds`);
  return Number(text);
}

/** `path` and every directory above it: `usr`, `usr/lib` … */
function withParents(path) {
  const parts = path.split('/');
  return parts.map((_, index) => parts.slice(0, index + 1).join('/'));
}

/**
 * @param {readonly Entry[]} entries in any order
 * @param {(path: string) => boolean} ownsDirectory which of the directories above them are to be in it as well
 */
export function tar(entries, ownsDirectory = () => true) {
  const all = new Map(entries.map((entry) => [entry.path, entry]));
  for (const path of entries.flatMap((entry) => withParents(entry.path))) {
    if (!all.has(path) && ownsDirectory(path)) all.set(path, { path });
  }
  const sorted = [...all.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
  const chunks = sorted.flatMap((entry) => [tarHeader(entry), entry.bytes ?? Buffer.alloc(0), padding(entry.bytes)]);
  return Buffer.concat([...chunks, Buffer.alloc(2 * BLOCK)]);
}

const padding = (bytes) => Buffer.alloc(bytes ? -bytes.length & (BLOCK - 1) : 0);

function tarHeader({ path, bytes, link, mode }) {
  const header = Buffer.alloc(BLOCK);
  const isDirectory = !bytes && link === undefined;
  const name = isDirectory ? `./${path}/` : `./${path}`;
  if (name.length > 100 || (link ?? '').length > 100) throw new Error(`${path}: too long for ustar`);
  const octal = (value, width) => value.toString(8).padStart(width - 1, '0');
  header.write(name, 0);
  header.write(octal(mode ?? (isDirectory ? 0o755 : link === undefined ? 0o644 : 0o777), 8), 100);
  header.write(octal(0, 8), 108); // uid
  header.write(octal(0, 8), 116); // gid
  header.write(octal(bytes?.length ?? 0, 12), 124);
  header.write(octal(sourceDateEpoch(), 12), 136);
  header.fill(' ', 148, 156); // the checksum counts as spaces
  header.write(isDirectory ? '5' : link === undefined ? '0' : '2', 156);
  header.write(link ?? '', 157);
  header.write('ustar\x0000', 257, 'latin1');
  header.write('root', 265);
  header.write('root', 297);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${octal(sum, 7)}\0 `, 148, 'latin1');
  return header;
}

/** @param {readonly { name: string, bytes: Buffer }[]} members in the order they are to have */
export function ar(members) {
  const chunks = members.flatMap(({ name, bytes }) => [
    Buffer.from(
      `${name.padEnd(16)}${String(sourceDateEpoch()).padEnd(12)}${'0'.padEnd(6)}${'0'.padEnd(6)}${'100644'.padEnd(8)}${String(bytes.length).padEnd(10)}\`\n`,
    ),
    bytes,
    Buffer.from(bytes.length & 1 ? '\n' : ''),
  ]);
  return Buffer.concat([Buffer.from('!<arch>\n'), ...chunks]);
}
