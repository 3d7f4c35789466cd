"""Draw phantoms in several processes, and store the training images of the shipped network in files of 2,000."""

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lungnb.files import written
from lungnb.formats.pixels import fit_square
from lungnb.phantoms.make import Phantom, make_phantom

KINDS = {"mixed": "mixed", "wild": "wild", "validation": "mixed-wider"}  # kind of each part
SIZE, DRAWN_SIZE = 128, 256  # px: side of the network's input, and of the drawings before they are shrunk
BLOCK = 2000  # drawings in a file
BLOCKS = {"mixed": 30, "wild": 5}  # number of files of each training part
_SEEDS = {"mixed": 1, "wild": 1, "validation": 2}
_FOLDER = Path("data/drawings")
_CHUNK = 16  # drawings for a process at a time; a larger number would only delay the first drawings

Arrays = tuple[np.ndarray, np.ndarray]  # images and masks, uint8 and bool, (count, size, size)


def drawing_pool() -> ProcessPoolExecutor:
    """Return a pool of processes. They are spawned, because a forked process can hang after TensorFlow has started."""
    return ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), initializer=os.nice, initargs=(10,))


def draw(pool: Executor, first: int, last: int, kind: str, seed: int, size: int) -> Iterator[Phantom]:
    """Draw the phantoms with the numbers `first` to `last` in the processes of a pool. Return them in this order."""
    return pool.map(partial(make_phantom, seed=seed, kind=kind, size=size), range(first, last + 1), chunksize=_CHUNK)


def draw_block(pool: Executor, part: str, number: int) -> Path:
    """Draw a block of a part if its file does not exist; return the file."""
    file = _FOLDER / f"{part}_{number:03d}.npz"
    if not file.exists():
        nearest = (2 * np.arange(SIZE) + 1) * DRAWN_SIZE // (2 * SIZE)  # pixel to each centre, as `load_batches` does
        images, masks = np.empty((BLOCK, SIZE, SIZE), np.uint8), np.empty((BLOCK, SIZE, SIZE), bool)
        numbers = number * BLOCK + 1, (number + 1) * BLOCK
        for place, drawn in enumerate(draw(pool, *numbers, KINDS[part], _SEEDS[part], DRAWN_SIZE)):
            images[place], masks[place] = fit_square(drawn.image, SIZE).array, drawn.mask[np.ix_(nearest, nearest)]
        with written(file) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, images=images, masks=masks)
    return file


def draw_all(pool: Executor) -> tuple[dict[str, Arrays], Arrays]:
    """Return the training drawings of each part, and the validation drawings. Draw the missing ones."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    numbers = {**{part: range(count) for part, count in BLOCKS.items()}, "validation": range(1)}
    arrays = {part: _drawn_blocks(pool, part, blocks) for part, blocks in numbers.items()}
    validation = arrays.pop("validation")
    return arrays, validation


def _drawn_blocks(pool: Executor, part: str, blocks: range) -> Arrays:
    stored = [np.load(draw_block(pool, part, number)) for number in tqdm(blocks, f"drawing {part}")]
    return np.concatenate([one["images"] for one in stored]), np.concatenate([one["masks"] for one in stored])
