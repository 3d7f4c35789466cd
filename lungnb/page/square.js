// Fit a film into the network's square, and bring the result back: the steps of lungnb/formats/pixels.py. The numbers
// are the same, because the scripts round in the same places.

/** Return the nearest whole number; of two equally near numbers, the even one, as NumPy does. */
export function rint(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest < 0.5 || (rest === 0.5 && floor % 2 === 0) ? floor : floor + 1;
}

/** Return the rows that each new row covers, and their weights: [first row, [weight, weight, ...]] for each. */
function areaWeights(rows, newRows) {
  const ratio = rows / newRows;
  return Array.from({ length: newRows }, (_, at) => {
    const [top, bottom] = [at * ratio, (at + 1) * ratio];
    const first = Math.floor(top);
    const weights = [];
    for (let row = first; row < Math.min(Math.ceil(bottom), rows); row++) {
      weights.push((Math.min(row + 1, bottom) - Math.max(row, top)) * (newRows / rows));
    }
    return [first, weights];
  });
}

/** Return the rows between which each new row lies, and their weights, as Pillow interpolates. */
function linearWeights(rows, newRows) {
  const scale = rows / newRows;
  const reach = Math.max(scale, 1); // a smaller image is averaged
  return Array.from({ length: newRows }, (_, at) => {
    const middle = (at + 0.5) * scale;
    const first = Math.max(Math.trunc(middle - reach + 0.5), 0);
    const last = Math.min(Math.trunc(middle + reach + 0.5), rows);
    const weights = [];
    for (let row = first; row < last; row++) {
      weights.push(Math.max(1 - Math.abs((row - middle + 0.5) * (1 / reach)), 0));
    }
    const sum = weights.reduce((total, weight) => total + weight);
    return [first, weights.map((weight) => weight / sum)];
  });
}

/** Return new rows of `width` numbers: each is a weighted sum of old rows. */
function mixRows(array, width, weights, Kind) {
  const mixed = new Kind(weights.length * width);
  const sum = new Float64Array(width);
  weights.forEach(([first, each], at) => {
    if (each.length === 2) return mixTwo(mixed, at * width, array, first * width, width, each);
    sum.fill(0);
    each.forEach((weight, step) => {
      const from = (first + step) * width;
      for (let x = 0; x < width; x++) sum[x] += weight * array[from + x];
    });
    mixed.set(sum, at * width);
  });
  return mixed;
}

/** Write the weighted sum of two neighbouring rows, as most rows of an enlarged picture need it. */
function mixTwo(mixed, to, array, from, width, [above, below]) {
  for (let x = 0; x < width; x++) mixed[to + x] = above * array[from + x] + below * array[from + width + x];
}

/** Return rows of `width` numbers with new columns: each is a weighted sum of old columns. */
function mixColumns(array, width, weights, Kind) {
  const height = array.length / width;
  const mixed = new Kind(height * weights.length);
  weights.forEach(([first, each], at) => {
    for (let y = 0; y < height; y++) {
      let sum = 0;
      for (let step = 0; step < each.length; step++) sum += each[step] * array[y * width + first + step];
      mixed[y * weights.length + at] = sum;
    }
  });
  return mixed;
}

/**
 * Fit a grey image into a square of `size` px: area-averaged, with black borders that keep its proportions.
 * Return the square's pixels, and where the image lies in it.
 */
export function fitSquare(grey, width, height, size) {
  const { fround } = Math; // TensorFlow rounds sizes in float32
  const ratio = fround(Math.max(width, height) / size);
  const sides = [fround(height / ratio), fround(width / ratio)];
  const [newHeight, newWidth] = sides.map((side) => Math.max(Math.trunc(side), 1));
  const [top, left] = sides.map((side) => Math.trunc(fround(size - side) / 2));
  const shrunk = mixRows(grey, width, areaWeights(height, newHeight), Float64Array);
  const small = mixColumns(shrunk, width, areaWeights(width, newWidth), Float64Array);
  const pixels = new Uint8Array(size * size);
  small.forEach((value, at) => {
    pixels[(top + Math.floor(at / newWidth)) * size + left + (at % newWidth)] = rint(value);
  });
  return { pixels, size, top, left, height: newHeight, width: newWidth };
}

/** Cut the image out of a square of numbers, and return it interpolated to another size, float32. */
export function unfitSquare(map, square, width, height) {
  const part = new Float32Array(square.width * square.height);
  for (let y = 0; y < square.height; y++) {
    const from = (square.top + y) * square.size + square.left;
    part.set(map.subarray(from, from + square.width), y * square.width);
  }
  const wide = mixColumns(part, square.width, linearWeights(square.width, width), Float32Array);
  return mixRows(wide, width, linearWeights(square.height, height), Float32Array);
}
