// Open a film: read a file and return an upright grey picture. If a file cannot be opened, say why in a sentence.

import { isDicom, readDicom } from "./dicom.js";
import { pixelSize, showFilm, turned, turnOf } from "./film.js";
import { isPng, readChunks, readPng } from "./png.js";
import { greyRange, throughWindow } from "./ranges.js";
import { rint } from "./square.js";

const MAX_BYTES = 200e6; // of a file; a film of 40 million pixels has 80 MB uncompressed
const MAX_PIXELS = 40e6; // of a picture; each takes about 20 bytes of memory
const MAX_DEEP_PIXELS = 20e6; // of a PNG with 16-bit colours; each takes up to 40 bytes
const COLOURED = [2, 6]; // colour types of PNG: RGB and RGBA
const MAX_ASPECT = 100; // refuse pictures whose longer side is more than this many times the shorter
const LUMINANCE = [0.299, 0.587, 0.114]; // weights of red, green and blue (ITU-R BT.601)
const OPENED = "This page opens PNG, JPEG, BMP and uncompressed DICOM files";
const INSTEAD = "`lungnb segment` reads more";
const OTHERS = { // by the first three letters
  "II*": "a TIFF file", "MM\0": "a TIFF file", GIF: "a GIF file", "%PD": "a PDF file", "PK\x03": "a ZIP archive",
};

/** A file cannot be used. The message names the file and says what is wrong and what to do. */
export class Refused extends Error {}

/** Return a picture: `grey` (Uint8Array, row by row), `width`, `height`, `pixelMm` (height, width; or null), `note`. */
export async function openFilm(file) {
  const say = (text) => new Refused(`${file.name}: ${text}`);
  if (!file.size) throw say("the file is empty. Copy or export it again.");
  if (file.size > MAX_BYTES) {
    const megabytes = (size) => Math.round(size / 1e6).toLocaleString("en");
    throw say(`has ${megabytes(file.size)} MB, and this page opens up to ${megabytes(MAX_BYTES)} MB. ${INSTEAD}.`);
  }
  try {
    const bytes = new Uint8Array(await file.arrayBuffer());
    if (isDicom(bytes)) return openDicom(bytes, say);
    if (isPng(bytes)) return await openPng(file, bytes, say);
    const size = jpegSize(bytes) ?? bmpSize(bytes);
    const kind = OTHERS[String.fromCharCode(...bytes.subarray(0, 3))] ?? "no image";
    if (!size) throw say(`is ${kind}. ${OPENED}; ${INSTEAD}.`);
    refuseSize(...size, say);
    return await decode(file);
  } catch (error) {
    if (error instanceof Refused) throw error;
    throw say("cannot be read; it may be damaged or cut. Copy or export it again.");
  }
}

function refuseSize(width, height, say, maxPixels = MAX_PIXELS) {
  const size = `${width.toLocaleString("en")} x ${height.toLocaleString("en")} pixels`;
  if (!width || !height) throw say(`${size}: it shows nothing. Copy or export it again.`);
  const [long, short] = [Math.max(width, height), Math.min(width, height)];
  if (long > MAX_ASPECT * short) throw say(`${size}: one side is more than ${MAX_ASPECT} times the other. Crop it.`);
  const most = `${maxPixels / 1e6} million`;
  if (width * height > maxPixels) throw say(`${size}: this page opens up to ${most}. Scale it down; ${INSTEAD}.`);
}

function openDicom(bytes, say) {
  const header = readDicom(bytes);
  if (!header) {
    throw say("its picture is compressed or stored in an unusual way. `lungnb segment` reads such DICOM files.");
  }
  const [width, height] = ["Columns", "Rows"].map((name) => header.number(name) ?? 0);
  if (!width || !height) throw say("no picture, but another DICOM object. Choose the file of an image.");
  refuseSize(width, height, say);
  if (header.number("NumberOfFrames") > 1) {
    throw say("holds several pictures. `lungnb segment` reads volumes; or export one picture.");
  }
  if (!isGreyFilm(header)) throw say("is not a grey DICOM image of 8 or 16 bits. `lungnb segment` reads others.");
  if (header.number("RescaleSlope") === 0) throw say("its RescaleSlope is 0, which makes all its values the same.");
  const picture = showFilm(header);
  if (!picture) throw say("its pixels are damaged or cut. Export it again.");
  const turn = turnOf(header);
  const note = Object.values(turn).includes(true) ? "turned upright, as its header says" : "";
  return turned({ ...picture, pixelMm: pixelSize(header), note }, turn);
}

function isGreyFilm(header) {
  const isGrey = /^MONOCHROME[12]$/i.test(header.text("PhotometricInterpretation"));
  const hasBits = [8, 16].includes(header.number("BitsAllocated")) && (header.number("SamplesPerPixel") ?? 1) === 1;
  return isGrey && hasBits && !header.item("ModalityLUTSequence") && header.text("Modality") !== "SEG";
}

async function openPng(file, bytes, say) {
  const png = readChunks(bytes);
  const isDeep = png.depth === 16 && COLOURED.includes(png.colour);
  refuseSize(png.width ?? 0, png.height ?? 0, say, isDeep ? MAX_DEEP_PIXELS : MAX_PIXELS);
  if (png.interlaced || png.isTurned) {
    if (png.depth === 16) throw say("is an interlaced or turned PNG of 16 bits. Save it without interlacing and turning.");
    return decode(file);
  }
  const { numbers, channels } = await readPng(png);
  const { width, height } = png;
  const values = channels < 3 ? everyNth(numbers, channels) : luminance(numbers, channels, png.depth);
  const grey = png.depth === 16 ? throughWindow(values, greyRange(values, width)) : values;
  return { grey, width, height, pixelMm: null, note: "" };
}

function everyNth(numbers, step) {
  if (step === 1) return numbers;
  return new numbers.constructor(numbers.length / step).map((_, at) => numbers[step * at]);
}

/** Return the luminance of colours. Round 8-bit colours as Pillow does, and 16-bit colours as lungnb does. */
function luminance(colours, channels, depth) {
  const grey = new colours.constructor(colours.length / channels);
  const [r, g, b] = LUMINANCE;
  for (let at = 0, from = 0; at < grey.length; at++, from += channels) {
    const [red, green, blue] = [colours[from], colours[from + 1], colours[from + 2]];
    if (depth === 16) grey[at] = rint(red * r + green * g + blue * b);
    else grey[at] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16; // the same weights in whole numbers
  }
  return grey;
}

/** Let the browser decode a JPEG, a BMP or an unusual PNG, and turn it as its EXIF data say. */
async function decode(file) {
  const image = await createImageBitmap(file, { colorSpaceConversion: "none" });
  const { width, height } = image;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  image.close();
  const grey = new Uint8Array(luminance(context.getImageData(0, 0, width, height).data, 4, 8));
  return { grey, width, height, pixelMm: null, note: "" };
}

/** Return the width and the height of a JPEG from its frame header; null if the bytes are no JPEG. */
function jpegSize(bytes) {
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) return null;
  const view = new DataView(bytes.buffer);
  for (let at = 2; at + 9 <= bytes.length && bytes[at] === 0xff; ) {
    const marker = bytes[at + 1];
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return [view.getUint16(at + 7), view.getUint16(at + 5)];
    at += marker === 0xff ? 1 : 2 + view.getUint16(at + 2);
  }
  throw new Error("cut");
}

/** Return the width and the height of a BMP; null if the bytes are no BMP. */
function bmpSize(bytes) {
  if (bytes[0] !== 0x42 || bytes[1] !== 0x4d || bytes.length < 26) return null;
  const view = new DataView(bytes.buffer);
  return [view.getInt32(18, true), view.getInt32(22, true)].map(Math.abs);
}
