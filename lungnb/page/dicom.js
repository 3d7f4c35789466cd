// Read the elements of an uncompressed DICOM file with one picture. Keep nothing that identifies a patient.

const [PREAMBLE, MAGIC] = [128, "DICM"];
const UNDEFINED = 0xffffffff; // as a length: the end has a mark instead
const [ITEM, ITEM_END, SEQUENCE_END] = [0xfffee000, 0xfffee00d, 0xfffee0dd];
const LONG = ["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"]; // kinds with long lengths
const SYNTAXES = { "1.2.840.10008.1.2": false, "1.2.840.10008.1.2.1": true }; // are kinds explicit?
const TAGS = {
  SOPClassUID: 0x00080016, Modality: 0x00080060, ImagerPixelSpacing: 0x00181164, PatientOrientation: 0x00200020,
  ImageOrientationPatient: 0x00200037, SamplesPerPixel: 0x00280002, PhotometricInterpretation: 0x00280004,
  NumberOfFrames: 0x00280008, Rows: 0x00280010, Columns: 0x00280011, PixelSpacing: 0x00280030,
  BitsAllocated: 0x00280100, BitsStored: 0x00280101, HighBit: 0x00280102, PixelRepresentation: 0x00280103,
  PixelPaddingValue: 0x00280120, PixelPaddingRangeLimit: 0x00280121, WindowCenter: 0x00281050, WindowWidth: 0x00281051,
  RescaleIntercept: 0x00281052, RescaleSlope: 0x00281053, VOILUTFunction: 0x00281056,
  ModalityLUTSequence: 0x00283000, LUTDescriptor: 0x00283002, LUTData: 0x00283006, VOILUTSequence: 0x00283010,
  PixelData: 0x7fe00010,
};
const BINARY = [
  "SamplesPerPixel", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
  "PixelPaddingValue", "PixelPaddingRangeLimit", "LUTDescriptor",
]; // 16-bit numbers; the others are text

export const isDicom = (bytes) => textAt(bytes, PREAMBLE, 4) === MAGIC;

const textAt = (bytes, at, length) => String.fromCharCode(...bytes.subarray(at, at + length));

/** Return the elements of a DICOM file by their names; null if its pictures are compressed or packed otherwise. */
export function readDicom(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = PREAMBLE + MAGIC.length;
  const meta = new Elements(bytes, view, true).read(start, bytes.length, (tag) => tag >>> 16 !== 2);
  const syntax = meta.found.get(0x00020010);
  const name = syntax ? clean(textAt(bytes, syntax.at, syntax.length)) : "";
  if (!Object.hasOwn(SYNTAXES, name)) return null;
  return new Header(new Elements(bytes, view, SYNTAXES[name]).read(meta.at, bytes.length));
}

const clean = (text) => text.replace(/\0/g, "").trim();

/** The elements of a data set: the place of each tag's value. */
class Elements {
  constructor(bytes, view, isExplicit) {
    Object.assign(this, { bytes, view, isExplicit, found: new Map() });
  }

  /** Read elements from `at` up to `end`, up to the mark of an item's end, or up to a tag with `isOver(tag)`. */
  read(at, end, isOver = () => false) {
    while (at + 8 <= end) {
      const tag = this.tagAt(at);
      if (isOver(tag)) break;
      if (tag === ITEM_END) return this.stopAt(at + 8);
      const element = this.elementAt(at);
      this.found.set(tag, element);
      at = element.length === UNDEFINED ? this.sequence(element).at : element.at + element.length;
    }
    return this.stopAt(at);
  }

  stopAt(at) {
    this.at = at;
    return this;
  }

  tagAt(at) {
    return ((this.view.getUint16(at, true) << 16) | this.view.getUint16(at + 2, true)) >>> 0;
  }

  elementAt(at) {
    const kind = textAt(this.bytes, at + 4, 2);
    if (!this.isExplicit || !/^[A-Z]{2}$/.test(kind)) return { at: at + 8, length: this.view.getUint32(at + 4, true) };
    if (LONG.includes(kind)) return { at: at + 12, length: this.view.getUint32(at + 8, true), kind };
    return { at: at + 8, length: this.view.getUint16(at + 6, true), kind };
  }

  /** Return the first item of a sequence, and where the sequence ends. */
  sequence({ at, length, kind }) {
    const end = length === UNDEFINED ? this.bytes.length : at + length;
    const isExplicit = this.isExplicit && kind !== "UN"; // sequences of unknown kind are written without kinds
    let first = null;
    while (at + 8 <= end) {
      const [tag, itemLength] = [this.tagAt(at), this.view.getUint32(at + 4, true)];
      at += 8;
      if (tag === SEQUENCE_END) break;
      if (tag !== ITEM) throw new Error("damaged");
      const item = new Elements(this.bytes, this.view, isExplicit);
      at = item.read(at, itemLength === UNDEFINED ? end : at + itemLength).at;
      first ??= item;
    }
    return { first, at };
  }
}

/** The values of the elements that films need, by their names. */
class Header {
  constructor(elements) {
    this.elements = elements;
  }

  element(name) {
    const element = this.elements.found.get(TAGS[name]);
    return element?.length ? element : undefined;
  }

  /** Return a value as text; "" if there is none. */
  text(name) {
    const element = this.element(name);
    return element ? clean(textAt(this.elements.bytes, element.at, element.length)) : "";
  }

  /** Return the numbers of a value, none if they are not numbers. */
  numbers(name) {
    const element = this.element(name);
    if (!element) return [];
    if (BINARY.includes(name)) {
      const length = Math.floor(element.length / 2);
      return Array.from({ length }, (_, at) => this.elements.view.getUint16(element.at + 2 * at, true));
    }
    const numbers = this.text(name).split("\\").map((part) => (part.trim() ? Number(part) : NaN));
    return numbers.every(Number.isFinite) ? numbers : [];
  }

  number(name) {
    return this.numbers(name)[0];
  }

  /** Return the header of the first item of a sequence; undefined if there is none. */
  item(name) {
    const element = this.element(name);
    const { first } = element ? this.elements.sequence(element) : {};
    return first ? new Header(first) : undefined;
  }

  /** Return a value as `count` whole numbers of 8 or 16 bits, with a sign if `isSigned`; null if there are too few. */
  integers(name, bits, isSigned, count) {
    const element = this.element(name);
    const bytes = (count * bits) / 8;
    if (!element || element.at + bytes > this.elements.bytes.length || element.length < bytes) return null;
    const copy = this.elements.bytes.slice(element.at, element.at + bytes).buffer; // starts at an even byte
    if (bits === 8) return isSigned ? new Int8Array(copy) : new Uint8Array(copy);
    return isSigned ? new Int16Array(copy) : new Uint16Array(copy);
  }
}
