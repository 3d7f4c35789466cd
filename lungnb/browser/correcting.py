"""The part of the browser that corrects masks: the brush, its buttons, and the pairs that it saves."""

from __future__ import annotations

import atexit
import html
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import ipywidgets

from lungnb.artefacts import home
from lungnb.browser.adapting import adapt_in_thread, free_folder
from lungnb.browser.brush import Brush, pack_mask, unpack_mask
from lungnb.browser.corrections import Corrections
from lungnb.masks import Grey, Mask
from lungnb.messages import printable

_ALL: weakref.WeakSet[Corrector] = weakref.WeakSet()  # whose strokes are saved when the kernel ends
_EMPTY = "The mask is empty. If the picture shows no lung, press Save{}; otherwise undo or paint."
_LATE = "a stroke that came after the next image was opened is saved"


class _Image(NamedTuple):
    """An image in the brush."""

    number: int  # of `Brush.show`
    name: str  # of its pair
    grey: Grey


class Corrector:
    """The brush with the buttons Correct, Save and Adapt with these, and a line that says what was done.

    `widget` shows the brush, the buttons and the line. While Correct is pressed, the browser passes images to `open`,
    and calls `save` before it shows another one. `network` is the name of the network that is shown, and `start` the
    file of the one to adapt, None for the one that lungnb ships. `on_adapted` takes the file of the adapted network.
    """

    def __init__(
        self, corrections: Corrections, network: str, start: Path | None, on_adapted: Callable[[Path], None]
    ) -> None:
        self.corrections, self.network, self._start, self._on_adapted = corrections, network, start, on_adapted
        self.brush = Brush(self._take)
        self._image: _Image | None = None
        self._earlier: _Image | None = None  # the image before, to which a late stroke may belong
        self._drawn = self._saved = b""  # masks of the image: as drawn, and as opened or saved last
        self._late: list[tuple[_Image, Mask]] = []  # masks of strokes that came late and are not saved yet
        self._is_asked = self._is_adapting = False
        self._message = self._progress = ""  # as HTML
        self._make_controls()
        _ALL.add(self)

    def _make_controls(self) -> None:
        layout = ipywidgets.Layout
        self.correct = ipywidgets.ToggleButton(
            description="Correct", icon="paint-brush", layout=layout(width="120px"),
            tooltip="Correct masks with a brush, at the image's own size",
        )  # fmt: skip
        self.save_button = ipywidgets.Button(
            description="Save", icon="save", layout=layout(width="100px"), disabled=True,
            tooltip="Save image and mask as a pair; strokes are also saved when you go to another image",
        )  # fmt: skip
        self.adapt = ipywidgets.Button(
            description="Adapt with these", icon="graduation-cap", layout=layout(width="170px"),
            tooltip="Train the network on the corrected pairs, then show its masks",
        )  # fmt: skip
        self.status = ipywidgets.HTML()
        self.save_button.on_click(lambda _: self.save(is_asked_for=True))
        self.adapt.on_click(lambda _: self._adapt())
        row = [self.correct, self.save_button, self.adapt, self.status]
        self.row = ipywidgets.HBox(row, layout=layout(flex_flow="row wrap", align_items="center"))
        self.brush.layout.display = "none"
        self._say()

    @property
    def is_on(self) -> bool:
        """Return whether the person corrects masks now."""
        return bool(self.correct.value)

    @property
    def has_strokes(self) -> bool:
        """Return whether there are strokes that are not saved."""
        return self._drawn != self._saved

    def open(self, title: str, name: str, grey: Grey, mask: Mask) -> None:
        """Show an image in the brush, with its corrected mask if there is one, otherwise with `mask`.

        Both are `(height, width)`, uint8 and bool. `name` is the name of the pair that is saved.
        """
        text = ""
        try:
            corrected = self.corrections.load(name, grey)
        except (OSError, ValueError) as error:
            corrected, text = None, str(error)
        mask = mask if corrected is None else corrected
        self._earlier, self._is_asked = self._image, False
        self._image = _Image(self.brush.show(title, grey, mask), name, grey)
        self._drawn = self._saved = pack_mask(mask)
        self.brush.layout.display, self.save_button.disabled = None, False
        self._say(text or ("this mask was corrected" if corrected is not None else ""))

    def close(self) -> None:
        """Hide the brush."""
        self.brush.layout.display, self.save_button.disabled = "none", True
        self._say()

    def save(self, is_asked_for: bool = False) -> bool:
        """Save what was drawn; with `is_asked_for`, also a mask without strokes. Return True if everything is saved.

        If it cannot be saved, or is empty and the person has not confirmed that, say so; the strokes stay in the brush.
        """
        if not self._save_late():
            return False
        if self._image is None or not (self.has_strokes or is_asked_for):
            return True
        mask = unpack_mask(self._drawn, self._image.grey.shape)
        if not mask.any() and not (self._is_asked and is_asked_for):
            self._say(_EMPTY.format(" once more" if is_asked_for else ""), is_error=True)
            self._is_asked = True
            return False
        if not self._write(self._image, mask):
            return False
        self._saved, self._is_asked = self._drawn, False
        self._say("saved")
        return True

    def _write(self, image: _Image, mask: Mask) -> bool:
        try:
            self.corrections.save(image.name, image.grey, mask)
        except (OSError, RuntimeError, ValueError) as error:
            self._say(str(error), is_error=True)
            return False
        return True

    def _save_late(self) -> bool:
        """Save the strokes that came late; return whether none is left."""
        while self._late and self._write(*self._late[0]):
            self._late.pop(0)
        return not self._late

    def _take(self, number: int, runs: bytes) -> None:
        """Take the mask of a stroke. A stroke on the earlier image is saved at once."""
        image = next((image for image in (self._image, self._earlier) if image and image.number == number), None)
        if image is None:
            return
        try:
            mask = unpack_mask(runs, image.grey.shape)
        except ValueError as error:
            self._say(str(error), is_error=True)
            return
        if image is self._image:
            self._drawn, self._is_asked = runs, False
            self._say("strokes are not saved yet" if self.has_strokes else "")
        elif mask.any():
            self._late.append((image, mask))
            if self._save_late():
                self._say(_LATE)

    def _say(self, text: str = "", is_error: bool = False) -> None:
        """Show a text in the status line until there is another one."""
        self._message = f"<b>{_escaped(text)}</b>" if is_error else _escaped(text)
        self._update()

    def _report(self, line: str) -> None:
        """Show the progress of adapting in the status line, beside the text."""
        self._progress = _escaped(line)
        self._update()

    def _update(self) -> None:
        """Show the network, the number of corrected pairs with their folder, the text and the progress."""
        count = len(self.corrections)
        self.adapt.disabled = self._is_adapting or count == 0
        pairs = f"{count:,} corrected, in {_escaped(self.corrections.folder.absolute())}"
        facts = [f"network <b>{_escaped(self.network)}</b>", pairs, self._message, self._progress]
        self.status.value = "&nbsp;" + " &middot; ".join(filter(None, facts))

    def _adapt(self) -> None:
        """Train on the corrected pairs in a thread."""
        if self._is_adapting or not self.save():
            return
        self._is_adapting = True
        self._report("adapting …")
        out = free_folder(home() / "results" / self.corrections.folder.name)
        self.thread = adapt_in_thread(self.corrections.folder, out, self._start, self._report, self._adapted)

    def _adapted(self, file: Path | None, text: str) -> None:
        """Show the masks of the adapted network and what the training said, or show the error."""
        self._is_adapting = False
        if file is not None:
            self.network = file.parent.name
            self._on_adapted(file)
            text = f"adapted to your corrections. {text}"
        self._progress = ""  # only now, because opening the network also reports what it does
        self._say(text, is_error=file is None)


def _escaped(text: object) -> str:
    return html.escape(printable(text))


@atexit.register
def save_all() -> None:
    """Save the strokes of all browsers, because their kernel ends or because images are opened anew."""
    for corrector in list(_ALL):
        corrector.save()
