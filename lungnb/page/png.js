// Read PNG files with all their bits, and write grey ones. A browser's own decoder keeps 8 bits, and changes colours
// that are not opaque.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const CHANNELS = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }; // by colour type
const PALETTE = 3;
const DEPTHS = { 0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16] }; // bits, by colour type

export const isPng = (bytes) => SIGNATURE.every((byte, at) => bytes[at] === byte);

/** Send parts of bytes through a stream, such as a DecompressionStream; return about `most` bytes at most. */
export async function passThrough(packed, stream, most = Infinity) {
  const reader = new Blob(packed).stream().pipeThrough(stream).getReader();
  const parts = [];
  for (let length = 0, part; !(part = await reader.read()).done && length < most; ) {
    parts.push(part.value);
    length += part.value.length;
  }
  reader.cancel();
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
  return whole;
}

/** Return the header of a PNG, the palette, the packed pixels, and whether EXIF data turn the picture. */
export function readChunks(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = { data: [], isTurned: false };
  for (let at = SIGNATURE.length; at + 8 <= bytes.length; ) {
    const length = view.getUint32(at);
    const name = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const content = bytes.subarray(at + 8, at + 8 + length);
    if (name === "IHDR") {
      const [depth, colour, , , interlaced] = content.subarray(8);
      const [width, height] = [view.getUint32(at + 8), view.getUint32(at + 12)];
      Object.assign(found, { width, height, depth, colour, interlaced });
    }
    if (name === "PLTE") found.palette = content;
    if (name === "eXIf") found.isTurned = true;
    if (name === "IDAT") found.data.push(content);
    at += 12 + length;
  }
  return found;
}

/** Return the pixels of a PNG that is not interlaced: one to four numbers a pixel, 8 or 16 bits. */
export async function readPng({ width, height, depth, colour, palette, data }) {
  if (!DEPTHS[colour]?.includes(depth)) throw new Error("damaged");
  const channels = CHANNELS[colour];
  const rowBytes = Math.ceil((width * channels * depth) / 8);
  const size = height * (rowBytes + 1);
  const packed = await passThrough(data, new DecompressionStream("deflate"), size);
  if (packed.length < size) throw new Error("cut");
  const rows = unfilter(packed, height, rowBytes, Math.max((channels * depth) / 8, 1));
  const unpack = { 16: fromPairs, 8: (bytes) => bytes }[depth] ?? unpackBits;
  const numbers = unpack(rows, rowBytes, width, depth, colour);
  if (colour !== PALETTE) return { numbers, channels };
  const colours = new Uint8Array(3 * numbers.length);
  numbers.forEach((entry, at) => colours.set(palette.subarray(3 * entry, 3 * entry + 3), 3 * at));
  return { numbers: colours, channels: 3 };
}

/** Undo the filters of PNG: each byte was stored as the difference from what its neighbours predict. */
function unfilter(packed, height, rowBytes, pixelBytes) {
  const rows = new Uint8Array(height * rowBytes);
  const none = new Uint8Array(rowBytes);
  for (let y = 0; y < height; y++) {
    const filter = packed[y * (rowBytes + 1)];
    const from = packed.subarray(y * (rowBytes + 1) + 1, (y + 1) * (rowBytes + 1));
    const above = y ? rows.subarray((y - 1) * rowBytes, y * rowBytes) : none;
    const row = rows.subarray(y * rowBytes, (y + 1) * rowBytes);
    if (filter === 0) row.set(from);
    else for (let x = 0; x < rowBytes; x++) {
      const left = x < pixelBytes ? 0 : row[x - pixelBytes];
      const corner = x < pixelBytes ? 0 : above[x - pixelBytes];
      row[x] = from[x] + predict(filter, left, above[x], corner);
    }
  }
  return rows;
}

function predict(filter, left, above, corner) {
  if (filter === 1) return left;
  if (filter === 2) return above;
  if (filter === 3) return (left + above) >> 1;
  const [toLeft, toAbove] = [Math.abs(above - corner), Math.abs(left - corner)];
  const toCorner = Math.abs(left + above - 2 * corner);
  if (toLeft <= toAbove && toLeft <= toCorner) return left;
  return toAbove <= toCorner ? above : corner;
}

function fromPairs(bytes) {
  const numbers = new Uint16Array(bytes.length / 2);
  for (let at = 0; at < numbers.length; at++) numbers[at] = (bytes[2 * at] << 8) | bytes[2 * at + 1];
  return numbers;
}

/** Return numbers of 1, 2 or 4 bits as bytes: grey from 0 to 255, entries of a palette as they are. */
function unpackBits(rows, rowBytes, width, depth, colour) {
  const most = 2 ** depth - 1;
  const scale = colour === PALETTE ? 1 : 255 / most;
  const numbers = new Uint8Array((rows.length / rowBytes) * width);
  for (let at = 0; at < numbers.length; at++) {
    const x = at % width;
    const byte = rows[Math.floor(at / width) * rowBytes + ((x * depth) >> 3)];
    numbers[at] = ((byte >> (8 - depth - ((x * depth) & 7))) & most) * scale;
  }
  return numbers;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? 0xedb88320 ^ (byte >>> 1) : byte >>> 1;
  return byte;
});

/** Return the CRC-32 of bytes, the checksum in PNG and ZIP files. */
export function crc32(bytes) {
  let crc = 0xffffffff;
  for (let at = 0; at < bytes.length; at++) crc = CRC_TABLE[(crc ^ bytes[at]) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** Return a grey image, one byte a pixel, as a PNG file. */
export async function writePng(grey, width) {
  const height = grey.length / width;
  const rows = new Uint8Array(height * (width + 1)); // a 0 before each row: no filter
  for (let y = 0; y < height; y++) rows.set(grey.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = 8; // bits; the other numbers are 0: grey, not interlaced
  const data = await passThrough([rows], new CompressionStream("deflate"));
  const chunks = [chunk("IHDR", header), chunk("IDAT", data), chunk("IEND", new Uint8Array(0))];
  return new Uint8Array(await new Blob([Uint8Array.from(SIGNATURE), ...chunks]).arrayBuffer());
}

function chunk(name, content) {
  const bytes = new Uint8Array(content.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  bytes.set([...name].map((letter) => letter.charCodeAt(0)), 4);
  bytes.set(content, 8);
  view.setUint32(content.length + 8, crc32(bytes.subarray(4, content.length + 8)));
  return bytes;
}
