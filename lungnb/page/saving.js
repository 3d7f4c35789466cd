// Save an image and its mask for `lungnb adapt`: images/NAME.png and masks/NAME.png in one ZIP file.

import { crc32, writePng } from "./png.js";

const UNUSUAL = /[^\p{L}\p{N}_ .()+=-]/gu; // characters that some file systems refuse in a name
const LIKE_MASK = /(mask|label|seg|segmentation|annotation|gt|ground[-_ ]?truth)s?$/i; // lungnb takes these for masks
const MAX_NAME = 60; // letters
const DAY = (1 << 5) | 1; // the first of January 1980, so that the same pair gives the same file

/** Return the name of a pair: the file's name and a checksum, because two patients' films may have the same name. */
export function pairName(fileName, grey) {
  const stem = fileName.replace(/\.[^.]*$/, "").replace(UNUSUAL, "_").replace(/^[. ]+/, "");
  const name = stem.slice(0, MAX_NAME).trim() || "film";
  const checksum = crc32(grey).toString(16).padStart(8, "0");
  return `${LIKE_MASK.test(name) ? `${name}_image` : name}-${checksum}`;
}

/** Return a ZIP file with a grey image and its mask of 0 and 1, as a Blob. */
export async function zipPair(name, grey, mask, width) {
  const white = mask.map((pixel) => 255 * pixel);
  return zip([
    [`images/${name}.png`, await writePng(grey, width)],
    [`masks/${name}.png`, await writePng(white, width)],
  ]);
}

/** Return files, [name, bytes] each, as a ZIP file without compression. */
function zip(files) {
  const parts = [];
  const directory = [];
  let at = 0;
  for (const [name, bytes] of files) {
    const title = new TextEncoder().encode(name);
    const facts = [20, 0x0800, 0, 0, DAY, [crc32(bytes)], [bytes.length], [bytes.length], title.length, 0];
    const local = record(0x04034b50, facts);
    parts.push(local, title, bytes);
    directory.push(record(0x02014b50, [20, ...facts, 0, 0, 0, [0], [at]]), title);
    at += local.length + title.length + bytes.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = record(0x06054b50, [0, 0, files.length, files.length, [size], [at], 0]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

/** Return a record of a ZIP file: its mark, then its numbers. Numbers in brackets have 32 bits, the others 16. */
function record(mark, numbers) {
  const all = [[mark], ...numbers];
  const view = new DataView(new ArrayBuffer(all.reduce((sum, number) => sum + (Array.isArray(number) ? 4 : 2), 0)));
  let at = 0;
  for (const number of all) {
    if (Array.isArray(number)) view.setUint32(at, number[0], true);
    else view.setUint16(at, number, true);
    at += Array.isArray(number) ? 4 : 2;
  }
  return new Uint8Array(view.buffer);
}
