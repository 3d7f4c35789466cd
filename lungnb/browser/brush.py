"""The brush: a widget with which a person corrects a mask at full size. Its front end is `brush.js`.

The image goes to the front end once, as PNG. Masks go both ways as run lengths, which take a few kilobytes.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from PIL import Image

from lungnb.browser.corrections import FAST_PNG
from lungnb.masks import Grey, Mask

_RUN = np.dtype("<u4")  # of a run's length in a message


def pack_mask(mask: Mask) -> bytes:
    """Return a bool mask, `(height, width)`, as the lengths of its runs, row by row: background first, then lung.

    >>> np.frombuffer(pack_mask(np.array([[0, 1, 1], [1, 0, 0]], bool)), np.uint32).tolist()
    [1, 3, 2]
    """
    flat = np.concatenate([[False], mask.ravel()])
    ends = np.concatenate([np.flatnonzero(flat[1:] != flat[:-1]), [mask.size]])
    return np.diff(ends, prepend=0).astype(_RUN).tobytes()


def unpack_mask(runs: bytes, shape: tuple[int, ...]) -> Mask:
    """Return the bool mask of this shape, `(height, width)`, from the bytes that `pack_mask` made.

    Raises ValueError if the runs are of a mask of another size.

    >>> unpack_mask(pack_mask(np.array([[True, False]])), (1, 2)).tolist()
    [[True, False]]
    """
    lengths = np.frombuffer(runs, _RUN) if len(runs) % _RUN.itemsize == 0 else np.zeros(0, _RUN)
    if int(lengths.sum(dtype=np.uint64)) != int(np.prod(shape)):
        raise ValueError("the drawn mask has another size than its image. Open the image again.")
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(shape)


class Brush(anywidget.AnyWidget):
    """Shows an image with its mask, lets a person paint, and tells `on_drawn` the mask after each stroke.

    `on_drawn` takes the number of the image, as `show` returned it, and the mask as `pack_mask` makes it.
    """

    _esm = Path(__file__).with_name("brush.js").read_text(encoding="utf-8")
    opened = traitlets.Int(0).tag(sync=True)  # counts the images that were shown
    title = traitlets.Unicode("").tag(sync=True)
    picture = traitlets.Bytes(b"").tag(sync=True)  # PNG, 8-bit grey
    mask = traitlets.Bytes(b"").tag(sync=True)  # as `pack_mask` makes it

    def __init__(self, on_drawn: Callable[[int, bytes], None]) -> None:
        super().__init__()
        self._on_drawn = on_drawn
        self.on_msg(self._receive)

    def show(self, title: str, grey: Grey, mask: Mask) -> int:
        """Show an image and its mask, `(height, width)`, uint8 and bool; return the number of the image."""
        png = io.BytesIO()
        Image.fromarray(grey).save(png, "PNG", compress_level=FAST_PNG)
        with self.hold_sync():  # one message, so that image and mask always belong together
            self.title, self.picture, self.mask = title, png.getvalue(), pack_mask(mask)
            self.opened += 1
        return self.opened

    def _receive(self, _widget: object, content: dict[str, Any], buffers: list[memoryview]) -> None:
        """Take the mask of a stroke. It comes as a message, because a trait might come after the next click."""
        runs, number = bytes(buffers[0]), int(content["opened"])
        if number == self.opened:
            self.mask = runs  # for a page that is loaded again
        self._on_drawn(number, runs)
