"""A browser for JupyterLab: images, a network's predictions, and marks of those that are wrong.

If no kernel runs, as on a page made from a notebook, a picture of the first cases takes its place.
"""

from __future__ import annotations

import html
import io
from collections.abc import Iterable
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
from lungnb.engines.engines import LUNG_THRESHOLD, Engine
from lungnb.engines.temperature import with_temperature
from lungnb.evaluation.calibration import disagreement, predict_augmented
from lungnb.figures.pictures import Cell, outline_grid
from lungnb.masks import clean_mask
from lungnb.messages import printable
from lungnb.metrics import dice
from lungnb.segmentation.lungs import uncertainty
from lungnb.segmentation.predict import Model, OneImage, best_model, open_model
from lungnb.settings import SHIPPED, Settings

VIEWS = ("image", "probability", "disagreement")  # of the picture on the right
ORDERS = ("all images", "marked images", "uncertain images first")
_CASES_PICTURED = 6  # in the picture that takes the place of the browser
_PREDICTIONS_KEPT = 24  # some 5 MB each at most


class _Predicted(NamedTuple):
    """A case's image and ground truth, and the network's probabilities for it: as it is, then augmented."""

    image: np.ndarray
    truth: np.ndarray | None
    probabilities: list[np.ndarray]


def browse(
    images: OneImage | Iterable[OneImage] | Settings, model: Model = None,
    split: str = "validation", marks: str | Path | None = None,
) -> Browser:  # fmt: skip
    """Return a browser of images and of a network's predictions: the last line of a cell shows it.

    The picture on the left has the contour of the mask at the threshold of the slider. The one on the right shows the
    image, the probability of lung, or the disagreement of augmented predictions. "Mark as wrong" writes to `marks` at
    once, and earlier marks are shown. Images are shrunk to 1,024 px at most, and of a volume the middle slice is shown.
    Only the image shown and the next one are segmented, unless the uncertain ones shall come first, as by
    `uncertainty` in `lungnb/segmentation/lungs.py`. The browser can also show the marked images alone.

    Args:
        images: files, folders and patterns as `segment_files` takes them, or arrays as `segment` does. Or the
            settings of a prepared data set; the contours of its ground truth and the Dice are then shown.
        model: as in `segment`; for a prepared data set, None means the best model that was trained on it.
        split: of a prepared data set. Choose a threshold on validation images, never on test images.
        marks: a CSV file; default: `marks.csv` among the results. The browser shows its path.

    Raises ValueError if there are no images or if `marks` is another table, FileNotFoundError if nothing is prepared or
    trained.
    """
    if isinstance(images, Settings):
        model = best_model(images) if model is None else model
    engine, window_hu = open_model(model, None)
    if isinstance(images, Settings):
        cases, folder = [*prepared_cases(images, split)], images.results
    else:
        cases, folder = [*image_cases(images, window_hu)], home() / "results"
    if not cases:
        raise ValueError("no images to browse: name files, a folder, arrays, or a prepared data set.")
    name = str(Path(model).absolute()) if isinstance(model, (str, Path)) else getattr(model, "name", SHIPPED.stem)
    table = Marks(Path(marks or folder / "marks.csv"), name)
    return Browser(cases, engine, table)


class Browser:
    """What `browse` returns: the controls, which a notebook shows in `widget`, and the picture that stands for them."""

    def __init__(self, cases: list[Case], engine: Engine, marks: Marks) -> None:
        self.cases, self.engine, self.marks = cases, engine, marks
        self._pool = ThreadPoolExecutor(1)
        self._predictions: dict[tuple[int, bool], Future[_Predicted | str]] = {}
        self._shown = [*range(len(cases))]  # the cases to show, in order; the number counts them from 1
        self._make_controls()
        self.widget = self._laid_out()
        self._show()

    def _make_controls(self) -> None:
        button, layout = ipywidgets.Button, ipywidgets.Layout
        self.previous = button(description="Previous", icon="chevron-left", layout=layout(width="110px"))
        self.next = button(description="Next", icon="chevron-right", layout=layout(width="110px"))
        self.number = ipywidgets.BoundedIntText(1, 1, len(self.cases), layout=layout(width="80px"))
        self.wrong = button(layout=layout(width="170px"))
        self.order = ipywidgets.Dropdown(options=ORDERS, layout=layout(width="190px"))
        self.total = ipywidgets.HTML()
        self.threshold = ipywidgets.FloatSlider(
            LUNG_THRESHOLD, min=0.01, max=0.99, step=0.01, description="Threshold", layout=layout(width="420px"),
            style={"description_width": "initial"},
        )  # fmt: skip
        self.view = ipywidgets.ToggleButtons(options=VIEWS, style={"button_width": "120px"})
        self.status, self.caption, self.left_legend, self.right_legend = (ipywidgets.HTML() for _ in range(4))
        picture = partial(ipywidgets.Image, format="jpeg", layout=layout(width="100%", margin="0"))
        self.left, self.right = picture(), picture()
        self.previous.on_click(lambda _: self._go(-1))
        self.next.on_click(lambda _: self._go(1))
        self.wrong.on_click(lambda _: self._mark())
        self.order.observe(self._reorder, "value")
        for control in (self.number, self.threshold, self.view):
            control.observe(self._show, "value")

    def _laid_out(self) -> ipywidgets.VBox:
        """Return the controls in two rows above the two pictures."""
        row = partial(ipywidgets.HBox, layout=ipywidgets.Layout(flex_flow="row wrap", align_items="center"))
        column = partial(ipywidgets.VBox, layout=ipywidgets.Layout(width="50%", padding="4px", overflow="hidden"))
        halves = [column([self.left, self.left_legend]), column([self.right, self.right_legend])]
        self.pictures = ipywidgets.HBox(halves)
        steps = row([self.previous, self.number, self.total, self.next, self.order, self.wrong, self.status])
        widget = ipywidgets.VBox([steps, row([self.threshold, self.view]), self.caption, self.pictures])
        widget.layout.max_width = "1200px"
        return widget

    def _go(self, step: int) -> None:
        self.number.value += step

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
        return self.cases[self._shown[self.number.value - 1]]

    def _marked(self) -> list[int]:
        return [index for index, case in enumerate(self.cases) if case.key in self.marks]

    def _reorder(self, _change: object = None) -> None:
        """Show the cases that the user chose, from the first one. The chosen order stays while marks change."""
        everything, marked, _uncertain = ORDERS
        if self.order.value == marked and not self._marked():
            self.order.value = everything  # calls this function
            self.status.value = "&nbsp;<b>no image is marked yet</b>"
            return
        orders = {everything: lambda: [*range(len(self.cases))], marked: self._marked}
        self._shown = orders.get(self.order.value, self._by_uncertainty)()
        self.number.max, self.number.value = len(self._shown), 1
        self._show()

    def _by_uncertainty(self) -> list[int]:
        """Return all cases, those without a lung and the most uncertain first; those that cannot be read come last."""
        values = []
        for index in range(len(self.cases)):
            self.caption.value = f"<b>segmenting image {index + 1:,} of {len(self.cases):,} &hellip;</b>"
            predicted = self._predict(index).result()
            values.append(-1.0 if isinstance(predicted, str) else self._uncertainty(predicted))
        return sorted(range(len(values)), key=lambda index: -values[index])

    def _uncertainty(self, predicted: _Predicted) -> float:
        uncorrected = with_temperature(predicted.probabilities[0], 1 / self.engine.temperature)  # as `segment_files`
        return uncertainty(uncorrected, uncorrected > LUNG_THRESHOLD)

    def _show(self, _change: object = None) -> None:
        """Show the case of the number, and let the network predict the next one meanwhile."""
        position, augmented = self.number.value - 1, self.view.value == "disagreement"
        self.previous.disabled, self.next.disabled = position == 0, position == len(self._shown) - 1
        self.total.value, index = f"of {len(self._shown):,}&nbsp;", self._shown[position]
        self._show_mark()
        prediction, name = self._predict(index, augmented), html.escape(self.cases[index].name)
        if not prediction.done():
            self.caption.value = f"<b>{name}</b> &hellip;"
        predicted = prediction.result()
        self.wrong.disabled = has_failed = isinstance(predicted, str)
        self.pictures.layout.display = "none" if has_failed else None
        if isinstance(predicted, str):
            self.caption.value = f"<b>{name}</b> {html.escape(predicted)}"
        else:
            self._draw(name, predicted)
        if position + 1 < len(self._shown):
            self._predict(self._shown[position + 1], augmented)

    def _draw(self, name: str, predicted: _Predicted) -> None:
        (image, truth, probabilities), mask, view = predicted, self._mask(predicted), self.view.value
        facts = [f"<b>{name}</b>", "{1} x {0} px".format(*image.shape), f"lung {mask.mean():.1%} of the picture"]
        facts.append(f"uncertainty {self._uncertainty(predicted):.2f}")
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

    def _mask(self, predicted: _Predicted) -> np.ndarray:
        return clean_mask(predicted.probabilities[0] > self.threshold.value)

    def _predict(self, index: int, augmented: bool = False) -> Future[_Predicted | str]:
        """Begin to predict a case on the one thread for it, and return the future result; keep the last results."""
        if (index, augmented) not in self._predictions:
            self._predictions[index, augmented] = self._pool.submit(self._predict_now, index, augmented)
        while len(self._predictions) > _PREDICTIONS_KEPT:
            self._predictions.pop(next(iter(self._predictions)))
        return self._predictions[index, augmented]

    def _predict_now(self, index: int, augmented: bool) -> _Predicted | str:
        """Return the prediction of a case, or the error if it cannot be read."""
        try:
            image, truth = self.cases[index].read()
        except (ValueError, OSError) as error:
            return str(error)
        return _Predicted(image, truth, predict_augmented(self.engine, image, None if augmented else 1))

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        """Return the controls, which need a kernel, and a picture of the first cases, which does not."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        return {
            "text/plain": f"<Browser of {len(self.cases):,} images>",
            "image/jpeg": self.picture(),
            "application/vnd.jupyter.widget-view+json": view,
        }

    def picture(self) -> bytes:
        """Return the first cases with their contours as a JPEG."""
        cells = []
        for index, case in enumerate(self.cases[:_CASES_PICTURED]):
            predicted = self._predict(index).result()
            if isinstance(predicted, str):
                cells.append(Cell(f"{case.name} cannot be read", np.zeros((64, 64), np.uint8)))
            else:
                cells.append(Cell(case.name, predicted.image, predicted.truth, self._mask(predicted)))
        jpeg = io.BytesIO()
        outline_grid(cells).savefig(jpeg, format="jpeg", dpi=90, pil_kwargs={"quality": 80})
        return jpeg.getvalue()
