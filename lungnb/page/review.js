// Say why a person should look at a mask: the rules of lungnb/segmentation/lungs.py and inference.py.

import { rint } from "./square.js";

const NOT_A_CHEST = "does not look like an upright chest film or axial CT slice";
const LUNG_SHARE = [0.02, 0.6]; // plausible area of lungs (share of the image)
const MAX_SIZE_RATIO = 2.5; // of the larger lung to the smaller
const MAX_UNCERTAINTY = 0.2; // uncertain pixels, divided by those of the mask
const UNCERTAIN = [0.1, 0.9]; // probabilities between these limits are uncertain
const SAMPLES = 256; // of pixels along the shorter side are enough to see how uncertain a mask is

const percent = (share) => `${rint(100 * share)}%`;

/**
 * Return the list of reasons, which may be empty. `sides` has the numbers of pixels of the right and the left lung.
 * `chest` is the network's output, 0 to 1. A value below `chestThreshold` means no chest. Networks without this output
 * have neither.
 */
export function reviewReasons({ mask, width, probability, sides, chest, chestThreshold }) {
  const reasons = chest < chestThreshold ? [NOT_A_CHEST] : [];
  const [small, large] = [sides.right, sides.left].sort((one, other) => one - other);
  if (!large) return [...reasons, "no lung"];
  if (!small) reasons.push("one lung only");
  else if (large > MAX_SIZE_RATIO * small) {
    reasons.push(`one lung is ${(rint((10 * large) / small) / 10).toFixed(1)} times as large as the other`);
  }
  const share = (small + large) / mask.length;
  const [low, high] = LUNG_SHARE;
  if (share < low || share > high) {
    reasons.push(`${percent(share)} of the picture is lung (usual: ${percent(low)} to ${percent(high)})`);
  }
  const uncertain = uncertainty(probability, mask, width);
  if (uncertain > MAX_UNCERTAINTY) {
    reasons.push(`the network is uncertain (uncertain pixels: ${percent(uncertain)} of the mask)`);
  }
  return reasons;
}

/** Return the number of pixels with a probability of lung from 0.1 to 0.9, divided by that of the mask. */
export function uncertainty(probability, mask, width) {
  const step = Math.max(Math.floor(Math.min(width, mask.length / width) / SAMPLES), 1);
  let [uncertain, lung] = [0, 0];
  for (let row = 0; row < mask.length; row += step * width) {
    for (let at = row; at < row + width; at += step) {
      lung += mask[at];
      if (probability[at] > UNCERTAIN[0] && probability[at] < UNCERTAIN[1]) uncertain++;
    }
  }
  return lung ? uncertain / lung : Infinity;
}
