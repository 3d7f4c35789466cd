// The page: open a film, let the network find the lungs, show the result, and let a person correct and save the mask.

import { Editor, Film, packMask } from "./brush.js";
import { turned } from "./film.js";
import { embedded, Network } from "./network.js";
import { openFilm, Refused } from "./opening.js";
import ort from "./ort.js";
import { cleanMask, countSides } from "./regions.js";
import { reviewReasons } from "./review.js";
import { pairName, zipPair } from "./saving.js";

const NO_WASM =
  "This browser does not run WebAssembly, which the network needs. Open the page in a current Chrome, Edge, Firefox " +
  "or Safari, or ask whether your organisation switched WebAssembly off.";
const QUARTER = { transposed: true, upsideDown: false, mirrored: true }; // clockwise
const MM2_PER_CM2 = 100;
const [$, create] = [(id) => document.getElementById(id), (name) => document.createElement(name)];

/** What the page shows now; tests read it as `lungnbPage`. */
const page = (globalThis.lungnbPage = { opened: 0, seconds: null, isReady: false });

const opening = openNetwork();

async function openNetwork() {
  try {
    if (typeof WebAssembly !== "object") throw new Error("no WebAssembly");
    const [wasm, model] = await Promise.all([embedded("wasm"), embedded("network")]);
    const network = await Network.open(ort, wasm, model);
    await network.predict({ grey: Uint8Array.of(0, 255), width: 2, height: 1 }); // the first run takes longest
    showStatus("Ready. Open a film, or try a drawn example.");
    page.isReady = true;
    return network;
  } catch (error) {
    showStatus("");
    complain(NO_WASM);
    console.error(error);
    return null;
  }
}

function showStatus(text) {
  $("status").textContent = text;
}

/** Give a screen reader a sentence on what the page shows. */
function tell(text) {
  $("news").textContent = text;
}

/** Show a sentence on what went wrong; without a sentence, hide the box. */
function complain(text = "") {
  $("problem").textContent = text;
  $("problem").hidden = !text;
  if (text) $("problem").scrollIntoView({ block: "nearest" });
}

/** Open the file of a film, and show the film with its mask. */
function open(file) {
  return segment(file.name, () => openFilm(file));
}

/** Show the picture that `load` returns, with its mask. If several are opened at once, show the last one. */
async function segment(name, load) {
  const started = performance.now();
  const network = await opening;
  if (!network || !mayLeave()) return;
  const number = ++page.opened;
  document.body.classList.add("busy");
  try {
    const picture = await load();
    const answer = await network.predict(picture);
    if (number !== page.opened) return;
    complain();
    show(name, picture, { ...answer, shown: network.corrected(answer.probability) }, network);
    const note = () => (page.seconds = (performance.now() - started) / 1000);
    requestAnimationFrame(() => requestAnimationFrame(note)); // the first frame draws the outline
  } catch (error) {
    if (number !== page.opened) return;
    const reason = `${name}: cannot be segmented (${error.message}). Try a smaller copy.`;
    complain(error instanceof Refused ? error.message : reason);
  } finally {
    if (number === page.opened) document.body.classList.remove("busy");
  }
}

/** Return whether a person has changed the mask since it was made or downloaded. */
function isUnsaved() {
  const runs = page.film?.states[page.film.state];
  return Boolean(runs) && !page.thresholds.has(runs) && page.saved !== runs;
}

/** Return whether the film may be closed; ask if corrections would be lost. */
function mayLeave() {
  return !isUnsaved() || confirm(`The corrections of ${page.name} are not downloaded. Close this film anyway?`);
}

function show(name, picture, answer, network) {
  const { grey, width, height } = picture;
  const mask = maskAbove(network.threshold, answer.shown, width);
  const film = new Film(toCanvas(picture), width, height, packMask(mask));
  film.probability = toBytes(answer.shown);
  const thresholds = new Map([[film.states[0], network.threshold]]); // of masks without corrections
  Object.assign(page, { name, picture, answer, film, network, thresholds, seconds: null });
  film.addEventListener("change", ({ detail: { runs } }) => runs && masked());
  showStatus("");
  $("empty").hidden = true;
  $("editor").hidden = $("result").hidden = false;
  page.editor ??= makeEditor();
  page.editor.open(film, name);
  $("name").textContent = name;
  const size = `${grouped(width)} x ${grouped(height)} px`;
  const negative = answer.isNegative ? "inverted to segment it, because its lungs are bright" : "";
  $("note").textContent = [size, picture.note, negative].filter(Boolean).join(", ");
  masked();
}

/** After a change of the mask, show the sizes of both lungs, and the threshold if the mask has one. */
function masked() {
  const threshold = page.thresholds.get(page.film.states[page.film.state]);
  if (threshold !== undefined) setThreshold(threshold);
  $("replaced").hidden = true;
  measure();
}

function makeEditor() {
  // It starts with a tool that cannot change the mask by a click that nobody meant.
  const editor = new Editor($("editor"), "move");
  const update = () => ($("legend").hidden = editor.shown !== "probability");
  editor.select.addEventListener("change", update);
  editor.canvas.addEventListener("keyup", update);
  return editor;
}

const grouped = (number) => number.toLocaleString("en");

function toCanvas({ grey, width, height }) {
  const canvas = new OffscreenCanvas(width, height);
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let at = 0; at < grey.length; at++) pixels[at] = 0xff000000 | (grey[at] * 0x010101);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

function toBytes(probability) {
  const bytes = new Uint8Array(probability.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = probability[at] * 255 + 0.5;
  return bytes;
}

function maskAbove(threshold, probability, width) {
  const mask = new Uint8Array(probability.length);
  for (let at = 0; at < mask.length; at++) mask[at] = probability[at] > threshold ? 1 : 0;
  return cleanMask(mask, width);
}

/** Measure the mask as it is now, and say why a person should look at it. */
function measure() {
  const { picture, film, answer, network } = page;
  const sides = countSides(film.mask, film.width);
  for (const side of ["right", "left"]) {
    const area = picture.pixelMm && (sides[side] * picture.pixelMm[0] * picture.pixelMm[1]) / MM2_PER_CM2;
    const share = `${((100 * sides[side]) / film.mask.length).toFixed(1)} %`;
    $(side).textContent = area === null ? share : `${area.toFixed(0)} cm²`;
    $(`${side}-px`).textContent = `${area === null ? "of the picture, " : ""}${grouped(sides[side])} px`;
  }
  const { probability, chest } = answer;
  const { chestThreshold } = network;
  const reasons = reviewReasons({ mask: film.mask, width: film.width, probability, sides, chest, chestThreshold });
  showReview(reasons, chest < chestThreshold);
  tell(`Right lung ${$("right").textContent}, left lung ${$("left").textContent}. ${reviewText()}`);
  $("again").disabled = film.state === 0;
}

function showReview(reasons, isWrong) {
  document.querySelector(".lungs").classList.toggle("doubtful", isWrong); // areas of no lungs
  $("review").className = isWrong ? "wrong" : reasons.length ? "doubt" : "";
  const [title, list] = $("review").children;
  title.textContent = "No warning for this mask. Look at it yourself";
  if (reasons.length) title.textContent = isWrong ? "Probably the wrong picture" : "Look at this mask";
  list.replaceChildren(...reasons.map((reason) => Object.assign(create("li"), { textContent: reason })));
  list.hidden = !reasons.length;
}

function reviewText() {
  return [...$("review").querySelectorAll("h3, li")].map((part) => `${part.textContent}.`).join(" ");
}

function setThreshold(threshold) {
  $("threshold").value = threshold;
  $("threshold-text").textContent = threshold.toFixed(2);
}

/** Make the mask for the slider's threshold. Keep it for undo when the slider is released. */
function changeThreshold(isFinal) {
  const { film, answer, thresholds } = page;
  const isCorrected = !thresholds.has(film.states[film.state]);
  const threshold = Number($("threshold").value);
  setThreshold(threshold);
  film.replace(maskAbove(threshold, answer.shown, film.width));
  if (isFinal) {
    film.commit();
    thresholds.set(film.states[film.state], threshold);
  }
  measure();
  if (isCorrected) $("replaced").hidden = false;
}

async function download() {
  const { picture, film, name } = page;
  const runs = film.states[film.state]; // save this mask, even if a person paints meanwhile
  const pair = pairName(name, picture.grey);
  const link = Object.assign(create("a"), { download: `${pair}.zip` });
  try {
    link.href = URL.createObjectURL(await zipPair(pair, picture.grey, film.mask, film.width));
  } catch (error) {
    complain(`${name}: cannot be saved (${error.message}). Close other programs and download it again.`);
    return;
  }
  link.click();
  page.saved = runs;
  complain();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // some browsers ask where to save it first
  showStatus(`Saved as ${link.download}.`);
  tell($("status").textContent);
}

/** Open the drawn example that the button shows. */
function openExample(button) {
  const [, text] = button.querySelector("img").src.split(",");
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  open(new File([bytes], `${button.dataset.name}.png`));
}

function listen() {
  $("old").hidden = true;
  for (const id of ["open", "empty"]) $(id).onclick = () => $("file").click();
  $("file").onchange = () => {
    if ($("file").files.length) open($("file").files[0]);
    $("file").value = ""; // so that the same file can be chosen again
  };
  for (const button of $("examples").children) button.onclick = () => openExample(button);
  $("threshold").oninput = () => changeThreshold(false);
  $("threshold").onchange = () => changeThreshold(true);
  $("again").onclick = () => page.film.go(-page.film.state);
  $("turn").onclick = () => segment(page.name, () => turned(page.picture, QUARTER));
  $("download").onclick = download;
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  addEventListener("dragleave", () => document.body.classList.remove("dropping"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    if (event.dataTransfer.files.length) open(event.dataTransfer.files[0]);
  });
  addEventListener("beforeunload", (event) => isUnsaved() && event.preventDefault());
  addEventListener("paste", (event) => event.clipboardData.files.length && open(event.clipboardData.files[0]));
}

listen();
