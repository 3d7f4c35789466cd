// Connected regions of masks: clean a mask, and separate the two lungs. The rules are those of lungnb/masks.py and
// lungnb/segmentation/lungs.py. A mask is a Uint8Array of 0 and 1, row by row.

const MIN_LUNG_SHARE = 0.1; // of the larger region; a smaller region is not the other lung
const MAX_OFF_MIDDLE = 0.25; // of the region's width; the middle of both lungs is nearer to the picture's middle
const MAX_SHARED_COLUMNS = 0.5; // of the narrower region; regions that share more columns lie one above the other
const MIN_WIDTH_OF_BOTH = 0.8; // of the region's height; a wider region across the middle is two lungs that touch

/**
 * Return the connected regions of the pixels that have `value`, in the order of their first pixels. `reach` is 1 if
 * pixels that touch at a corner belong together, else 0. A region has a size, a box, and its runs [row, start, end).
 */
export function findRegions(mask, width, value = 1, reach = 1) {
  const runs = findRuns(mask, width, value);
  const parents = joinRuns(runs, reach);
  const regions = new Map();
  runs.forEach((run, at) => {
    const root = rootOf(parents, at);
    if (!regions.has(root)) regions.set(root, { size: 0, left: width, right: 0, top: run[0], bottom: 0, runs: [] });
    const region = regions.get(root);
    region.size += run[2] - run[1];
    region.left = Math.min(region.left, run[1]);
    region.right = Math.max(region.right, run[2]);
    region.bottom = run[0] + 1;
    region.runs.push(run);
  });
  return [...regions.values()];
}

function findRuns(mask, width, value) {
  const runs = [];
  for (let at = mask.indexOf(value); at >= 0; ) {
    const next = mask.indexOf(1 - value, at);
    const end = next < 0 ? mask.length : next;
    for (let start = at; start < end; ) {
      const row = Math.floor(start / width);
      const stop = Math.min((row + 1) * width, end);
      runs.push([row, start - row * width, stop - row * width]);
      start = stop;
    }
    at = next < 0 ? -1 : mask.indexOf(value, end);
  }
  return runs;
}

/** Join touching runs of neighbouring rows; return each run's parent in a forest. The root is a region's first run. */
function joinRuns(runs, reach) {
  const parents = runs.map((_, at) => at);
  let above = 0;
  runs.forEach(([row, start, end], at) => {
    while (runs[above][0] < row - 1 || (runs[above][0] === row - 1 && runs[above][2] + reach <= start)) above++;
    for (let other = above; runs[other][0] === row - 1 && runs[other][1] < end + reach; other++) {
      const [one, two] = [rootOf(parents, at), rootOf(parents, other)];
      parents[Math.max(one, two)] = Math.min(one, two);
    }
  });
  return parents;
}

function rootOf(parents, at) {
  while (parents[at] !== at) at = parents[at] = parents[parents[at]];
  return at;
}

/** Return the regions of a mask, the largest first. */
function sortedRegions(mask, width) {
  return findRegions(mask, width).reverse().sort((one, other) => other.size - one.size);
}

function fillRuns(mask, width, { runs }) {
  for (const [row, start, end] of runs) mask.fill(1, row * width + start, row * width + end);
}

/** Keep the two largest regions of a mask, and fill their holes. */
export function cleanMask(mask, width) {
  const cleaned = new Uint8Array(mask.length);
  for (const region of sortedRegions(mask, width).slice(0, 2)) fillRuns(cleaned, width, region);
  const height = mask.length / width;
  for (const region of findRegions(cleaned, width, 0, 0)) {
    const { left, right, top, bottom } = region;
    if (left > 0 && top > 0 && right < width && bottom < height) fillRuns(cleaned, width, region);
  }
  return cleaned;
}

/** Return how many pixels the patient's right and left lung have. The right lung is on the left of the picture. */
export function countSides(mask, width) {
  const regions = sortedRegions(mask, width);
  const total = regions.reduce((sum, { size }) => sum + size, 0);
  const [larger, smaller] = regions;
  if (!larger) return { right: 0, left: 0 };
  if (smaller && areSideBySide(larger, smaller)) {
    const right = meanColumn(smaller) <= meanColumn(larger) ? smaller.size : larger.size;
    return { right, left: total - right };
  }
  let right = meanColumn(larger) < width / 2 ? total : 0;
  if (isAcross(larger, width / 2)) right = countLeftOf(mask, width, thinnestColumn(larger));
  return { right, left: total - right };
}

function areSideBySide(larger, smaller) {
  const shared = Math.min(larger.right, smaller.right) - Math.max(larger.left, smaller.left);
  const narrower = Math.min(larger.right - larger.left, smaller.right - smaller.left);
  return smaller.size >= MIN_LUNG_SHARE * larger.size && shared < MAX_SHARED_COLUMNS * narrower;
}

function isAcross({ left, right, top, bottom }, middle) {
  const offMiddle = Math.abs(middle - (left + right) / 2);
  return right - left > MIN_WIDTH_OF_BOTH * (bottom - top) && offMiddle < MAX_OFF_MIDDLE * (right - left);
}

/** Return the number of pixels of a region in each column of its box. */
function countColumns({ left, right, runs }) {
  const counts = new Float64Array(right - left + 1); // first the differences, then the sums
  for (const [, start, end] of runs) {
    counts[start - left]++;
    counts[end - left]--;
  }
  for (let at = 1; at < counts.length; at++) counts[at] += counts[at - 1];
  return counts.subarray(0, right - left);
}

function meanColumn(region) {
  return region.left + countColumns(region).reduce((sum, count, at) => sum + count * at, 0) / region.size;
}

/** Return the column with the fewest pixels in the region's middle third; if several, the one nearest to the middle. */
function thinnestColumn(region) {
  const counts = countColumns(region);
  const third = Math.floor(counts.length / 3);
  const inner = counts.subarray(third, counts.length - third);
  const lowest = Math.min(...inner);
  let best = -1;
  inner.forEach((count, at) => {
    const isNearer = best < 0 || Math.abs(at - inner.length / 2) < Math.abs(best - inner.length / 2);
    if (count === lowest && isNearer) best = at;
  });
  return region.left + third + best;
}

function countLeftOf(mask, width, column) {
  let count = 0;
  for (let row = 0; row < mask.length; row += width) {
    for (let at = row; at < row + column; at++) count += mask[at];
  }
  return count;
}
