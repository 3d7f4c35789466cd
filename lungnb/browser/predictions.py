"""Predict the cases of the browser on one thread, before the person gets to them."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from lungnb.browser.cases import Case, CaseImage
from lungnb.datasets.reading import LONGEST_SIDE
from lungnb.engines.engines import Engine
from lungnb.evaluation.calibration import predict_augmented
from lungnb.formats.pixels import shrink
from lungnb.masks import LUNG_THRESHOLD, Floats, Grey, Mask
from lungnb.segmentation.inference import predict
from lungnb.segmentation.lungs import uncertainty

_PREDICTIONS_KEPT = 24  # some 5 MB each at most


class Predicted(NamedTuple):
    """A case's image and ground truth, and its probabilities of lung: first unchanged, then for each augmentation."""

    image: Grey  # (height, width), shrunk to LONGEST_SIDE px at most
    truth: Mask | None
    probabilities: list[Floats]
    slice: int  # of a volume, from 0
    slices: int
    temperature: float  # by which the probabilities were corrected

    @property
    def uncertainty(self) -> float:
        """Return how uncertain the network is; see `uncertainty` in `lungnb/segmentation/lungs.py`."""
        probability = self.probabilities[0]
        return uncertainty(probability, probability > LUNG_THRESHOLD, self.temperature)


class Predictions:
    """Predicts cases, one after the other, and keeps the last results. An error takes the place of a result."""

    def __init__(self, cases: Sequence[Case], engine: Engine) -> None:
        self.cases, self.engine = cases, engine
        self.pool = ThreadPoolExecutor(1)
        self.kept: dict[tuple[int, int | None, bool], Future[Predicted | str]] = {}

    def predict(self, index: int, number: int | None = None, augmented: bool = False) -> Future[Predicted | str]:
        """Start to predict an image, or the slice of a volume with this number. Return the future result."""
        key = (index, number, augmented)
        if key not in self.kept:
            self.kept[key] = self.pool.submit(self._predict, *key)
        while len(self.kept) > _PREDICTIONS_KEPT:
            self.kept.pop(next(iter(self.kept)))
        return self.kept[key]

    def open(self, index: int, number: int | None) -> tuple[CaseImage, Floats] | str:
        """Return a case at its own size and its probability of lung. They are not kept: a film takes 50 MB."""
        return self.pool.submit(self._open, index, number).result()

    def by_uncertainty(self, report: Callable[[int], None]) -> list[int]:
        """Return all cases, those without a lung and the most uncertain first; those that cannot be read come last.

        `report` takes the number of each case, from 1, before it is predicted.
        """
        values = []
        for index in range(len(self.cases)):
            report(index + 1)
            predicted = self.predict(index).result()
            values.append(-1.0 if isinstance(predicted, str) else predicted.uncertainty)
        return sorted(range(len(values)), key=lambda index: -values[index])

    def change_network(self, engine: Engine) -> None:
        """Let another network predict from now on."""
        self.engine = engine
        self.kept = {}

    def _predict(self, index: int, number: int | None, augmented: bool) -> Predicted | str:
        try:
            grey, truth, number, slices = self.cases[index].read(number)
        except (ValueError, OSError) as error:
            return str(error)
        image, truth = shrink(grey, LONGEST_SIDE), None if truth is None else shrink(truth, LONGEST_SIDE)
        probabilities = predict_augmented(self.engine, image, None if augmented else 1)
        return Predicted(image, truth, probabilities, number, slices, self.engine.temperature)

    def _open(self, index: int, number: int | None) -> tuple[CaseImage, Floats] | str:
        case = self.cases[index]
        try:
            picture = (case.read_whole or case.read)(number)
        except (ValueError, OSError) as error:
            return str(error)
        return picture, predict(self.engine, picture.grey)
