"""Draw the images that the shipped network learns from, in blocks, each a file of its own."""

from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lungnb.files import written
from lungnb.formats.pixels import fit_square
from lungnb.phantoms import make_phantom

KINDS = {"mixed": "mixed", "wild": "wild", "validation": "mixed-wider"}  # kind of each part
SIZE, DRAWN_SIZE = 128, 256  # px: side of the network's input, and of the drawings before they are shrunk
BLOCK = 2000  # drawings in a file
BLOCKS = {"mixed": 30, "wild": 5}  # number of files of each training part
_SEEDS = {"mixed": 1, "wild": 1, "validation": 2}
_FOLDER = Path("data/drawings")

Arrays = tuple[np.ndarray, np.ndarray]  # images and masks, uint8 and bool, (count, size, size)


def draw_block(part: str, number: int) -> Path:
    """Draw a block of a part if its file does not exist; return the file."""
    file = _FOLDER / f"{part}_{number:03d}.npz"
    if not file.exists():
        nearest = (2 * np.arange(SIZE) + 1) * DRAWN_SIZE // (2 * SIZE)  # pixel to each centre, as `load_batches` does
        images, masks = np.empty((BLOCK, SIZE, SIZE), np.uint8), np.empty((BLOCK, SIZE, SIZE), bool)
        for place in range(BLOCK):
            drawn = make_phantom(number * BLOCK + place + 1, _SEEDS[part], KINDS[part], DRAWN_SIZE)
            images[place], masks[place] = fit_square(drawn.image, SIZE).array, drawn.mask[np.ix_(nearest, nearest)]
        with written(file) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, images=images, masks=masks)
    return file


def draw_all(pool: ProcessPoolExecutor) -> tuple[dict[str, Arrays], Arrays]:
    """Return the training drawings of each part, and the validation drawings. Draw the missing ones."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    numbers = {**{part: range(count) for part, count in BLOCKS.items()}, "validation": range(1)}
    drawn = {part: [pool.submit(draw_block, part, number) for number in blocks] for part, blocks in numbers.items()}
    arrays = {part: _read(blocks, part) for part, blocks in drawn.items()}
    validation = arrays.pop("validation")
    return arrays, validation


def _read(blocks: list[Future[Path]], part: str) -> Arrays:
    stored = [np.load(block.result()) for block in tqdm(blocks, f"drawing {part}")]
    return np.concatenate([one["images"] for one in stored]), np.concatenate([one["masks"] for one in stored])
