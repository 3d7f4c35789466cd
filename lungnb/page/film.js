// Turn the stored values of a DICOM film into grey, with white bones: the rules of lungnb/formats/dicom.py.

import { greyRange, isLungWindow, throughWindow } from "./ranges.js";
import { rint } from "./square.js";

const USUAL_OFFSET = 1024; // of CT values above Hounsfield units, if the file does not state it
// A window fits if more than the first share of pixels is neither black nor white, less than the second share is white,
// and the greys span more than the third share of the range from black to white.
const [MIN_GREY_SHARE, MAX_WHITE_SHARE, MIN_SPAN] = [0.15, 0.45, 0.3];
const CT_IMAGES = ["", ".1", ".2"].map((end) => `1.2.840.10008.5.1.4.1.1.2${end}`); // SOP classes
const SAMPLE_SIDE = 256; // look at about so many pixels in each direction
const MOST_ROWS = 256; // look at so many rows to see how much neighbours differ
const MAX_VIEWS = 8; // try so many windows of a file
const MAX_TABLE = 2 ** 16; // entries of a lookup table
const PIXEL_MM = [0.001, 100]; // believe pixel sizes from the first to the second
const MAX_EXPONENT = 80; // of the sigmoid window

/** Return the picture of a DICOM file, `grey`, `width` and `height`; null if it is damaged or of another kind. */
export function showFilm(header) {
  const [height, width] = [header.number("Rows"), header.number("Columns")];
  const pixels = storedPixels(header, width * height);
  if (!pixels) return null;
  const hidden = findPadding(pixels, header);
  const [slope, intercept] = [header.number("RescaleSlope") ?? 1, header.number("RescaleIntercept") ?? 0];
  const values = tabulate(pixels, (pixel) => pixel * slope + intercept);
  const isCt = (header.text("Modality") || (CT_IMAGES.includes(header.text("SOPClassUID")) ? "CT" : "")) === "CT";
  if (isCt && header.text("RescaleIntercept")) {
    const hounsfield = lookUp(pixels, values);
    hidden?.forEach((is, at) => is && (hounsfield[at] = Math.min(hounsfield[at], -1000)));
    return { grey: throughWindow(hounsfield, greyRange(hounsfield, width)), width, height };
  }
  const view = chooseView(pixels, values, hidden, width, header, isCt);
  const grey = lookUp(pixels, throughWindow(values.map(view), [0, 1]));
  hidden?.forEach((is, at) => is && (grey[at] = 0));
  return { grey, width, height };
}

/** Return a function's values for all 65,536 numbers that a pixel may be, float32, negative numbers at the end. */
function tabulate(pixels, compute) {
  const isSigned = pixels instanceof Int16Array || pixels instanceof Int8Array;
  const half = 2 ** 15;
  return Float32Array.from({ length: 2 * half }, (_, at) => compute(isSigned && at >= half ? at - 2 * half : at));
}

function lookUp(pixels, table) {
  const results = new table.constructor(pixels.length);
  for (let at = 0; at < results.length; at++) results[at] = table[pixels[at] & 0xffff];
  return results;
}

/** Return the stored values, shifted to bit 0, without the unused bits. */
function storedPixels(header, count) {
  const [bits, isSigned] = [header.number("BitsAllocated"), header.number("PixelRepresentation") === 1];
  const pixels = header.integers("PixelData", bits, isSigned, count);
  const unused = bits - (header.number("BitsStored") || bits);
  if (!pixels || unused <= 0 || unused >= bits) return pixels;
  const shift = (header.number("HighBit") ?? 0) + 1 - header.number("BitsStored");
  const room = 32 - bits + unused; // bits beside the value in a 32-bit number
  const cut = (pixel) => (isSigned ? (pixel << room) >> room : (pixel << room) >>> room);
  const isCut = pixels.every((pixel) => cut(pixel) === pixel);
  if (isCut && !(shift > 0)) return pixels;
  if (shift > 0 && shift <= unused) {
    const isLow = isCut && pixels.some((pixel) => pixel & (2 ** shift - 1));
    if (!isLow) pixels.forEach((pixel, at) => (pixels[at] = pixel >> shift));
  }
  const hidden = findPadding(pixels, header);
  const plain = (pixel) => (pixel << room) >>> room;
  const hasSign = pixels.some((pixel) => pixel < 0) || !pixels.some((pixel) => cut(pixel) < 0);
  // Without sign, although PixelRepresentation says otherwise: a sign would make bright pixels black.
  const isPlain = !hasSign && roughness(pixels, plain, header) < roughness(pixels, cut, header);
  return pixels.map((pixel, at) => (hidden?.[at] ? pixel : isPlain ? plain(pixel) : cut(pixel)));
}

/** Return the sum of the differences of neighbours in a row, from some of the rows. */
function roughness(pixels, valueOf, header) {
  const [rows, columns] = [header.number("Rows"), header.number("Columns")];
  let sum = 0;
  for (let row = 0; row < rows; row += Math.ceil(rows / MOST_ROWS)) {
    for (let at = row * columns + 1; at < (row + 1) * columns; at++) {
      sum += Math.abs(valueOf(pixels[at]) - valueOf(pixels[at - 1]));
    }
  }
  return sum;
}

/** Return an array that is 1 for padding; null if no value or every value is padding. */
function findPadding(pixels, header) {
  const limits = [header.number("PixelPaddingValue"), header.number("PixelPaddingRangeLimit")].filter(Number.isFinite);
  const bits = 8 * pixels.BYTES_PER_ELEMENT;
  // A value that the pixels cannot have was left in the header when they were reduced to fewer bits.
  if (!limits.length || limits.some((limit) => limit < -(2 ** (bits - 1)) || limit >= 2 ** bits)) return null;
  const sorted = pixels.constructor.from(limits).sort(); // in the pixels' type: many files omit the sign
  const [first, last] = [sorted[0], sorted.at(-1)];
  const hidden = new Uint8Array(pixels.length);
  pixels.forEach((pixel, at) => (hidden[at] = pixel >= first && pixel <= last ? 1 : 0));
  return hidden.includes(1) && hidden.includes(0) ? hidden : null;
}

/** Return the function from a value to grey, 0 (black) to 1 (white): the first window that fits, or the value range. */
function chooseView(pixels, values, hidden, width, header, isCt) {
  const sample = takeSample(pixels, hidden, width).map((pixel) => values[pixel & 0xffff]);
  const isInverse = header.text("PhotometricInterpretation").toUpperCase() === "MONOCHROME1";
  const invert = (shown) => (isInverse ? Math.fround(1 - shown) : shown);
  const views = isCt || !sample.length ? [] : listViews(header);
  const fitting = views.find((each) => fits(sample.map((value) => invert(each(value)))));
  const view = fitting ?? between(...rangeOf(lookUp(pixels, values), hidden, width, isCt));
  return (value) => invert(view(value));
}

function takeSample(pixels, hidden, width) {
  const [across, down] = [width, pixels.length / width].map((side) => Math.ceil(side / SAMPLE_SIDE));
  const sample = [];
  for (let row = 0; row < pixels.length; row += down * width) {
    for (let at = row; at < row + width; at += across) if (!hidden?.[at]) sample.push(pixels[at]);
  }
  return sample;
}

function fits(shown) {
  const sorted = shown.sort((one, other) => one - other);
  const share = (test) => sorted.filter(test).length / sorted.length;
  const percentile = (part) => {
    const place = part * (sorted.length - 1);
    const below = sorted[Math.floor(place)];
    return below + (sorted[Math.ceil(place)] - below) * (place % 1);
  };
  const isGrey = (value) => value > 0.5 / 255 && value < 1 - 0.5 / 255;
  const span = percentile(0.99) - percentile(0.01);
  return share(isGrey) > MIN_GREY_SHARE && share((value) => value >= 1) < MAX_WHITE_SHARE && span > MIN_SPAN;
}

/** Return the functions of the file's table and windows, from a value to 0 to 1; leave out invalid ones. */
function listViews(header) {
  const table = lookupTable(header);
  const name = header.text("VOILUTFunction");
  const [centers, widths] = [header.numbers("WindowCenter"), header.numbers("WindowWidth")];
  const views = centers.slice(0, Math.min(MAX_VIEWS, widths.length)).map((center, at) => {
    const width = widths[at];
    if (name === "SIGMOID" && width > 0) return sigmoid(center, width);
    if (name === "LINEAR_EXACT" && width > 0) return between(center - width / 2, center + width / 2);
    return width > 1 ? between(center - width / 2, center + width / 2 - 1) : null;
  });
  return [table, ...views].filter(Boolean);
}

function between(low, high) {
  const { fround } = Math; // NumPy computes float32 in float32
  const [from, span] = [fround(low), fround(high - low)];
  return (value) => Math.min(Math.max(fround(fround(value - from) / span), 0), 1);
}

function sigmoid(center, width) {
  const exponent = (value) => (-4 * (value - center)) / width;
  return (value) => 1 / (1 + Math.exp(Math.min(Math.max(exponent(value), -MAX_EXPONENT), MAX_EXPONENT)));
}

function lookupTable(header) {
  const item = header.item("VOILUTSequence");
  const [entries, start, bits] = item?.numbers("LUTDescriptor") ?? [];
  const count = entries || MAX_TABLE;
  const table = bits > 0 && bits <= 16 ? item.integers("LUTData", 16, false, count) : null;
  if (!table) return null;
  const isSigned = header.number("PixelRepresentation") === 1;
  const first = isSigned && start >= 2 ** 15 ? start - 2 ** 16 : start;
  const brightest = table.reduce((most, value) => Math.max(most, value));
  const white = brightest.toString(2).length === bits ? 2 ** bits - 1 : brightest; // many files state wrong bits
  return (value) => table[Math.min(Math.max(rint(value) - first, 0), count - 1)] / white;
}

/** Return the values that are shown black and white. For CT, assume the usual offset from HU. */
function rangeOf(values, hidden, width, isCt) {
  const [visible, side] = hidden ? [values.filter((_, at) => !hidden[at]), 0] : [values, width];
  const low = visible.reduce((least, value) => Math.min(least, value));
  const moved = (by) => greyRange(visible.map((value) => value - by), side);
  if (!isCt) return moved(Math.min(low, 0)).map((end) => end + Math.min(low, 0));
  const range = moved(0);
  const offset = low >= 0 && range[1] > 255 ? USUAL_OFFSET : 0;
  const shifted = moved(offset);
  return isLungWindow(shifted) ? shifted.map((end) => end + offset) : range;
}

/** Return the height and the width of a pixel, mm; null if they are unknown or absurd. */
export function pixelSize(header) {
  const both = [header.numbers("PixelSpacing"), header.numbers("ImagerPixelSpacing")];
  const spacing = both.find((numbers) => numbers.length === 2);
  return spacing?.every((side) => side >= PIXEL_MM[0] && side <= PIXEL_MM[1]) ? spacing : null;
}

/** Return how to turn a stored picture upright: whether to transpose it, then to flip its rows and its columns. */
export function turnOf(header) {
  const none = { transposed: false, upsideDown: false, mirrored: false };
  let [row, column] = directions(header);
  const transposed = "LR".includes(column || " ");
  if (transposed) [row, column] = [column, row];
  if (!"LR".includes(row || " ")) return none;
  return { transposed, upsideDown: "RAH".includes(column || " "), mirrored: row === "R" };
}

/** Return the directions of a picture's rows and columns in the patient: L or R, A or P, H or F. */
function directions(header) {
  const cosines = header.numbers("ImageOrientationPatient");
  if (cosines.length === 6) {
    return [cosines.slice(0, 3), cosines.slice(3)].map((line) => {
      const sizes = line.map(Math.abs);
      const axis = sizes.indexOf(Math.max(...sizes));
      return ["LR", "PA", "HF"][axis][line[axis] < 0 ? 1 : 0];
    });
  }
  return header.text("PatientOrientation").split("\\").slice(0, 2).map((part) => part.trim()[0]);
}

/** Return a picture turned as `turnOf` says. */
export function turned(picture, { transposed, upsideDown, mirrored }) {
  if (!transposed && !upsideDown && !mirrored) return picture;
  const { grey, width, height, pixelMm } = picture;
  const [newWidth, newHeight] = transposed ? [height, width] : [width, height];
  const upright = new Uint8Array(grey.length);
  for (let y = 0; y < newHeight; y++) {
    for (let x = 0; x < newWidth; x++) {
      const [row, column] = [upsideDown ? newHeight - 1 - y : y, mirrored ? newWidth - 1 - x : x];
      upright[y * newWidth + x] = transposed ? grey[column * width + row] : grey[row * width + column];
    }
  }
  const sides = transposed && pixelMm ? [pixelMm[1], pixelMm[0]] : pixelMm;
  return { ...picture, grey: upright, width: newWidth, height: newHeight, pixelMm: sides };
}
