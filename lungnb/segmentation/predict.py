"""Segment one image or volume, or several: images in, masks at their own size out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from lungnb.artefacts import HISTORY, RUN
from lungnb.engines.engines import THRESHOLD, Engine, engine_of, load_model
from lungnb.engines.export import open_network
from lungnb.formats.dicom_header import Turn
from lungnb.formats.images import read_picture, read_volume
from lungnb.formats.nifti import is_nifti
from lungnb.formats.opening import guarded
from lungnb.formats.pixels import fit_square, through_window, to_grey, unfit_square, volume_window
from lungnb.masks import clean_mask
from lungnb.messages import run_first
from lungnb.networks.records import read_epochs, trained_window
from lungnb.settings import SHIPPED, Settings

if TYPE_CHECKING:
    import keras

Model: TypeAlias = "str | Path | Engine | keras.Model | None"  # what a user may name as a model
Images: TypeAlias = str | Path | Sequence[str | Path | np.ndarray]  # several: a folder, a pattern, or a list
UPRIGHT = Turn()


class Segmentation(NamedTuple):
    """What `segment` returns: the image as it was read and, at the same size, its mask and the probability of lung."""

    image: np.ndarray  # (height, width), uint8; of a volume each has an axis of slices before these
    mask: np.ndarray  # (height, width), bool
    probability: np.ndarray  # (height, width), float32, 0 to 1


def segment(
    image: str | Path | np.ndarray | Images,
    model: Model = None,
    clean: bool = True,
    window: tuple[float, float] | None = None,
    engine: str = "auto",
) -> Segmentation:
    """Segment the lungs in one image or volume.

    For several use `segment_many`, or `segment_files`, which writes masks and a table. A list, a folder of images or a
    pattern is handed to `segment_many`, so that the result is a list.

    Args:
        image: the path of an image file, a NIfTI volume or the folder of a DICOM series, or an array as `to_grey` takes
            it: `(height, width)`, uint8, [0, 1], or Hounsfield units.
        model: the path of a `model.keras`, None for the network that lungnb ships, a Keras model, or an `Engine`.
        clean: keep the two largest regions of the mask and fill their holes.
        window: Hounsfield units shown as black and as white; the image must then be in Hounsfield units. None takes the
            window of the training, if a `run.json` lies beside the model.
        engine: what runs a model that is given as a file: `openvino`, `onnx`, `keras`, or `auto`, the first that is
            installed (see `open_network`). For the first two, a network of your own is exported once.

    Raises ValueError for an image that cannot be read, FileNotFoundError if there is no model.

    Example: `segment("chest.png").mask.mean()` is the share of the picture that is lung.
    """
    opened, window = open_model(model, window, engine)
    several = _several(image)
    if several is not None:
        return segment_many(several, opened, clean, window)  # type: ignore[return-value]  # as said above
    return _segment_one(image, opened, clean, window)  # type: ignore[arg-type]  # one, as was found


def segment_many(
    images: Images,
    model: Model = None,
    clean: bool = True,
    window: tuple[float, float] | None = None,
    engine: str = "auto",
) -> list[Segmentation]:
    """Segment a list of images and volumes, the images in a folder, or those of a pattern such as `films/*.png`.

    Arguments and errors as in `segment`. The network is opened once.
    """
    opened, window = open_model(model, window, engine)
    if isinstance(images, (str, Path)):
        from lungnb.segmentation.listing import list_images

        images = list_images(images)
    return [_segment_one(image, opened, clean, window) for image in images]


def _several(image: str | Path | np.ndarray | Images) -> Images | None:
    """Return the list of images that `segment` was given by a list, a folder or a pattern; None if it was given one."""
    if isinstance(image, (list, tuple)):
        is_list = all(
            isinstance(item, (str, Path)) or (isinstance(item, np.ndarray) and item.ndim > 1) for item in image
        )
        return image if is_list else None  # else these are the rows of one image
    if not isinstance(image, (str, Path)) or (str(image).strip() and os.path.isfile(image)):
        return None
    from lungnb.segmentation.listing import list_images  # with pandas: half a second that a single file can spare

    files = list_images(image)
    return files if files != [Path(image)] else None


def _segment_one(
    image: str | Path | np.ndarray, engine: Engine, clean: bool, window: tuple[float, float] | None
) -> Segmentation:
    if not isinstance(image, (str, Path)):
        return segment_grey(to_grey(np.asarray(image), window), engine, clean)
    path = Path(image)
    if os.path.isdir(path) or is_nifti(path):
        return _segment_volume(path, engine, clean, window)
    picture = read_picture(path, window)
    return segment_grey(picture.grey, engine, clean, picture.turn)


def _segment_volume(path: Path, engine: Engine, clean: bool, window: tuple[float, float] | None) -> Segmentation:
    """Segment a volume slice by slice; all arrays are `(slices, height, width)`, oriented as by `read_volume`."""
    with guarded(path, "a volume"):
        hounsfield = read_volume(path).hounsfield
        greys, probability = np.empty(hounsfield.shape, np.uint8), np.empty(hounsfield.shape, np.float32)
        for place, (grey, lung) in enumerate(predict_slices(engine, hounsfield, window, path)):
            greys[place], probability[place] = grey, lung
        del hounsfield  # a volume takes much memory, and cleaning its mask takes more
        mask = probability > THRESHOLD
        return Segmentation(greys, clean_mask(mask) if clean else mask, probability)


def predict_slices(
    engine: Engine,
    hounsfield: np.ndarray,
    window: tuple[float, float] | None,
    name: object,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield each slice of a volume, `(slices, height, width)`, as grey, and its probability of lung."""
    scale = volume_window(hounsfield, window, name)
    for part in hounsfield:
        grey = through_window(part, scale)
        yield grey, predict(engine, grey)


def segment_grey(grey: np.ndarray, engine: Engine, clean: bool = True, turn: Turn = UPRIGHT) -> Segmentation:
    """Segment a uint8 image, `(height, width)`; `turn` says how it is turned, because networks see it upright."""
    probability = turn.stored(predict(engine, turn.upright(grey)))
    mask = probability > THRESHOLD
    return Segmentation(grey, clean_mask(mask) if clean else mask, probability)


def predict(engine: Engine, grey: np.ndarray) -> np.ndarray:
    """Return the probability of lung, float32, of a uint8 image `(height, width)`, at its own size.

    In a picture of a single grey the probability is 0, whatever a network predicts.
    """
    if grey.min() == grey.max():
        return np.zeros(grey.shape, np.float32)
    square = fit_square(grey, engine.size)
    probability = engine(square.array[None, :, :, None].astype(np.float32) / 255.0)[0, :, :, 0]
    return unfit_square(probability, square, *grey.shape)


def load_pretrained() -> keras.Model:
    """Load the network that lungnb ships: a compact U-Net for X-rays and CT slices that has seen no patient.

    The README.md beside its file (`settings.SHIPPED`) says how it was trained and how it scores on real images.
    """
    return load_model()


def best_model(settings: Settings) -> Path:
    """Return the file of the model with the highest validation Dice among those trained on the settings' data set."""
    found = {}
    for file in settings.results.glob("*/model.keras"):
        history = file.with_name(HISTORY)
        if (file.with_name(RUN)).exists() and history.exists():
            epochs = read_epochs(history)
            found[file] = epochs.loc[epochs["val_loss"].idxmin(), "val_dice"]
    if not found:
        raise FileNotFoundError(
            f"{settings.results}: no trained model there yet: {run_first('any model')} first, or name a .keras file."
        )
    return max(found, key=found.get)


def open_model(
    model: Model, window: tuple[float, float] | None, engine: str = "auto"
) -> tuple[Engine, tuple[float, float] | None]:
    """Return an opened network, and the given window or else that of its training.

    Raises ValueError for a Keras model that another engine is to run and for a damaged `run.json` beside the model, and
    what `open_network` raises.
    """
    if model is not None and not isinstance(model, (str, Path)):
        if engine not in ("auto", "keras"):
            raise ValueError(f"engine {engine} runs a model that is a file: save this one, and name the file.")
        return engine_of(model), window
    path = Path(model or SHIPPED)
    if window is None:
        window = trained_window(path.with_name(RUN))
    return open_network(path, engine), (window[0], window[1]) if window else None
