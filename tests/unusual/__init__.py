"""Unusual files that people really have, and what lungnb should make of each: the right mask, or a sentence why not.

Each function that is marked with `case` builds its files in a new folder and returns what came of them. All pictures
are phantoms. `tests/test_unusual.py` and `benchmarks/oddities.py` run the cases.
"""

import functools
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from lungnb.formats.images import read_volume
from lungnb.metrics import count_pixels, scores
from lungnb.phantoms.make import make_phantom
from lungnb.segmentation.batch import segment_files
from lungnb.segmentation.predict import segment

CASES: dict[str, Callable[[Path], "Result"]] = {}
SIZE = 256  # px of films and slices
MIN_DICE = 0.99  # with the mask of the same picture in an ordinary file


class Result(NamedTuple):
    """Whether a case came out `right`, `explained` or `wrong`, and what was said."""

    verdict: str
    said: str = ""


def load_all():
    """Import all modules of cases, which registers them; return the modules."""
    return [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]


def case(function):
    """Register a case; its docstring's first line is its name."""
    CASES[function.__doc__.splitlines()[0].rstrip(".")] = function
    return function


def cases(title, kinds):
    """Register a case for each entry of a dict: its key fills `{}` in the title, and the function takes its value."""

    def register(function):
        for name, kind in kinds.items():

            def one(folder, kind=kind):
                return function(folder, kind)

            one.__doc__, one.__module__ = title.format(name), function.__module__
            case(one)
        return function

    return register


def run(name):
    """Run a case in a new folder. If the case raises an exception, its result is wrong."""
    with tempfile.TemporaryDirectory(prefix="lungnb-") as folder:
        try:
            result = CASES[name](Path(folder))
        except Exception as error:
            result = Result("wrong", f"{type(error).__name__}: {error}")
        return result._replace(said=result.said.replace(f"{folder}/", "").replace(folder, "the folder"))


@functools.cache
def film():
    """Return a chest film, uint8."""
    return make_phantom(3, size=SIZE).image


@functools.cache
def ct_slice():
    """Return a CT slice in Hounsfield units, int16."""
    return np.rint(make_phantom(1, kind="ct", size=SIZE).image).astype(np.int16)


@functools.cache
def _mask(kind):
    return segment(film() if kind == "film" else ct_slice()).mask


def written_mask(path):
    """Return the mask that `segment_files` wrote, as bool; of a volume its middle slice."""
    if path.suffix == ".gz":
        mask = read_volume(path).hounsfield > 0
        return mask[len(mask) // 2]
    return np.asarray(Image.open(path)) > 0


def judge(paths, kind, *words, rows=1):
    """Segment files of one film or slice.

    Right if there are as many `rows` as there should be, each with the mask of the ordinary file. Explained if each
    other row has a sentence with all the `words`, in its error, review or note.
    """
    with out_folder() as out:
        table = segment_files(paths, out, progress=False).astype(object).fillna("")
        found = table.to_dict("records")
        said = [" ".join(str(row.get(name, "")) for name in ("error", "review", "note")) for row in found]
        right = [bool(row["mask"]) and is_right(out / row["mask"], kind) for row in found]
    explained = [bool(words) and all(word in text for word in words) for text in said]
    text = "; ".join(filter(None, map(str.strip, said)))
    if len(table) != rows or not all(a or b for a, b in zip(right, explained, strict=True)):
        return Result("wrong", f"{len(table)} masks. {text}")
    return Result("right" if all(right) else "explained", text)


def is_right(file, kind):
    """Return whether the file of a mask is that of the ordinary film or slice."""
    return dice(written_mask(file), _mask(kind)) >= MIN_DICE


def dice(one, other):
    """Return the Dice of two masks, 0 if their sizes differ."""
    return scores(count_pixels(other, one))["dice"] if one.shape == other.shape else 0.0


def explained_by(error, *words):
    """Return `explained` if an error has all the words, else `wrong`."""
    return Result("explained" if all(word in str(error) for word in words) else "wrong", str(error))


@contextmanager
def out_folder():
    """Yield a folder for masks."""
    with tempfile.TemporaryDirectory(prefix="lungnb-") as folder:
        yield Path(folder)


def as_table(results):
    """Return the results of cases, by name, as a table with a row each."""
    return pd.DataFrame([(name, *result) for name, result in results.items()], columns=["case", "result", "said"])
