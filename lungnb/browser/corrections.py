"""Masks that a person corrected: pairs of PNG files at full size, in a folder that `prepare` and `adapt` read."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from lungnb.files import LONGEST_NAME_BYTES, locked, remove_leftovers, text_name, written
from lungnb.formats.images import read_image, read_mask
from lungnb.masks import Grey, Mask

FAST_PNG = 1  # zlib level: a film of 3000x3000 px takes a third of the time of the default, 6, and little more room
_UNUSUAL = re.compile(r"[^\w .()+=-]")  # characters that some file system, shell or table may not take in a name
# Files whose name ends like this would be taken for masks; see `find_pairs` in lungnb/datasets/pairing.py.
_LIKE_MASK = re.compile(r"(mask|label|seg|segmentation|annotation|gt|ground[-_ ]?truth)s?$", re.IGNORECASE)


class Corrections:
    """The corrected pairs in a folder: `images/<name>.png` and `masks/<name>.png`.

    Images are 8-bit grey as the network saw them, at their own size. 16-bit and DICOM films become the grey values that
    are shown, and no header is written. Masks are 0 and 255. A pair belongs to the image with the same pixels. So two
    films of one name get two pairs, and a film that was moved keeps its pair.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __len__(self) -> int:
        return len(self._names("images") & self._names("masks"))

    def load(self, name: str, grey: Grey) -> Mask | None:
        """Return the corrected mask of an image, `(height, width)`, bool; None if there is none.

        Raises ValueError if the mask is damaged or has another size.
        """
        stem = self._stem_of(self._stems(name, grey), grey)
        if stem is None or not (file := self._file("masks", stem)).exists():
            return None
        mask = read_mask(file)
        if mask.shape != grey.shape:
            raise ValueError(f"{file}: has another size than its image. Correct the image again, or remove it.")
        return mask

    def save(self, name: str, grey: Grey, mask: Mask) -> Path:
        """Write an image and its mask, `(height, width)`, uint8 and bool, and return the mask's file.

        An earlier mask of the image is replaced. `name` is the name of the pair, if no other image has it.

        Raises OSError as `files.written` does, RuntimeError while another process writes. Then nothing has changed.
        """
        with locked(self.folder):
            remove_leftovers(self.folder)
            stems = [*self._stems(name, grey)]
            saved_stem = self._stem_of(stems, grey)
            stem = saved_stem or next(filter(self._is_free, stems), stems[-1])
            mask_file = self._file("masks", stem)
            with written(mask_file) as new_mask:
                _write(new_mask, mask.astype(np.uint8) * np.uint8(255))
                if not saved_stem:  # before the mask gets its name, because a mask completes a pair
                    with written(self._file("images", stem)) as new_image:
                        _write(new_image, grey)
            return mask_file

    def _stems(self, name: str, grey: Grey) -> Iterator[str]:
        """Yield the possible names of an image's pair: its name, then its name with a digest of its pixels."""
        stem = _UNUSUAL.sub("_", text_name(name)).lstrip(". ") or "image"
        while len(stem.encode()) > LONGEST_NAME_BYTES:
            stem = stem[:-1]
        if not _LIKE_MASK.search(stem):
            yield stem
        yield f"{stem}_{hashlib.sha256(repr(grey.shape).encode() + grey.tobytes()).hexdigest()[:8]}"

    def _is_free(self, stem: str) -> bool:
        """Return whether no pair has a name, in upper or lower case."""
        return stem.lower() not in self._names("images") | self._names("masks")

    def _stem_of(self, stems: Iterable[str], grey: Grey) -> str | None:
        """Return the first of the names whose stored image has the pixels of `grey`; None if there is none."""
        for stem in stems:
            file = self._file("images", stem)
            with suppress(ValueError):  # of a damaged file, which has no pixels
                if file.exists() and np.array_equal(read_image(file), grey):
                    return stem
        return None

    def _names(self, kind: str) -> set[str]:
        files = (self.folder / kind).glob("*.png")
        return {file.stem.lower() for file in files if not file.name.startswith(".")}

    def _file(self, kind: str, stem: str) -> Path:
        return self.folder / kind / f"{stem}.png"


def _write(file: Path, array: np.ndarray) -> None:
    Image.fromarray(array).save(file, "PNG", compress_level=FAST_PNG)
