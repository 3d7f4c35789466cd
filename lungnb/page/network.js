// Run the network in the page: onnxruntime-web in WebAssembly, on one thread, from bytes that the page holds.

import { passThrough } from "./png.js";
import { fitSquare, unfitSquare } from "./square.js";

const METADATA = 14; // number of the field with the metadata in an ONNX file
const [KEY, VALUE] = [1, 2]; // numbers of the fields of an entry

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

  /** Return the probability of lung (Float32Array) for each pixel of a grey picture, and `chest` if it exists. */
  async predict({ grey, width, height }) {
    const square = fitSquare(grey, width, height, this.size);
    const shares = Float32Array.from(square.pixels, (value) => value / 255);
    const image = new this.ort.Tensor("float32", shares, [1, this.size, this.size, 1]);
    const answer = await this.session.run({ image });
    const isBlank = grey.every((value) => value === grey[0]);
    if (isBlank) return { probability: new Float32Array(grey.length), chest: answer.chest && 0 };
    return { probability: unfitSquare(answer.probability.data, square, width, height), chest: answer.chest?.data[0] };
  }

  /** Divide the logits by the temperature, which was chosen on validation images, and return the probabilities. */
  corrected(probability) {
    if (this.temperature === 1) return probability;
    const power = 1 / this.temperature;
    return probability.map((value) => value ** power / (value ** power + (1 - value) ** power));
  }
}
