"""A browser for JupyterLab: images, predictions, marks of those that are wrong, and a brush to correct them.

If no kernel runs, as on a page made from a notebook, a picture of the first cases takes its place.
"""

import html
import io
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from lungnb.browser.cases import Case
from lungnb.browser.controls import ALL, MARKED, UNCERTAIN_FIRST, Controls, show_if
from lungnb.browser.correcting import Corrector
from lungnb.browser.corrections import Corrections
from lungnb.browser.marks import Marks
from lungnb.browser.panels import outlines_legend, picture_of, scale_legend
from lungnb.browser.predictions import Predicted, Predictions
from lungnb.datasets.reading import SLICE_NAME
from lungnb.engines.engines import Engine
from lungnb.evaluation.calibration import disagreement
from lungnb.figures.described import alternative_text
from lungnb.figures.pictures import Cell, outline_grid
from lungnb.masks import Floats, Mask, clean_mask
from lungnb.messages import printable
from lungnb.metrics import dice
from lungnb.segmentation.predict import open_model
from lungnb.settings import SHIPPED

_CASES_PICTURED = 6  # in the picture that takes the place of the browser


class Browser(Controls):
    """The browser that `browse` returns: controls, shown by `widget`, and a picture for pages without a kernel."""

    def __init__(self, cases: list[Case], engine: Engine, marks: Marks, corrections: Corrections, order: str) -> None:
        self.cases, self.marks = cases, marks
        self.predictions = Predictions(cases, engine)
        is_file = Path(marks.model).is_absolute()  # otherwise it is the name of a network in memory, or the shipped one
        network, start = (Path(marks.model).parent.name, Path(marks.model)) if is_file else (marks.model, None)
        network = "that comes with lungnb" if network == SHIPPED.stem else network
        self.corrector = Corrector(corrections, network, start, self._change_network)
        super().__init__(len(cases), order, self.corrector.row, self.corrector.brush)
        self._shown: list[int] = [*range(len(cases))]  # the cases to show, in order; the number counts them from 1
        self._index = 0  # of the case shown
        self._slice: int | None = None  # of the volume shown; None is the middle one
        self._is_setting = False  # whether the browser, not the person, changes a control
        self._lock = RLock()  # because the thread that adapts the network shows its masks
        self._connect()
        self._reorder()

    def _connect(self) -> None:
        self.previous.on_click(lambda _: self._go(-1))
        self.next.on_click(lambda _: self._go(1))
        self.wrong.on_click(lambda _: self._mark())
        self.threshold.observe(self._show, "value")
        self.view.observe(self._show, "value")
        for control, then in (
            (self.number, self._show), (self.corrector.correct, self._show),
            (self.order, self._reorder), (self.slice, self._choose_slice),
        ):  # fmt: skip
            control.observe(partial(self._leave, then), "value")

    def _go(self, step: int) -> None:
        self.number.value += step

    def _leave(self, then: Callable[[], None], change: dict[str, Any]) -> None:
        """Save the strokes and call `then`. If they cannot be saved, give the control its old value."""
        if self._is_setting:
            return
        if self.corrector.save():
            then()
        else:
            self._set(change["owner"], value=change["old"])

    def _set(self, control: Any, **values: object) -> None:  # noqa: ANN401  # any widget
        """Change a control without calling the functions that a person's change calls."""
        self._is_setting = True
        try:
            for name, value in values.items():
                setattr(control, name, value)
        finally:
            self._is_setting = False

    def _mark(self) -> None:
        """Mark the case shown as wrong, or take the mark back; show the error if the table cannot be written."""
        try:
            self.marks.turn(self._case().key, self.threshold.value)
            self._show_mark()
        except (OSError, RuntimeError, ValueError) as error:
            self.status.value = f"<b>{html.escape(str(error))}</b>"

    def _show_mark(self) -> None:
        marked = self._case().key in self.marks
        self.wrong.description = "Marked as wrong" if marked else "Mark as wrong"
        self.wrong.icon, self.wrong.button_style = ("check", "warning") if marked else ("flag", "")
        count, file = len(self._marked()), html.escape(printable(str(self.marks.file.absolute())))
        self.status.value = f"&nbsp;{count:,} marked, in {file}" if count else f"&nbsp;marks go to {file}"

    def _case(self) -> Case:
        number: int = self.number.value
        return self.cases[self._shown[number - 1]]

    def _marked(self) -> list[int]:
        return [index for index, case in enumerate(self.cases) if case.key in self.marks]

    def _reorder(self) -> None:
        """Show the cases that the user chose, from the first one. The chosen order stays while marks change."""
        shown = {MARKED: self._marked, UNCERTAIN_FIRST: self._by_uncertainty}.get(self.order.value, list)()
        has_none = self.order.value == MARKED and not shown
        if has_none:
            self._set(self.order, value=ALL)
        self._shown = shown or [*range(len(self.cases))]
        self._set(self.number, max=len(self._shown), value=1)
        self._show()
        if has_none:
            self.status.value = "&nbsp;<b>no image is marked yet</b>"

    def _by_uncertainty(self) -> list[int]:
        # The caption is not shown yet if the browser is just being made, so there is a bar, too.
        with tqdm(total=len(self.cases), desc="Segmenting", unit="image", file=sys.stdout, leave=False, delay=1) as bar:

            def report(number: int) -> None:
                self.caption.value = f"<b>segmenting image {number:,} of {len(self.cases):,} &hellip;</b>"
                bar.update()

            return self.predictions.by_uncertainty(report)

    def _choose_slice(self) -> None:
        self._slice = self.slice.value
        self._show()

    def _show(self, _change: object = None) -> None:
        """Show the case with the chosen number, and let the network predict the next case meanwhile."""
        with self._lock:
            position, augmented = self.number.value - 1, self.view.value == "disagreement"
            self.previous.disabled, self.next.disabled = position == 0, position == len(self._shown) - 1
            self.total.value, index = f"of {len(self._shown):,}&nbsp;", self._shown[position]
            self._slice, self._index = self._slice if index == self._index else None, index
            self._show_mark()
            prediction, name = self.predictions.predict(index, self._slice, augmented), html.escape(self._case().name)
            if not prediction.done():
                self.caption.value = f"<b>{name}</b> &hellip;"
            predicted = prediction.result()
            self._arrange(predicted)
            if isinstance(predicted, str):
                self.caption.value = f"<b>{name}</b> {html.escape(predicted)}"
            elif not self.corrector.is_on:
                self._draw(name, predicted)
            if position + 1 < len(self._shown):
                self.predictions.predict(self._shown[position + 1], None, augmented)

    def _arrange(self, predicted: Predicted | str) -> None:
        """Show the brush or the pictures, and the slider if the case is a volume; none of them if it was not read."""
        self.wrong.disabled = has_failed = isinstance(predicted, str)
        show_if(not self.corrector.is_on, self.looking)
        show_if(not (has_failed or self.corrector.is_on), self.pictures)
        show_if(not isinstance(predicted, str) and predicted.slices > 1, self.slice)
        if not isinstance(predicted, str):
            self._set(self.slice, max=predicted.slices - 1, value=predicted.slice)
        if self.corrector.is_on and not has_failed:
            self._open_brush()
        else:
            self.corrector.close()

    def _open_brush(self) -> None:
        """Show the case in the brush, at its own size, with the mask at the threshold."""
        case, opened = self._case(), self.predictions.open(self._index, self._slice)
        if isinstance(opened, str):  # the file changed just now
            self.corrector.close()
            self.caption.value = f"<b>{html.escape(case.name)}</b> {html.escape(opened)}"
            return
        (grey, _, number, slices), probability = opened
        title, stem = case.name, case.stem
        if slices > 1:
            title, stem = f"{title}, slice {number}", SLICE_NAME.format(stem, number)
        self.caption.value = f"<b>{html.escape(title)}</b> &middot; saved at {grey.shape[1]} x {grey.shape[0]} px"
        self.corrector.open(title, stem, grey, self._mask(probability))

    def _change_network(self, file: Path) -> None:
        """Show the masks of another network. Strokes that are not saved stay in the brush."""
        with self._lock:
            engine, _ = open_model(file, None)
            self.predictions.change_network(engine)
            self.marks = Marks(self.marks.file, str(file.absolute()))
            if not self.corrector.has_strokes:
                self._show()

    def _draw(self, name: str, predicted: Predicted) -> None:
        image, truth, probabilities = predicted[:3]
        mask, view = self._mask(predicted.probabilities[0]), self.view.value
        facts = [f"<b>{name}</b>", "{1} x {0} px".format(*image.shape), f"lung {mask.mean():.1%} of the picture"]
        facts.append(f"uncertainty {predicted.uncertainty:.2f}")
        if truth is not None:
            facts.append(f"Dice <b>{dice(truth, mask):.3f}</b>")
        if view == "disagreement":
            facts.append(f"disagreement {disagreement(probabilities, self.threshold.value):.3f}")
        self.caption.value = " &middot; ".join(facts)
        views = {"image": image, "probability": probabilities[0], "disagreement": np.ptp(probabilities, axis=0)}
        self.left.value = picture_of(image, truth, mask)
        self.right.value = picture_of(views[view])
        self.left_legend.value = outlines_legend(truth is not None)
        self.right_legend.value = "" if view == "image" else scale_legend(view)

    def _mask(self, probability: Floats) -> Mask:
        return clean_mask(probability > self.threshold.value)

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
        """Return the controls for pages with a kernel, and a described picture for pages without one."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        figure = self.picture()
        jpeg = io.BytesIO()
        figure.savefig(jpeg, format="jpeg", dpi=90, pil_kwargs={"quality": 80})
        bundle = {
            "text/plain": f"<Browser of {len(self.cases):,} images>",
            "image/jpeg": jpeg.getvalue(),
            "application/vnd.jupyter.widget-view+json": view,
        }
        return bundle, {"image/jpeg": {"alt": alternative_text(figure)}}

    def picture(self) -> Figure:
        """Return a figure of the first cases with the contours of their masks."""
        cells = []
        for index, case in enumerate(self.cases[:_CASES_PICTURED]):
            predicted = self.predictions.predict(index).result()
            if isinstance(predicted, str):
                cells.append(Cell(f"{case.name} cannot be read", np.zeros((64, 64), np.uint8)))
            else:
                cells.append(Cell(case.name, predicted.image, predicted.truth, self._mask(predicted.probabilities[0])))
        return outline_grid(cells)
