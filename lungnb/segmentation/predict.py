"""Images in, masks at their native resolution out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lungnb.engines.engines import THRESHOLD, Engine, engine_of, load_model
from lungnb.engines.export import open_network
from lungnb.formats.dicom_header import Turn
from lungnb.formats.images import read_picture, read_volume
from lungnb.formats.nifti import is_nifti
from lungnb.formats.opening import guarded
from lungnb.formats.pixels import fit_square, through_window, to_grey, unfit_square, volume_window
from lungnb.masks import clean_mask
from lungnb.networks.records import read_epochs, trained_window
from lungnb.settings import SHIPPED, Settings


class Segmentation(NamedTuple):
    """What `segment` returns: the image as it was read and, at the same size, its mask and the probability of lung."""

    image: np.ndarray  # (height, width), uint8; of a volume each has an axis of slices before these
    mask: np.ndarray  # (height, width), bool
    probability: np.ndarray  # (height, width), float32, 0 to 1


def segment(
    image: str | Path | np.ndarray | Sequence[str | Path | np.ndarray],
    model: object = None,
    clean: bool = True,
    window: tuple[float, float] | None = None,
    engine: str = "auto",
) -> Segmentation | list[Segmentation]:
    """Segment the lungs in an image, a volume, or several; `segmentation.segment_files` writes masks and a table.

    Args:
        image: the path of an image file, a NIfTI volume or the folder of a DICOM series, or an array as
            `images.to_grey` takes it: `(height, width)`, uint8, [0, 1], or Hounsfield units. Of a list of these, a
            folder of images or a pattern the answer is a list.
        model: the path of a `model.keras`, None for the one that lungnb ships, a Keras model, or an `Engine`.
        clean: keep the two largest regions of the mask and fill their holes.
        window: Hounsfield units shown as black and as white, which the image must then be in; None means as the model
            was trained, where its `run.json` lies beside it.
        engine: what computes a model that is given as a file: `openvino`, `onnx`, `keras`, or `auto`, the first that is
            installed (`export.open_network`). A model of another than lungnb's own is exported once for the first two.

    Raises ValueError for what cannot be read, FileNotFoundError where there is no model.

    Example: `segment("chest.png").mask.mean()` is the part of the picture that is lung.
    """
    model, window = open_model(model, window, engine)
    if isinstance(image, (list, tuple)) and all(map(_is_image, image)):
        return [segment(each, model, clean, window) for each in image]
    if not isinstance(image, (str, Path)):
        return segment_grey(to_grey(np.asarray(image), window), model, clean)
    if not str(image).strip() or os.path.isdir(image) or not os.path.exists(image):
        from lungnb.segmentation.listing import (
            list_images,  # with pandas, half a second that a single file need not wait
        )

        files = list_images(image)
        if files != [Path(image)]:
            return [segment(file, model, clean, window) for file in files]
    path = Path(image)
    if os.path.isdir(path) or is_nifti(path):
        return _segment_volume(path, model, clean, window)
    picture = read_picture(path, window)
    return segment_grey(picture.grey, model, clean, picture.turn)


def _is_image(item: object) -> bool:
    """Whether an item of a list is an image of its own, rather than a row of one."""
    return isinstance(item, (str, Path)) or (isinstance(item, np.ndarray) and item.ndim > 1)


def _segment_volume(path: Path, model: Any, clean: bool, window: tuple[float, float] | None) -> Segmentation:  # noqa: ANN401
    """Segment a volume slice by slice; all of the answer is `(slices, height, width)`, as `read_volume` turns it."""
    with guarded(path, "a volume"):
        hounsfield = read_volume(path).hounsfield
        greys, probability = np.empty(hounsfield.shape, np.uint8), np.empty(hounsfield.shape, np.float32)
        for place, (grey, lung) in enumerate(predict_slices(model, hounsfield, window, path)):
            greys[place], probability[place] = grey, lung
        del hounsfield  # a volume takes much memory, and cleaning its mask takes more
        mask = probability > THRESHOLD
        return Segmentation(greys, clean_mask(mask) if clean else mask, probability)


def predict_slices(
    model: Any,  # noqa: ANN401
    hounsfield: np.ndarray,
    window: tuple[float, float] | None,
    name: object,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield each slice of a volume, `(slices, height, width)`, as grey, and its probability of lung."""
    scale = volume_window(hounsfield, window, name)
    for part in hounsfield:
        grey = through_window(part, scale)
        yield grey, predict(model, grey)


def segment_grey(grey: np.ndarray, model: Any, clean: bool = True, turn: Turn = Turn()) -> Segmentation:  # noqa: ANN401, B008
    """Segment a uint8 image `(height, width)`, which the network sees upright, with a model that is open already."""
    probability = turn.stored(predict(model, turn.upright(grey)))
    mask = probability > THRESHOLD
    return Segmentation(grey, clean_mask(mask) if clean else mask, probability)


def predict(model: Any, grey: np.ndarray) -> np.ndarray:  # noqa: ANN401
    """Return the probability of lung, float32, for a uint8 image `(height, width)` at its own size.

    In a picture of one grey there is none, whatever a network may make of it.
    """
    if grey.min() == grey.max():
        return np.zeros(grey.shape, np.float32)
    engine = engine_of(model)
    square = fit_square(grey, engine.input_shape[1])
    probability = engine(square.array[None, :, :, None].astype(np.float32) / 255.0)[0, :, :, 0]
    return unfit_square(probability, square, *grey.shape)


def load_pretrained() -> Any:  # noqa: ANN401
    """Load the network that lungnb ships, a compact U-Net for X-rays and CT slices alike that has seen no patient.

    Its card, with its scores on real images, is the README.md beside its file, `settings.SHIPPED`.
    """
    return load_model()


def best_model(settings: Settings) -> Path:
    """Return the file of the model with the highest validation Dice among those trained on the settings' data set."""
    found = {}
    for file in settings.results.glob("*/model.keras"):
        history = file.with_name("history.csv")
        if (file.with_name("run.json")).exists() and history.exists():
            epochs = read_epochs(history)
            found[file] = epochs.loc[epochs["val_loss"].idxmin(), "val_dice"]
    if not found:
        raise FileNotFoundError(
            f"{settings.results}: no trained model there yet: run notebooks 01 to 05, or `lungnb train`, first, "
            "or name a .keras file."
        )
    return max(found, key=found.get)


def open_model(
    model: object, window: tuple[float, float] | None, engine: str = "auto"
) -> tuple[Engine, tuple[float, float] | None]:
    """Return a model, of those that `segment` takes, ready to run, and the window given, else the one of its training.

    Raises ValueError for a Keras model that another engine is to run and for a damaged `run.json` beside the model,
    and what `export.open_network` raises.
    """
    if callable(model):
        if engine not in ("auto", "keras"):
            raise ValueError(f"engine {engine} runs a model that is a file: save this one, and name the file.")
        return engine_of(model), window
    path = Path(model or SHIPPED)
    if window is None:
        window = trained_window(path.with_name("run.json"))
    return open_network(path, engine), tuple(window) if window else None
