"""A browser for JupyterLab of images and what a network finds in them, with marks of what it gets wrong.

Where no kernel runs, as on a page made from a notebook, the first few cases stand as a picture in its place.
"""

from __future__ import annotations

import html
import io
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import ipywidgets
import numpy as np

from lungnb.artefacts import home
from lungnb.browser.cases import Case, image_cases, prepared_cases
from lungnb.browser.marks import Marks
from lungnb.browser.panels import outlines_legend, picture_of, scale_legend
from lungnb.engines.engines import THRESHOLD
from lungnb.evaluation.calibration import disagreement, predict_augmented
from lungnb.figures.pictures import outline_grid
from lungnb.masks import clean_mask
from lungnb.metrics import count_pixels, scores
from lungnb.segmentation.predict import best_model, open_model
from lungnb.settings import SHIPPED, Settings

VIEWS = ("image", "probability", "disagreement")  # of the picture on the right
_FIRST = 6  # cases of the picture that stands for the browser
_KEPT = 24  # cases whose probabilities are kept, some 5 MB each at most


class _Found(NamedTuple):
    """A case's image and true mask, and the probabilities the network gives it as it is, then augmented."""

    image: np.ndarray | None = None
    truth: np.ndarray | None = None
    answers: Sequence[np.ndarray] = ()
    error: str = ""


def browse(
    images: str | Path | np.ndarray | Iterable[str | Path | np.ndarray] | Settings,
    model: object = None,
    split: str = "validation",
    marks: str | Path | None = None,
) -> Browser:
    """Return a browser of images and of what a network finds in them: the last line of a cell shows it.

    On the left the outline of the mask at the threshold of the slider, on the right the image, the probability of lung,
    or how far the answers differ when the network is asked again (`doubt.ask`). "Mark as wrong" writes to `marks` at
    once, and marks made before are shown. Only the case shown is segmented, and the next one meanwhile; one that
    cannot be read says why. Images are looked at with 1,024 px at most, volumes by their middle slice.

    Args:
        images: files, folders and patterns as `segment_files` takes them, or arrays as `segment` does; their masks are
            cleaned up, as by these. Or the settings of a prepared data set, whose true outlines are shown with the
            Dice; its masks are left as they are, as by `evaluate`.
        model: as in `segment`; of a prepared data set, None means the best that was trained on it.
        split: of a prepared data set. A threshold is chosen on validation images, never on those of the test.
        marks: a CSV file; default: `marks.csv` among the results.

    Raises ValueError where there is nothing to look at, or `marks` is some other table; FileNotFoundError where nothing
    is prepared or trained.

    Example: `lungnb.browse("films/")`; `lungnb.browse(make_settings("montgomery"))`.
    """
    known = isinstance(images, Settings)
    model = best_model(images) if known and model is None else model
    network, window = open_model(model, None)
    cases = [*(prepared_cases(images, split) if known else image_cases(images, window))]
    if not cases:
        raise ValueError("no images to browse: name files, a folder, arrays, or a prepared data set.")
    name = model.name if callable(model) else str(Path(model).absolute() if model else SHIPPED.stem)
    folder = images.results if known else home() / "results"
    return Browser(cases, network, Marks(Path(marks or folder / "marks.csv"), name), clean=not known)


class Browser:
    """What `browse` returns: the controls, which a notebook shows in `widget`, and the picture that stands for them."""

    def __init__(self, cases: list[Case], network: Any, marks: Marks, clean: bool) -> None:  # noqa: ANN401
        self.cases, self.network, self.marks, self.clean = cases, network, marks, clean
        self._pool, self._begun = ThreadPoolExecutor(1), {}
        self._make_controls()
        self.widget = self._laid_out()
        self._show()

    def _make_controls(self) -> None:
        button, room = ipywidgets.Button, ipywidgets.Layout
        self.previous = button(description="Previous", icon="chevron-left", layout=room(width="110px"))
        self.next = button(description="Next", icon="chevron-right", layout=room(width="110px"))
        self.number = ipywidgets.BoundedIntText(1, 1, len(self.cases), layout=room(width="80px"))
        self.wrong = button(layout=room(width="170px"))
        self.threshold = ipywidgets.FloatSlider(
            THRESHOLD, min=0.01, max=0.99, step=0.01, description="Threshold", layout=room(width="420px"),
            style={"description_width": "initial"},
        )  # fmt: skip
        self.view = ipywidgets.ToggleButtons(options=VIEWS, style={"button_width": "120px"})
        self.status, self.caption, self.left_legend, self.right_legend = (ipywidgets.HTML() for _ in range(4))
        self.left, self.right = (
            ipywidgets.Image(format="jpeg", layout=room(width="100%", margin="0")) for _ in range(2)
        )
        self.previous.on_click(lambda _: self._go(-1))
        self.next.on_click(lambda _: self._go(1))
        self.wrong.on_click(lambda _: self._mark())
        for control in (self.number, self.threshold, self.view):
            control.observe(self._show, "value")

    def _laid_out(self) -> ipywidgets.VBox:
        """Return the controls in two rows above the two pictures."""
        row = partial(ipywidgets.HBox, layout=ipywidgets.Layout(flex_flow="row wrap", align_items="center"))
        column = partial(ipywidgets.VBox, layout=ipywidgets.Layout(width="50%", padding="4px", overflow="hidden"))
        of = ipywidgets.HTML(f"of {len(self.cases):,}&nbsp;")
        self.pictures = ipywidgets.HBox(
            [column([self.left, self.left_legend]), column([self.right, self.right_legend])]
        )
        steps = row([self.previous, self.number, of, self.next, self.wrong, self.status])
        widget = ipywidgets.VBox([steps, row([self.threshold, self.view]), self.caption, self.pictures])
        widget.layout.max_width = "1200px"
        return widget

    def _go(self, step: int) -> None:
        self.number.value += step

    def _mark(self) -> None:
        """Mark the case shown as wrong, or take the mark back; where that cannot be written, say so."""
        try:
            self.marks.turn(self.cases[self.number.value - 1].key, self.threshold.value)
        except (OSError, RuntimeError, ValueError) as error:
            self.status.value = f"<b>{html.escape(str(error))}</b>"
        else:
            self._show_mark()

    def _show_mark(self) -> None:
        marked = self.cases[self.number.value - 1].key in self.marks
        self.wrong.description = "Marked as wrong" if marked else "Mark as wrong"
        self.wrong.icon, self.wrong.button_style = ("check", "warning") if marked else ("flag", "")
        count = sum(case.key in self.marks for case in self.cases)
        self.status.value = f"&nbsp;{count:,} marked, in {html.escape(self.marks.file.name)}" if count else ""

    def _show(self, _change: object = None) -> None:
        """Show the case of the number, and have the network look at the next one meanwhile."""
        index, again = self.number.value - 1, self.view.value == "disagreement"
        self.previous.disabled, self.next.disabled = index == 0, index == len(self.cases) - 1
        self._show_mark()
        looking, name = self._look_at(index, again), html.escape(self.cases[index].name)
        if not looking.done():
            self.caption.value = f"<b>{name}</b> &hellip;"
        found = looking.result()
        self.wrong.disabled = bool(found.error)
        self.pictures.layout.display = "none" if found.error else None
        if found.error:
            self.caption.value = f"<b>{name}</b> {html.escape(found.error)}"
        else:
            self._draw(name, found)
        if index + 1 < len(self.cases):
            self._look_at(index + 1, again)

    def _draw(self, name: str, found: _Found) -> None:
        mask, view = self._mask(found), self.view.value
        facts = [f"<b>{name}</b>", "{1} x {0} px".format(*found.image.shape), f"lung {mask.mean():.1%} of the picture"]
        if found.truth is not None:
            facts.append(f"Dice <b>{scores(count_pixels(found.truth, mask))['dice']:.3f}</b>")
        if view == "disagreement":
            facts.append(f"disagreement {disagreement(found.answers, self.threshold.value):.3f}")
        self.caption.value = " &middot; ".join(facts)
        shown = {"image": found.image, "probability": found.answers[0], "disagreement": np.ptp(found.answers, axis=0)}
        self.left.value = picture_of(found.image, found.truth, mask)
        self.right.value = picture_of(shown[view])
        self.left_legend.value = outlines_legend(found.truth is not None)
        self.right_legend.value = "" if view == "image" else scale_legend(view)

    def _mask(self, found: _Found) -> np.ndarray:
        mask = found.answers[0] > self.threshold.value
        return clean_mask(mask) if self.clean else mask

    def _look_at(self, index: int, again: bool = False) -> Future:
        """Return what the network finds in a case, or will have found: one thread looks, and keeps what it saw last."""
        if (index, again) not in self._begun:
            self._begun[index, again] = self._pool.submit(self._look, index, again)
        while len(self._begun) > _KEPT:
            self._begun.pop(next(iter(self._begun)))
        return self._begun[index, again]

    def _look(self, index: int, again: bool) -> _Found:
        try:
            image, truth = self.cases[index].read()
        except (ValueError, OSError) as error:
            return _Found(error=str(error))
        return _Found(image, truth, predict_augmented(self.network, image, None if again else 1))

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        """Return the controls for where a kernel runs, and a picture of the first few cases for where none does."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        return {
            "text/plain": f"<Browser of {len(self.cases):,} images>",
            "image/jpeg": self.picture(),
            "application/vnd.jupyter.widget-view+json": view,
        }

    def picture(self) -> bytes:
        """Return the first few cases with their outlines as a JPEG."""
        cells = []
        for case, looking in [(case, self._look_at(index)) for index, case in enumerate(self.cases[:_FIRST])]:
            found = looking.result()
            blank = f"{case.name} cannot be read", np.zeros((64, 64), np.uint8), None, None
            cells.append(blank if found.error else (case.name, found.image, found.truth, self._mask(found)))
        held = io.BytesIO()
        outline_grid(cells).savefig(held, format="jpeg", dpi=90, pil_kwargs={"quality": 80})
        return held.getvalue()
