// Decide which values of a deep picture are black and white, by the rule of lungnb/formats/ranges.py; make it grey.
// Values are a typed array, row by row; a Float32Array holds float32, other arrays whole numbers.

import { rint } from "./square.js";

const LUNG_WINDOW = [-1000, 400]; // Hounsfield units shown as black and as white
const LUNG_RANGE = [-1500, -200]; // HU of air and lung
const MAX_SHARE = 1.01; // values from 0 to this limit are shares
const MAX_UNITS = 16; // floats from 0 to this limit were normalised in some way
const SHARE_OF_LUNG = 0.001; // from this share of air or lung, a picture is CT
const SAMPLE = 2 ** 16; // look at so many values at most
const PERCENT = 1; // of the values at each end, which do not change the range
const FEW_VALUES = 16; // padding has at most so many different values
const PADDING_GAP = 0.25; // padding is farther from the picture's values than this share of their range

/** Return which values are shown black and white, as [low, high]. `width` is the width of the picture, 0 for a list. */
export function greyRange(values, width) {
  const [low, high] = ends(values);
  const isFloat = values instanceof Float32Array;
  if (low >= 0 && high <= MAX_SHARE && isFloat) return [0, 1];
  if (low >= 0 && high <= 255 && (!isFloat || high > MAX_UNITS)) return [0, 255];
  const inLung = (value) => value > LUNG_RANGE[0] && value < LUNG_RANGE[1];
  if (count(values, inLung) / values.length > SHARE_OF_LUNG) return LUNG_WINDOW;
  const [first, last] = endsOfPicture(values, width);
  const [pictureLow, pictureHigh] = ends(values, first, last);
  if (low < LUNG_RANGE[1] && pictureLow < 0) return LUNG_WINDOW;
  const least = Math.max(1, 1e-6 * Math.abs(pictureLow)); // smallest distance between black and white
  return [pictureLow, pictureHigh > pictureLow ? pictureHigh : pictureLow + least];
}

/** Return values as grey, 0 at `low` and below, 255 at `high` and above. */
export function throughWindow(values, [low, high]) {
  const round = values instanceof Float32Array ? Math.fround : Number; // NumPy computes float32 in float32
  const scale = round(255 / (high - low));
  const [from, to] = [round(low), round(high)];
  const grey = new Uint8Array(values.length);
  for (let at = 0; at < values.length; at++) {
    const clipped = Math.min(Math.max(values[at], from), to);
    grey[at] = rint(round(round(clipped - from) * scale));
  }
  return grey;
}

export const isLungWindow = (range) => range[0] === LUNG_WINDOW[0] && range[1] === LUNG_WINDOW[1];

/** Return the smallest and the largest of the values from `first` to `last`. */
function ends(values, first = -Infinity, last = Infinity) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low && value >= first) low = value;
    if (value > high && value <= last) high = value;
  }
  return [low, high];
}

function count(values, test) {
  let total = 0;
  for (const value of values) total += test(value);
  return total;
}

/** Return two limits: the picture's values lie between them, padding lies outside. */
function endsOfPicture(values, width) {
  let [distinct, counts] = countValues(takeSample(values, width));
  const limits = [-Infinity, Infinity];
  while (distinct.length > FEW_VALUES) {
    const cut = widestGap(distinct);
    const isLowPicture = cut > distinct.length - cut; // because the picture has more values than padding
    const [start, stop] = isLowPicture ? [0, cut] : [cut, distinct.length];
    const span = distinct[stop - 1] - distinct[start];
    const gap = distinct[cut] - distinct[cut - 1];
    if (distinct.length - (stop - start) > FEW_VALUES || gap < PADDING_GAP * span) break;
    limits[isLowPicture ? 1 : 0] = (distinct[cut - 1] + distinct[cut]) / 2;
    [distinct, counts] = [distinct.slice(start, stop), counts.slice(start, stop)];
  }
  const [low, high] = [PERCENT / 100, 1 - PERCENT / 100].map((share) => valueAt(distinct, counts, share));
  return [Math.max(limits[0], low - (high - low)), Math.min(limits[1], high + (high - low))];
}

function takeSample(values, width) {
  const step = Math.ceil((values.length / SAMPLE) ** (width ? 1 / 2 : 1));
  const sample = [];
  const side = width || values.length;
  for (let row = 0; row < values.length; row += step * side) {
    for (let at = row; at < row + side; at += step) sample.push(values[at]);
  }
  return sample;
}

function countValues(sample) {
  const numbers = new Map();
  for (const value of sample) numbers.set(value, (numbers.get(value) ?? 0) + 1);
  const distinct = [...numbers.keys()].sort((one, other) => one - other);
  return [distinct, distinct.map((value) => numbers.get(value))];
}

/** Cut sorted values at the widest gap; return where the second part begins. */
function widestGap(distinct) {
  let best = 1;
  for (let at = 2; at < distinct.length; at++) {
    if (distinct[at] - distinct[at - 1] > distinct[best] - distinct[best - 1]) best = at;
  }
  return best;
}

/** Return the first of the sorted values up to which the counts reach a share of their sum. */
function valueAt(distinct, counts, share) {
  const total = counts.reduce((sum, number) => sum + number, 0);
  let sum = 0;
  return distinct.find((_, at) => (sum += counts[at]) / total >= share) ?? distinct.at(-1);
}
