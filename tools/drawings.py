"""Draw the images that the shipped network learns from, in blocks, each a file of its own."""

from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lungnb.files import written
from lungnb.formats.pixels import fit_square
from lungnb.phantoms import make_phantom

KINDS = {"train": "mixed", "validation": "mixed-wider"}
SIZE, DRAWN_SIZE = 128, 256  # px of the network, and of the drawings that are made small for it
BLOCK = 2000  # drawings in a file
BLOCKS = 30  # of the training drawings
_SEEDS = {"train": 1, "validation": 2}
_FOLDER = Path("data/drawings")

Arrays = tuple[np.ndarray, np.ndarray]  # images and masks, uint8 and bool, (count, size, size)


def draw_block(split: str, number: int) -> Path:
    """Draw a block for training or validation, unless its file is there; return the file."""
    file = _FOLDER / f"{split}_{number:03d}.npz"
    if not file.exists():
        nearest = (2 * np.arange(SIZE) + 1) * DRAWN_SIZE // (2 * SIZE)  # pixel to each centre, as `load_batches` does
        images, masks = np.empty((BLOCK, SIZE, SIZE), np.uint8), np.empty((BLOCK, SIZE, SIZE), bool)
        for place in range(BLOCK):
            drawn = make_phantom(number * BLOCK + place + 1, _SEEDS[split], KINDS[split], DRAWN_SIZE)
            images[place], masks[place] = fit_square(drawn.image, SIZE).array, drawn.mask[np.ix_(nearest, nearest)]
        with written(file) as part, part.open("wb") as stream:
            np.savez_compressed(stream, images=images, masks=masks)
    return file


class Drawings:
    """Blocks of training drawings that other processes make in their order."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        _FOLDER.mkdir(parents=True, exist_ok=True)
        first, *others = range(BLOCKS)
        self._blocks: list[Future[Path]] = [pool.submit(draw_block, "train", first)]
        self._validation = pool.submit(draw_block, "validation", 0)
        self._blocks += [pool.submit(draw_block, "train", number) for number in others]
        self._images, self._masks = np.empty((0, SIZE, SIZE), np.uint8), np.empty((0, SIZE, SIZE), bool)

    def first(self, blocks: int) -> Arrays:
        """Return the drawings of so many blocks; wait for them."""
        new = [
            _read(block) for block in tqdm(self._blocks[len(self._images) // BLOCK : blocks], "drawings", leave=False)
        ]
        self._images = np.concatenate([self._images, *(images for images, _ in new)])
        self._masks = np.concatenate([self._masks, *(masks for _, masks in new)])
        return self._images, self._masks

    def for_validation(self) -> Arrays:
        """Return the drawings from wider ranges; wait for them."""
        return _read(self._validation)


def _read(block: Future[Path]) -> Arrays:
    with np.load(block.result()) as stored:
        return stored["images"], stored["masks"]
