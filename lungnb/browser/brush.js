// A brush for masks. `Film` holds an image and its mask at full size, with undo and redo. `Editor` shows a film on a
// canvas and lets a person paint. Neither needs a library. The default export connects them with anywidget.

const LUNG = [255, 176, 0]; // amber, as everywhere in lungnb; stands out from grey for colour-blind readers too
const FILL = 0.35; // opacity of the filled mask
const BACKGROUND = 0xff1a1a1a; // beside the image; ABGR
const LINE = 2; // width of the outline, CSS px
const SIZES = [1, 400]; // of the brush: diameter, image px
const ZOOM = 1.25; // of one step
const MAX_SCALE = 40; // screen px of an image px
const STATES = 200; // for undo; each takes some kilobytes
const HEIGHTS = [320, 640]; // of the canvas, CSS px
const SHARE = 0.6; // of the window that it takes at most, if it can
const SHOWN = ["outline", "fill", "hidden"];
const PROBABILITY = "probability"; // offered too if the film has a probability
const [UNLIKELY, TINT] = [[64, 130, 255], 0.6]; // colour of low probabilities (high ones are amber), opacity
const LEVELS = 32; // colours for probabilities from 0 to 1
const HELP =
  "V move · B paint · E or right button erase · [ ] size · Z undo · Y redo · + − zoom · 0 fit · arrows, space or middle button pan · " +
  "F outline, fill, hidden · , . contrast · click the picture, then the wheel zooms · two fingers pan and zoom";
const ICONS = {
  move: "M12 3v18M3 12h18M9 6l3-3 3 3M9 18l3 3 3-3M6 9l-3 3 3 3M18 9l3 3-3 3",
  paint: "M3 21c3 0 5-1 5-4 0-1.5 1-3 2.5-3S13 15.500 13 17c0 3-4 4-10 4zM11.500 13 20 3l1 1-8 10.500",
  erase: "M8 20h12M4 15 14 5l6 6-9 9H8zM9 10l6 6",
  undo: "M8 5 3 10l5 5M3 10h11a6 6 0 0 1 0 11h-3",
  redo: "M16 5l5 5-5 5M21 10H10a6 6 0 0 0 0 11h3",
  "zoom out": "M10 4a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM15 15l6 6M7 10h6",
  "zoom in": "M10 4a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM15 15l6 6M7 10h6M10 7v6",
  fit: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
};
const STYLE = `
.lungnb-brush { color: var(--jp-ui-font-color1, #222); font: 13px var(--jp-ui-font-family, system-ui, sans-serif); }
.lungnb-brush .bar { display: flex; flex-wrap: wrap; gap: 4px 6px; align-items: center; padding: 4px 0; }
.lungnb-brush button, .lungnb-brush select { font: inherit; height: 30px; padding: 0 7px; border-radius: 3px; cursor: pointer;
  color: inherit; background: var(--jp-layout-color2, #eee); border: 1px solid var(--jp-border-color1, #bbb); }
.lungnb-brush button { display: inline-flex; align-items: center; gap: 5px; }
.lungnb-brush button:hover:enabled { background: var(--jp-layout-color3, #ddd); }
.lungnb-brush button[aria-pressed=true] { background: var(--jp-brand-color1, #1976d2); border-color: transparent;
  color: var(--jp-ui-inverse-font-color1, #fff); }
.lungnb-brush button:disabled { opacity: .4; cursor: default; }
.lungnb-brush svg { width: 17px; height: 17px; fill: none; stroke: currentColor; stroke-width: 2; stroke-linecap: round;
  stroke-linejoin: round; }
.lungnb-brush label { display: inline-flex; align-items: center; gap: 5px; }
.lungnb-brush input[type=range] { width: 80px; margin: 0; }
.lungnb-brush output { min-width: 3.2em; font-variant-numeric: tabular-nums; }
.lungnb-brush .gap { width: 6px; }
.lungnb-brush .view { position: relative; overflow: hidden; line-height: 0; }
.lungnb-brush canvas { touch-action: none; cursor: none; border-radius: 2px; }
.lungnb-brush canvas.moving { cursor: grab; }
.lungnb-brush canvas.panning { cursor: grabbing; }
.lungnb-brush :focus-visible { outline: 2px solid var(--jp-brand-color1, #1976d2); outline-offset: 1px; }
.lungnb-brush canvas:focus-visible { outline-offset: -2px; }
.lungnb-brush .ring { position: absolute; left: 0; top: 0; border-radius: 50%; pointer-events: none; display: none;
  box-sizing: border-box; border: 1.5px solid #fff; box-shadow: 0 0 0 1px #000, inset 0 0 0 1px #000; }
.lungnb-brush .help { padding: 3px 0; font-size: 12px; color: var(--jp-ui-font-color2, #555); }
@media (forced-colors: active) { .lungnb-brush button[aria-pressed=true] { outline: 3px solid Highlight; } }
`;

/** Return the lengths of the runs of a mask of 0 and 1: background first, then lung, in turn. */
export function packMask(mask) {
  const runs = [];
  for (let at = 0, value = 0; at < mask.length; value = 1 - value) {
    const next = mask.indexOf(1 - value, at);
    const end = next < 0 ? mask.length : next;
    runs.push(end - at);
    at = end;
  }
  return Uint32Array.from(runs);
}

/** Fill a mask from the lengths of its runs. */
export function unpackMask(runs, mask) {
  let at = 0;
  runs.forEach((run, index) => {
    mask.fill(index % 2, at, at + run);
    at += run;
  });
}

/** Return the pixels of row `y` whose centres lie within `radius` of the line from `a` to `b`, as [first, end). */
export function sweptPixels(y, a, b, radius) {
  const middle = y + 0.5;
  let low = Infinity;
  let high = -Infinity;
  const add = (left, right) => {
    low = Math.min(low, left);
    high = Math.max(high, right);
  };
  for (const [x, at] of [a, b]) {
    const half = Math.sqrt(radius ** 2 - (middle - at) ** 2);
    if (half >= 0) add(x - half, x + half);
  }
  const length = Math.hypot(b[0] - a[0], b[1] - a[1]);
  if (length > 0) {
    const across = [(-(b[1] - a[1]) / length) * radius, ((b[0] - a[0]) / length) * radius];
    const corner = (point, sign) => [point[0] + sign * across[0], point[1] + sign * across[1]];
    const corners = [corner(a, 1), corner(b, 1), corner(b, -1), corner(a, -1)];
    corners.forEach((from, index) => {
      const to = corners[(index + 1) % 4];
      if (from[1] !== to[1] && (from[1] - middle) * (to[1] - middle) <= 0) {
        const x = from[0] + ((middle - from[1]) / (to[1] - from[1])) * (to[0] - from[0]);
        add(x, x);
      }
    });
  }
  return low > high ? [0, 0] : [Math.ceil(low - 0.5), Math.floor(high - 0.5) + 1];
}

/**
 * An image and its mask, with the states of the mask for undo and redo. Sends "change" events. `probability` may be set
 * to a Uint8Array as large as the mask, 0 to 255; then an editor can show it.
 */
export class Film extends EventTarget {
  /** `image` is a canvas or a decoded image; `runs` are those of its mask. */
  constructor(image, width, height, runs) {
    super();
    Object.assign(this, { width, height, mask: new Uint8Array(width * height), states: [runs], state: 0 });
    unpackMask(runs, this.mask);
    // Halved copies, because a browser shrinks a film to less than half slowly or with gaps.
    this.levels = [image];
    for (let side = Math.max(width, height), scale = 2; side / scale > 512; scale *= 2) {
      const half = new OffscreenCanvas(Math.ceil(width / scale), Math.ceil(height / scale));
      half.getContext("2d").drawImage(this.levels.at(-1), 0, 0, half.width, half.height);
      this.levels.push(half);
    }
  }

  /** Set all pixels within `radius` of the line from `a` to `b`, in image px, to 1 or 0. */
  paint(a, b, radius, value) {
    const clip = (at, end) => Math.min(Math.max(at, 0), end);
    const top = clip(Math.floor(Math.min(a[1], b[1]) - radius), this.height);
    const bottom = clip(Math.ceil(Math.max(a[1], b[1]) + radius), this.height);
    for (let y = top; y < bottom; y++) {
      const [first, end] = sweptPixels(y, a, b, radius).map((x) => clip(x, this.width));
      this.mask.fill(value, y * this.width + first, y * this.width + end);
    }
    const sides = [Math.min(a[0], b[0]) - radius, top, Math.max(a[0], b[0]) + radius, bottom];
    this.dispatchEvent(new CustomEvent("change", { detail: { sides } }));
  }

  /** End a stroke: remember the mask, and forget what was undone. */
  commit() {
    const runs = packMask(this.mask);
    const last = this.states[this.state];
    if (runs.length === last.length && runs.every((run, index) => run === last[index])) return;
    this.states = [...this.states.slice(0, this.state + 1), runs].slice(-STATES);
    this.state = this.states.length - 1;
    this.dispatchEvent(new CustomEvent("change", { detail: { runs } }));
  }

  /** Go back some states, forward if `steps` is positive; 0 takes back a stroke that has not ended. */
  go(steps) {
    const state = this.state + steps;
    if (!(state in this.states)) return;
    this.state = state;
    const runs = this.states[state];
    unpackMask(runs, this.mask);
    const sides = [0, 0, this.width, this.height];
    this.dispatchEvent(new CustomEvent("change", { detail: steps ? { sides, runs } : { sides } }));
  }

  /** Replace the whole mask. Call `commit` afterwards to keep it for undo. */
  replace(mask) {
    this.mask.set(mask);
    this.dispatchEvent(new CustomEvent("change", { detail: { sides: [0, 0, this.width, this.height] } }));
  }
}

/** Shows a film in an element, with a toolbar, and lets a person paint. The tool at the start is "move" or "paint". */
export class Editor {
  constructor(parent, tool = "paint") {
    Object.assign(this, { film: null, tool, diameter: 30, shown: "outline", contrast: 1, brightness: 0 });
    this.pointers = new Map(); // by id: where each is on the canvas, in screen px
    this.root = element("div", { className: "lungnb-brush" }, parent);
    // Otherwise JupyterLab would take B for "insert a cell below" and X for "cut the cell".
    this.root.onkeydown = (event) => event.ctrlKey || event.metaKey || event.stopPropagation();
    element("style", { textContent: STYLE }, this.root);
    this.makeBar();
    this.view = element("div", { className: "view" }, this.root);
    this.canvas = element("canvas", { tabIndex: 0 }, this.view);
    this.canvas.setAttribute("role", "img");
    this.context = this.canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    this.ring = element("div", { className: "ring" }, this.view);
    element("div", { className: "help", textContent: HELP }, this.root);
    this.onChange = (event) => this.changed(event.detail);
    this.listen();
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.view);
    this.setTable();
    this.setTool(this.tool);
  }

  makeBar() {
    const bar = element("div", { className: "bar" }, this.root);
    bar.setAttribute("role", "toolbar");
    const button = (name, title, act) => {
      const made = element("button", { type: "button", title, onclick: act }, bar);
      made.setAttribute("aria-label", title);
      made.innerHTML = `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${ICONS[name]}"/></svg>`;
      return made;
    };
    const range = (text, title, [min, max, step, value], act) => {
      const label = element("label", { textContent: text, title }, bar);
      return element("input", { type: "range", min, max, step, value, oninput: (e) => act(+e.target.value) }, label);
    };
    const tool = (name, text, title) => {
      const made = button(name, title, () => this.setTool(name));
      made.append(text);
      return made;
    };
    this.tools = {
      move: tool("move", "Move", "Move the picture (V)"),
      paint: tool("paint", "Paint", "Paint (B)"),
      erase: tool("erase", "Erase", "Erase (E, or right button)"),
    };
    const scale = [0, 100, 1, sizeToSlider(this.diameter)];
    this.size = range("Size", "Diameter of the brush, image px ([ and ])", scale, (at) => this.setSize(sliderToSize(at)));
    this.sizeText = element("output", {}, this.size.parentNode);
    this.undo = button("undo", "Undo (Z)", () => this.film?.go(-1));
    this.redo = button("redo", "Redo (Y)", () => this.film?.go(1));
    element("span", { className: "gap" }, bar);
    button("zoom out", "Zoom out (−)", () => this.zoom(1 / ZOOM));
    button("zoom in", "Zoom in (+)", () => this.zoom(ZOOM));
    button("fit", "Fit the picture (0)", () => this.fit());
    this.select = element("select", { title: "How the mask is shown (F)", onchange: (e) => this.show(e.target.value) }, bar);
    this.select.setAttribute("aria-label", "How the mask is shown (F)");
    const setContrast = (contrast) => this.setWindow({ contrast });
    const setBrightness = (brightness) => this.setWindow({ brightness });
    this.contrastSlider = range("Contrast", "Contrast (, and .)", [0.2, 5, 0.05, 1], setContrast);
    this.brightnessSlider = range("Brightness", "Brightness", [-1, 1, 0.02, 0], setBrightness);
    this.setSize(this.diameter);
  }

  /** Show another film, or none. */
  open(film, title = "") {
    this.endStroke();
    this.film?.removeEventListener("change", this.onChange);
    film?.addEventListener("change", this.onChange);
    this.film = film;
    this.pointers.clear();
    this.canvas.setAttribute("aria-label", `Mask of ${title}, to be corrected with the brush`);
    if (film && !this.hasSize) this.setSize(Math.round(Math.max(film.width, film.height) / 25));
    this.hasSize = true;
    this.choices = film?.probability ? [...SHOWN, PROBABILITY] : SHOWN;
    this.select.replaceChildren(...this.choices.map((name) => new Option(name, name)));
    this.show(this.choices.includes(this.shown) ? this.shown : SHOWN[0]);
    this.resize(true);
    this.changed({});
  }

  remove() {
    this.open(null);
    this.observer.disconnect();
    this.root.remove();
  }

  // What the controls set.

  setTool(tool) {
    this.tool = tool;
    for (const [name, button] of Object.entries(this.tools)) button.setAttribute("aria-pressed", name === tool);
    this.canvas.classList.toggle("moving", tool === "move");
    this.moveRing();
  }

  setSize(diameter) {
    this.diameter = Math.min(Math.max(diameter, SIZES[0]), SIZES[1]);
    this.size.value = sizeToSlider(this.diameter);
    this.sizeText.textContent = `${this.diameter} px`;
    this.moveRing();
  }

  show(how) {
    this.shown = this.select.value = how;
    this.redraw();
  }

  setWindow(changes) {
    Object.assign(this, changes);
    this.contrastSlider.value = this.contrast;
    this.brightnessSlider.value = this.brightness;
    this.setTable();
    this.redraw();
  }

  /** Compute the screen colour of each grey of the film: outside the mask, in a filled mask, and by probability. */
  setTable() {
    this.plain = new Uint32Array(256);
    this.filled = new Uint32Array(256);
    this.tinted = new Uint32Array(256 * LEVELS);
    for (let value = 0; value < 256; value++) {
      const shown = (value - 127.5) * this.contrast + 127.5 * (1 + this.brightness);
      const grey = Math.round(Math.min(Math.max(shown, 0), 255));
      this.plain[value] = abgr(grey, grey, grey);
      this.filled[value] = abgr(...LUNG.map((part) => Math.round(grey + (part - grey) * FILL)));
      for (let level = 0; level < LEVELS; level++) this.tinted[level * 256 + value] = tint(grey, level / (LEVELS - 1));
    }
  }

  // The view: `scale` screen px an image px, the image's corner at `left` and `top` of the canvas.

  resize(isNew = false) {
    const width = this.view.clientWidth;
    if (!this.film || !width) return;
    const most = Math.min(HEIGHTS[1], SHARE * window.innerHeight);
    const height = Math.max(Math.min((width * this.film.height) / this.film.width, most), HEIGHTS[0]);
    this.ratio = window.devicePixelRatio || 1;
    const size = [Math.round(width * this.ratio), Math.round(height * this.ratio)];
    if (!isNew && this.canvas.width === size[0] && this.canvas.height === size[1]) return;
    [this.canvas.width, this.canvas.height] = size;
    // Exactly as large as its pixels, because a stretched canvas would paint beside the pointer.
    Object.assign(this.canvas.style, { width: `${size[0] / this.ratio}px`, height: `${size[1] / this.ratio}px` });
    this.fit();
  }

  fit() {
    if (!this.film) return;
    const { canvas, film } = this;
    this.scale = this.fitted = Math.min(canvas.width / film.width, canvas.height / film.height);
    this.left = (canvas.width - film.width * this.scale) / 2;
    this.top = (canvas.height - film.height * this.scale) / 2;
    this.moveView();
  }

  /** Zoom by a factor around a place on the canvas. */
  zoom(factor, [x, y] = [this.canvas.width / 2, this.canvas.height / 2]) {
    const scale = Math.min(Math.max(this.scale * factor, this.fitted / 2), MAX_SCALE);
    this.left = x - ((x - this.left) * scale) / this.scale;
    this.top = y - ((y - this.top) * scale) / this.scale;
    this.scale = scale;
    this.moveView();
  }

  pan(dx, dy) {
    this.left += dx;
    this.top += dy;
    this.moveView();
  }

  moveView() {
    this.isMoved = true;
    this.moveRing();
    this.redraw();
  }

  toImage([x, y]) {
    return [(x - this.left) / this.scale, (y - this.top) / this.scale];
  }

  // Drawing. A stroke draws only the rectangle that it changed, at the resolution of the screen.

  changed({ sides, runs }) {
    this.undo.disabled = !this.film || this.film.state === 0;
    this.redo.disabled = !this.film || this.film.state === this.film.states.length - 1;
    if (!sides) return;
    const place = (at, corner) => at * this.scale + corner;
    this.redraw([place(sides[0], this.left), place(sides[1], this.top), place(sides[2], this.left), place(sides[3], this.top)]);
  }

  /** Draw a rectangle of the canvas [left, top, right, bottom] in the next frame; everything if none is given. */
  redraw([left, top, right, bottom] = [0, 0, this.canvas.width, this.canvas.height]) {
    const edge = 2 * LINE * (this.ratio ?? 1); // the outline of other pixels may change
    const [l, t, r, b] = this.dirty ?? [Infinity, Infinity, -Infinity, -Infinity];
    this.dirty = [Math.min(l, left - edge), Math.min(t, top - edge), Math.max(r, right + edge), Math.max(b, bottom + edge)];
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      if (this.film && this.canvas.width) this.draw();
    });
  }

  draw() {
    if (this.isMoved) this.resample();
    const { width, height } = this.canvas;
    const [left, top] = [Math.max(Math.floor(this.dirty[0]), 0), Math.max(Math.floor(this.dirty[1]), 0)];
    const [right, bottom] = [Math.min(Math.ceil(this.dirty[2]), width), Math.min(Math.ceil(this.dirty[3]), height)];
    this.dirty = null;
    if (left >= right || top >= bottom) return;
    const part = this.context.createImageData(right - left, bottom - top);
    this.compose(new Uint32Array(part.data.buffer), left, top, right, bottom);
    this.context.putImageData(part, left, top);
  }

  /** Take the greys of the film at the screen's pixels, and which pixel of the film each shows. */
  resample() {
    this.isMoved = false;
    const { width, height } = this.canvas;
    const { film } = this;
    const level = Math.min(Math.max(Math.floor(Math.log2(1 / this.scale)), 0), film.levels.length - 1);
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingEnabled = this.scale < 3; // larger pixels are shown as squares
    context.drawImage(film.levels[level], this.left, this.top, film.width * this.scale, film.height * this.scale);
    this.greys = context.getImageData(0, 0, width, height).data;
    const shown = (length, corner, end) =>
      Int32Array.from({ length }, (_, at) => {
        const pixel = Math.floor((at + 0.5 - corner) / this.scale);
        return pixel >= 0 && pixel < end ? pixel : -1;
      });
    this.columns = shown(width, this.left, film.width);
    this.rows = shown(height, this.top, film.height);
  }

  compose(pixels, left, top, right, bottom) {
    const { film, columns, rows, greys, plain, filled, tinted } = this;
    const tinting = this.shown === PROBABILITY ? film.probability : null;
    const line = Math.max(Math.round(LINE * this.ratio), 1);
    const isLung = (x, y) => columns[x] >= 0 && rows[y] >= 0 && film.mask[rows[y] * film.width + columns[x]] === 1;
    const isInside = (x, y) => isLung(x - line, y) && isLung(x + line, y) && isLung(x, y - line) && isLung(x, y + line);
    const inner = this.shown === "fill" ? filled : plain;
    const amber = abgr(...LUNG);
    let at = 0;
    for (let y = top; y < bottom; y++) {
      for (let x = left; x < right; x++, at++) {
        const grey = greys[4 * (y * this.canvas.width + x)];
        if (rows[y] < 0 || columns[x] < 0) pixels[at] = BACKGROUND;
        else if (tinting) pixels[at] = tinted[((tinting[rows[y] * film.width + columns[x]] * LEVELS) >> 8) * 256 + grey];
        else if (this.shown === "hidden" || !isLung(x, y)) pixels[at] = plain[grey];
        else pixels[at] = isInside(x, y) ? inner[grey] : amber;
      }
    }
  }

  // Pointers and keys.

  listen() {
    const { canvas } = this;
    canvas.onpointerdown = (event) => this.down(event);
    canvas.onpointermove = (event) => this.move(event);
    canvas.onpointerup = canvas.onpointercancel = (event) => this.up(event);
    canvas.onpointerleave = () => this.moveRing(null);
    canvas.oncontextmenu = (event) => event.preventDefault();
    canvas.onkeydown = (event) => this.key(event);
    canvas.onkeyup = (event) => event.code === "Space" && (this.isSpace = false);
    const wheel = (event) => {
      const isFocused = canvas.getRootNode().activeElement === canvas; // otherwise the wheel scrolls the page
      if (!this.film || !(isFocused || event.ctrlKey)) return;
      event.preventDefault();
      this.zoom(ZOOM ** -Math.sign(event.deltaY), this.place(event));
    };
    canvas.addEventListener("wheel", wheel, { passive: false });
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * this.canvas.width,
      ((event.clientY - box.top) / box.height) * this.canvas.height,
    ];
  }

  down(event) {
    if (!this.film) return;
    event.preventDefault();
    if (this.pointers.size && event.pointerType !== this.pointerType) {
      if (event.pointerType !== "pen") return; // the palm, which must not end the stroke of the pen
      if (this.stroke) this.film.go(0); // what the palm painted
      this.stroke = null;
      this.pointers.clear();
    }
    this.pointerType = event.pointerType;
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    const place = this.place(event);
    this.pointers.set(event.pointerId, place);
    if (this.pointers.size > 1) {
      if (this.stroke) this.film.go(0); // the first of two fingers painted
      this.stroke = null;
      return;
    }
    this.isPanning = event.button === 1 || this.isSpace || (this.tool === "move" && event.button === 0);
    this.canvas.classList.toggle("panning", this.isPanning);
    if (this.isPanning || event.button > 2 && event.button !== 5) return;
    const erases = this.tool === "erase" || event.button === 2 || event.button === 5; // 5: the other end of a pen
    this.stroke = { at: this.toImage(place), value: erases ? 0 : 1 };
    this.film.paint(this.stroke.at, this.stroke.at, this.diameter / 2, this.stroke.value);
  }

  move(event) {
    const place = this.place(event);
    this.moveRing(event.pointerType === "touch" ? null : place);
    const before = this.pointers.get(event.pointerId);
    if (!this.film || !before) return;
    if (this.pointers.size === 2) this.pinch(event.pointerId, place);
    else if (this.isPanning) this.pan(place[0] - before[0], place[1] - before[1]);
    else if (this.stroke) {
      const events = event.getCoalescedEvents?.() ?? [];
      for (const each of events.length ? events : [event]) {
        const to = this.toImage(this.place(each));
        this.film.paint(this.stroke.at, to, this.diameter / 2, this.stroke.value);
        this.stroke.at = to;
      }
    }
    this.pointers.set(event.pointerId, place);
  }

  /** Pan and zoom with two fingers, of which one moved. */
  pinch(id, to) {
    const from = this.pointers.get(id);
    const other = [...this.pointers].find(([each]) => each !== id)[1];
    const distance = (place) => Math.max(Math.hypot(place[0] - other[0], place[1] - other[1]), 1);
    this.pan((to[0] - from[0]) / 2, (to[1] - from[1]) / 2);
    this.zoom(distance(to) / distance(from), [(to[0] + other[0]) / 2, (to[1] + other[1]) / 2]);
  }

  up(event) {
    if (this.pointers.size && !this.pointers.has(event.pointerId)) return; // the palm
    this.pointers.delete(event.pointerId);
    this.endStroke();
    this.isPanning = false;
    this.canvas.classList.remove("panning");
  }

  endStroke() {
    if (this.stroke) this.film?.commit();
    this.stroke = null;
  }

  /** Show the ring of the brush at a place on the canvas; null hides it, nothing keeps its place. */
  moveRing(place = this.ringPlace) {
    this.ringPlace = place;
    if (!this.ring) return;
    const isShown = place && this.film && this.tool !== "move";
    this.ring.style.display = isShown ? "block" : "none";
    if (!isShown) return;
    const size = Math.max((this.diameter * this.scale) / this.ratio, 3);
    const [x, y] = place.map((at) => at / this.ratio - size / 2);
    Object.assign(this.ring.style, { width: `${size}px`, height: `${size}px`, transform: `translate(${x}px, ${y}px)` });
  }

  key(event) {
    const { key, ctrlKey, metaKey, shiftKey } = event;
    const step = 40 * this.ratio;
    const acts = {
      v: () => this.setTool("move"), b: () => this.setTool("paint"), e: () => this.setTool("erase"),
      "[": () => this.setSize(Math.floor(this.diameter / 1.2)), "]": () => this.setSize(Math.ceil(this.diameter * 1.2)),
      z: () => this.film?.go(shiftKey ? 1 : -1), y: () => this.film?.go(1),
      "+": () => this.zoom(ZOOM), "=": () => this.zoom(ZOOM), "-": () => this.zoom(1 / ZOOM), 0: () => this.fit(),
      f: () => this.show(this.choices[(this.choices.indexOf(this.shown) + 1) % this.choices.length]),
      ",": () => this.setWindow({ contrast: Math.max(this.contrast / 1.15, 0.2) }),
      ".": () => this.setWindow({ contrast: Math.min(this.contrast * 1.15, 5) }),
      arrowleft: () => this.pan(step, 0), arrowright: () => this.pan(-step, 0),
      arrowup: () => this.pan(0, step), arrowdown: () => this.pan(0, -step),
      " ": () => (this.isSpace = true),
    };
    const name = key.toLowerCase();
    if (!(name in acts) || ((ctrlKey || metaKey) && !"zy".includes(name)) || !this.film) return;
    event.preventDefault();
    event.stopPropagation();
    if (!this.stroke || name === " ") acts[name]();
  }
}

const abgr = (red, green, blue) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;

/** Return the colour of a grey under a probability, 0 to 1: plain at 0, then blue, then amber. */
function tint(grey, share) {
  const opacity = TINT * Math.min(3 * share, 1); // full from a third on
  return abgr(...LUNG.map((amber, at) => Math.round(grey + (UNLIKELY[at] + (amber - UNLIKELY[at]) * share - grey) * opacity)));
}

const sizeToSlider = (size) => Math.round((100 * Math.log(size / SIZES[0])) / Math.log(SIZES[1] / SIZES[0]));
const sliderToSize = (at) => Math.round(SIZES[0] * (SIZES[1] / SIZES[0]) ** (at / 100));

function element(name, properties, parent) {
  const made = Object.assign(document.createElement(name), properties);
  parent.append(made);
  return made;
}

/** Return a film of the bytes of a PNG or JPEG and of its mask's runs, both in DataViews. */
export async function decodeFilm(picture, runs) {
  const image = await createImageBitmap(new Blob([picture]), { colorSpaceConversion: "none" });
  const bytes = runs.buffer.slice(runs.byteOffset, runs.byteOffset + runs.byteLength);
  return new Film(image, image.width, image.height, new Uint32Array(bytes));
}

/** Connect films and editors with the widget `Brush` in brush.py. All views of one widget share its film. */
export default () => {
  let film = null;
  const editors = new Set();
  const openIn = (editor, model) => editor.open(film, model.get("title"));
  return {
    initialize({ model }) {
      const load = async () => {
        const opened = model.get("opened");
        if (!opened) return;
        const next = await decodeFilm(model.get("picture"), model.get("mask"));
        if (opened !== model.get("opened")) return; // another image came meanwhile
        film = next;
        film.addEventListener("change", ({ detail: { runs } }) => {
          if (runs) model.send({ opened }, undefined, [runs.buffer]);
        });
        for (const editor of editors) openIn(editor, model);
      };
      model.on("change:opened", load);
      load();
    },
    render({ model, el }) {
      const editor = new Editor(el);
      editors.add(editor);
      openIn(editor, model);
      return () => {
        editors.delete(editor);
        editor.remove();
      };
    },
  };
};
