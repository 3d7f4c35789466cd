"""Segment one image or volume, or several. Masks have the size of their images."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, overload

import numpy as np

from lungnb.artefacts import HISTORY, MODEL, RUN, home, raw_folder
from lungnb.engines.engines import Engine, Network, engine_of, load_model, model_file, network_path
from lungnb.engines.export import open_network
from lungnb.engines.temperature import read_temperature
from lungnb.formats.dicom_header import NO_TURN, Turn
from lungnb.formats.images import is_volume, read_picture, read_volume
from lungnb.formats.opening import Refused, digest_of_file, guarded
from lungnb.formats.pixels import through_window, to_grey
from lungnb.formats.ranges import grey_range
from lungnb.masks import LUNG_THRESHOLD, Window, clean_mask
from lungnb.messages import run_first
from lungnb.networks.records import best_dice, trained_window
from lungnb.segmentation.inference import TURNS, ImagePrediction, chest_of_volume, predict_image, predict_upright
from lungnb.segmentation.listing import as_path, list_images
from lungnb.segmentation.lungs import split_sides
from lungnb.settings import SHIPPED, Settings, is_window

if TYPE_CHECKING:
    import keras

Model: TypeAlias = "str | Path | Network | None"  # what a user may give as a model
OneImage: TypeAlias = str | Path | np.ndarray
ImageList: TypeAlias = list[str] | list[Path] | list[np.ndarray] | list[OneImage] | tuple[OneImage, ...]


class Segmentation(NamedTuple):
    """The result of `segment`: the image as it was read and, at the same size, its mask and the probability of lung.

    The arrays of a volume have an axis of slices before height and width.
    """

    image: np.ndarray  # (height, width), uint8
    mask: np.ndarray  # (height, width), bool
    probability: np.ndarray  # (height, width), float32, 0 to 1, corrected by the temperature if the network has one
    chest: float | None = None  # 0 to 1; below 0.5, the image does not look like a chest; None without this output
    turned_degrees: int = 0  # by which the image was turned counter-clockwise to segment it, if `upright` was asked for
    is_negative: bool = False  # whether an image was inverted to segment it, because its lungs are bright
    temperature: float = 1.0  # with which the probabilities were corrected; 1 changes nothing
    turn: Turn = NO_TURN  # shows an image as usual that is stored in another direction, or was turned to segment it

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.mask.shape))
        chest = "" if self.chest is None else f", chest {self.chest:.2f}"
        names = ", ".join((*self._fields, "sides()"))
        return f"<Segmentation, {size} px: lung {np.mean(self.mask):.1%} of it{chest}; {names}>"

    def sides(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the masks of the patient's right and left lung, of the shape of `mask` (see `split_sides`).

        >>> mask = np.array([[1, 1, 0, 0, 1], [1, 1, 0, 1, 1]], bool)
        >>> right, left = Segmentation(np.uint8(mask), mask, np.float32(mask)).sides()
        >>> int(right.sum()), int(left.sum())
        (4, 3)
        """
        return split_sides(self.mask, self.turn)


@overload
def segment(
    image: OneImage, model: Model = ..., clean: bool = ...,
    window: Window | None = ..., engine: str = ..., upright: bool = ...,
) -> Segmentation: ...  # fmt: skip
@overload
def segment(
    image: ImageList, model: Model = ..., clean: bool = ...,
    window: Window | None = ..., engine: str = ..., upright: bool = ...,
) -> list[Segmentation]: ...  # fmt: skip
def segment(
    image: OneImage | ImageList, model: Model = None, clean: bool = True,
    window: Window | None = None, engine: str = "auto", upright: bool = False,
) -> Segmentation | list[Segmentation]:  # fmt: skip
    """Segment the lungs in one image or volume.

    For several, `segment_many` returns a list, and `segment_files` writes masks and a table.

    Args:
        image: the path of an image file, of a NIfTI volume or of the folder of a DICOM series, or an array as `to_grey`
            takes it: `(height, width)`, uint8, [0, 1], or Hounsfield units. A list of these, a folder of images or a
            pattern such as `films/*.png` gives what `segment_many` returns.
        model: the path of a `model.keras`, None for the network that lungnb ships, a Keras model, or an `Engine`.
        clean: keep the two largest regions of the mask and fill their holes.
        window: Hounsfield units shown as black and as white; the image must then be in Hounsfield units. None means the
            window of the training, if there is a `run.json` beside the model.
        engine: runs a model that is given as a file: `openvino`, `onnx`, `keras`, or `auto` for the first that is
            installed (see `open_network`). For the first two, a network of your own is exported once.
        upright: if an image does not look like a chest, try it turned by 90, 180 and 270 degrees. If exactly one of
            these clearly looks like one, segment that. All results keep the orientation of the image. It needs a
            network with the output `chest`, such as the shipped one, and is not for volumes.

    Raises ValueError for an image that cannot be read, FileNotFoundError if there is no model.

    Example: `segment("chest.png").mask.mean()` is the share of the picture that is lung.
    """
    images = _as_list(image)
    if images is not None:
        return segment_many(images, model, clean, window, engine, upright)
    network, window_hu = open_model(model, window, engine)
    return _segment_one(image, network, clean, window_hu, upright)


def segment_many(
    images: str | Path | Sequence[OneImage], model: Model = None, clean: bool = True, window: Window | None = None,
    engine: str = "auto", upright: bool = False,
) -> list[Segmentation]:  # fmt: skip
    """Segment all images of a list, a folder or a pattern; arguments and errors as in `segment`."""
    network, window_hu = open_model(model, window, engine)
    each = list_images(images) if isinstance(images, (str, Path)) else images
    return [_segment_one(image, network, clean, window_hu, upright) for image in each]


def _as_list(image: OneImage | ImageList) -> Sequence[OneImage] | None:
    """Return the images if `segment` was given a list, a folder or a pattern; None if it was given one image."""
    if isinstance(image, (list, tuple)):
        return image if all(map(_is_image, image)) else None  # because these are the rows of one image
    if not isinstance(image, (str, Path)) or os.path.isfile(path := as_path(image)):
        return None
    files = list_images(path)
    return files if files != [path] else None


def _is_image(item: OneImage) -> bool:
    """Return whether an item of a list is an image: a path, an array, or an image of another library, such as Pillow.

    A list or a tuple is rows of pixels.
    """
    return isinstance(item, (str, Path)) or (not isinstance(item, (list, tuple)) and np.ndim(item) > 1)


def _as_array(image: object) -> np.ndarray:
    """Return an image as an array; raise Refused if it has masked values, or rows of different lengths."""
    if np.ma.is_masked(image):
        raise Refused("the array: some of its values are masked; give them a value with its method filled.")
    try:
        return np.asarray(image)
    except ValueError as error:
        raise Refused("the array: its rows do not have the same length; give (height, width).") from error


def _segment_one(
    image: OneImage | ImageList, engine: Engine, clean: bool, window_hu: Window | None, upright: bool
) -> Segmentation:
    if not isinstance(image, (str, Path)):
        return segment_grey(to_grey(_as_array(image), window_hu), engine, clean, upright=upright)
    path = as_path(image)
    if is_volume(path):
        return _segment_volume(path, engine, clean, window_hu)
    picture = read_picture(path, window_hu)
    return segment_grey(picture.grey, engine, clean, picture.turn, upright)


def _segment_volume(path: Path, engine: Engine, clean: bool, window_hu: Window | None) -> Segmentation:
    """Segment a volume slice by slice; all arrays are `(slices, height, width)`, oriented as by `read_volume`."""
    with guarded(path, "a volume"):
        hounsfield = read_volume(path).hounsfield
        greys, probability = np.empty(hounsfield.shape, np.uint8), np.empty(hounsfield.shape, np.float32)
        shown_hu, chest = grey_range(hounsfield, window_hu, path).window, []
        for number, (grey, predicted) in enumerate(predict_slices(engine, hounsfield, shown_hu)):
            greys[number], probability[number] = grey, predicted.probability
            chest.append(predicted.chest)
        del hounsfield  # frees memory, because cleaning the mask takes more
        mask = probability > LUNG_THRESHOLD
        cleaned = clean_mask(mask) if clean else mask
        return Segmentation(greys, cleaned, probability, chest_of_volume(chest, mask), temperature=engine.temperature)


def predict_slices(
    engine: Engine, hounsfield: np.ndarray, window_hu: tuple[float, float]
) -> Iterator[tuple[np.ndarray, ImagePrediction]]:
    """Yield each slice of a volume, `(slices, height, width)`, as grey, and its prediction."""
    for slice_hu in hounsfield:
        grey = through_window(slice_hu, window_hu)
        yield grey, predict_image(engine, grey)


def segment_grey(
    grey: np.ndarray, engine: Engine, clean: bool = True, turn: Turn = NO_TURN, upright: bool = False
) -> Segmentation:
    """Segment a uint8 image, `(height, width)`; `turn` says how to turn it upright, as the network sees it.

    With `upright`, find a further turn if the image does not look like a chest (`inference.predict_upright`).
    """
    predicted = (predict_upright if upright else predict_image)(engine, turn.upright(grey))
    probability = turn.stored(predicted.probability)
    mask = probability > LUNG_THRESHOLD
    mask = clean_mask(mask) if clean else mask
    turn = turn.then(TURNS[predicted.turned_degrees])
    return Segmentation(grey, mask, probability, *predicted[1:], temperature=engine.temperature, turn=turn)


def load_pretrained() -> keras.Model:
    """Load the network that lungnb ships: a compact U-Net for X-rays and CT slices that has seen no patient.

    The README.md beside its file (`settings.SHIPPED`) says how it was trained and how it scores on real images.
    """
    return load_model()


def best_model(settings: Settings) -> Path:
    """Return the file of the model with the highest validation Dice among those trained on the settings' data set.

    Only the latest run of each model counts. Raises FileNotFoundError if there is none, ValueError if they were trained
    on another data set of this name.
    """
    from lungnb.datasets.origin import refuse_other_origin  # imports pandas, which `segment` need not wait for

    refuse_other_origin(settings.dataset, settings.prepared, settings.results)
    files = [file for file in settings.results.glob(f"*/{MODEL}") if file.with_name(RUN).exists()]
    dice_of = {file: best_dice(file.parent) for file in files if file.with_name(HISTORY).exists()}
    if not dice_of:
        step = run_first("any model")
        raise FileNotFoundError(f"{settings.results}: no trained model there yet: {step} first, or name a .keras file.")
    return max(dice_of, key=dice_of.__getitem__)


def choose_model(settings: Settings, images: Sequence[str | Path]) -> tuple[Path, str]:
    """Return the file of the model to segment images with, and a sentence that says which it is, and why.

    If all images lie in the raw folder of the settings' data set, and a model was trained on that data set, choose
    `best_model`. Otherwise choose the network that lungnb ships, because a network is worse on images of another kind.
    """
    raw, why = raw_folder(settings.dataset).resolve(), f"not all images are from the data set {settings.name}"
    if all(Path(image).resolve().is_relative_to(raw) for image in images):
        why = f"no network was trained on {settings.name} yet"
        with suppress(FileNotFoundError):
            file = best_model(settings)
            place = file.relative_to(home()).as_posix()
            return file, f"The network is {place}, the best one that was trained on {settings.name}, as the images are."
    return SHIPPED, f"The network is the one that comes with lungnb, because {why}."


def file_of(model: Model) -> Path | None:
    """Return the file of a model; None if the model is in memory."""
    return network_path(model) if model is None or isinstance(model, (str, Path)) else None


def network_name(model: Model) -> str:
    """Return a network's name in results: `shipped` or the absolute path, and the first digits of the file's SHA-256.

    A model in memory is called `in memory`.
    """
    file = file_of(model)
    if file is None:
        return "in memory"
    name = "shipped" if file.resolve() == SHIPPED.resolve() else os.path.abspath(file)
    return f"{name}, {digest_of_file(file)[:8]}"


def masks_folder(settings: Settings, model: str | Path | None = None) -> Path:
    """Return a folder among the results for the masks of one network, because masks of two networks must not mix.

    It is called `shipped` or after the folder of the model's file.
    """
    file = network_path(model).resolve()
    return settings.results / "segmented" / ("shipped" if file == SHIPPED.resolve() else file.parent.name)


def open_model(model: Model, window_hu: Window | None, engine: str = "auto") -> tuple[Engine, Window | None]:
    """Return an opened network with its temperature, and the window: the given one, or else that of its training.

    Raises ValueError if the window does not rise, if another engine is asked to run a Keras model in memory, or if the
    `run.json` or `temperature.json` beside the model is damaged. Also raises what `open_network` raises.
    """
    if window_hu is not None and not is_window(window_hu):
        raise ValueError(f"window must be two rising numbers (HU), such as (-1000, 400), not {window_hu!r}.")
    file = file_of(model)
    if file is not None:
        window_hu = window_hu or trained_window(file.with_name(RUN))
        return open_network(file, engine)._replace(temperature=read_temperature(model_file(file))), window_hu
    if engine not in ("auto", "keras"):
        raise ValueError(f"engine {engine} needs a model in a file: save this one, and name the file.")
    return engine_of(model), window_hu
