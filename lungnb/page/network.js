// Run the network in the page: onnxruntime-web in WebAssembly, on one thread, from bytes that the page holds.

import { passThrough } from "./png.js";
import { fitSquare, unfitSquare } from "./square.js";

const METADATA = 14; // number of the field with the metadata in an ONNX file
const [KEY, VALUE] = [1, 2]; // numbers of the fields of an entry
const MIN_LUNG_SHARE = 0.02; // of the square; a smaller mask does not tell whether a picture is a negative
const NEGATIVE_LEVELS = 10; // by which the lungs of a negative are brighter, as in lungnb/segmentation/inference.py

/** Return the bytes of a gzipped file that an element of the page holds in base64, and free the element's text. */
export async function embedded(id) {
  const element = document.getElementById(id);
  const text = atob(element.textContent.trim());
  element.remove();
  const packed = new Uint8Array(text.length);
  for (let at = 0; at < packed.length; at++) packed[at] = text.charCodeAt(at);
  return passThrough([packed], new DecompressionStream("gzip"));
}

/** Return the metadata of an ONNX file by name; docs/how-to-onnx.md explains them. */
export function readMetadata(bytes) {
  const facts = {};
  for (const [field, entry] of fields(bytes)) {
    if (field !== METADATA) continue;
    const parts = Object.fromEntries(fields(entry));
    facts[new TextDecoder().decode(parts[KEY])] = new TextDecoder().decode(parts[VALUE]);
  }
  return facts;
}

/** Yield the number and the content of each protobuf field that holds bytes. */
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    for (let value = 0, scale = 1; ; scale *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = varint();
    const kind = key % 8;
    if (kind === 0) varint();
    else if (kind === 2) {
      const length = varint();
      yield [Math.floor(key / 8), bytes.subarray(at, at + length)];
      at += length;
    } else at += kind === 1 ? 8 : 4;
  }
}

/** Return whether a picture is a negative: its lungs are brighter than the other pixels of the box around them. */
export function isNegative({ pixels, size }, probability, threshold) {
  let [top, bottom, left, right] = [size, -1, size, -1];
  let lung = 0;
  for (let at = 0; at < pixels.length; at++) {
    if (!(probability[at] > threshold)) continue;
    const [y, x] = [Math.floor(at / size), at % size];
    [top, bottom, left, right] = [Math.min(top, y), y, Math.min(left, x), Math.max(right, x)];
    lung++;
  }
  const others = (bottom - top + 1) * (right - left + 1) - lung;
  if (lung < MIN_LUNG_SHARE * pixels.length || !others) return false;
  const sums = [0, 0]; // of the pixels without and with lung
  for (let y = top; y <= bottom; y++) {
    for (let x = left; x <= right; x++) sums[+(probability[y * size + x] > threshold)] += pixels[y * size + x];
  }
  return sums[1] / lung - sums[0] / others > NEGATIVE_LEVELS;
}

/** A network that was opened with onnxruntime-web, `ort`. */
export class Network {
  static async open(ort, wasm, model) {
    Object.assign(ort.env.wasm, { wasmBinary: wasm, numThreads: 1 });
    ort.env.logLevel = "error";
    const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
    return new Network(ort, session, readMetadata(model));
  }

  constructor(ort, session, facts) {
    Object.assign(this, { ort, session, size: Number(facts.input_size), threshold: Number(facts.threshold) });
    this.temperature = Number(facts.temperature ?? 1);
    this.chestThreshold = "chest_threshold" in facts ? Number(facts.chest_threshold) : undefined;
  }

  /**
   * Return the probability of lung (Float32Array) for each pixel of a grey picture, `chest` if it exists, and
   * `isNegative`: whether the picture was inverted to predict it, because its lungs are bright.
   */
  async predict({ grey, width, height }) {
    let [square, answer] = await this.predictSquare(grey, width, height);
    const isBlank = grey.every((value) => value === grey[0]);
    if (isBlank) return { probability: new Float32Array(grey.length), chest: answer.chest && 0, isNegative: false };
    const inverted = Boolean(answer.chest) && isNegative(square, answer.probability.data, this.threshold);
    if (inverted) {
      [square, answer] = await this.predictSquare(
        grey.map((value) => 255 - value),
        width,
        height,
      );
    }
    const probability = unfitSquare(answer.probability.data, square, width, height);
    return { probability, chest: answer.chest?.data[0], isNegative: inverted };
  }

  /** Return a picture in the square that the network sees, and the outputs of the network. */
  async predictSquare(grey, width, height) {
    const square = fitSquare(grey, width, height, this.size);
    const shares = Float32Array.from(square.pixels, (value) => value / 255);
    const image = new this.ort.Tensor("float32", shares, [1, this.size, this.size, 1]);
    return [square, await this.session.run({ image })];
  }

  /** Divide the logits by the temperature, which was chosen on validation images, and return the probabilities. */
  corrected(probability) {
    if (this.temperature === 1) return probability;
    const power = 1 / this.temperature;
    return probability.map((value) => value ** power / (value ** power + (1 - value) ** power));
  }
}
