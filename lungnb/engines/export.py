"""A trained network written for other engines, and used only where its masks are those of Keras.

Beside each exported file lie the images it was checked on with the masks that Keras gave, and a JSON of how well it
agreed. `segment` exports a network once, into a folder of lungnb's own in the user's cache, under the checksum of its
`.keras` file; the network that lungnb ships comes with its exported form. So the next time neither TensorFlow nor Keras
is needed, and an engine that was not checked yet, of another version or precision, is checked before it is used.
"""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from contextlib import ExitStack, suppress
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZipFile

import numpy as np
import platformdirs

from lungnb.engines.conversion import FORMATS, convert
from lungnb.engines.engines import (
    ENGINES,
    THRESHOLD,
    Engine,
    engine_name,
    engine_of,
    installed,
    load_model,
    model_file,
    open_exported,
    precisions,
    require,
)
from lungnb.files import read_json, write_json, written
from lungnb.formats.opening import memory_limit, open_file
from lungnb.formats.pixels import fit_square, to_grey
from lungnb.messages import say
from lungnb.metrics import count_pixels, scores
from lungnb.settings import SHIPPED

READERS = {"onnx": ("onnx", "openvino"), "openvino": ("openvino",), "litert": ("litert",)}  # the engines of each
MEAN_DICE, WORST_DICE = 0.9995, 0.995  # of an engine's masks with those of Keras, at least
_PHANTOMS = {"xray": 8, "ct": 8, "wild": 24}  # of the wild ones, whose lungs may be faint, half are CT
_SEED = 11  # no data set's


class ExportError(ValueError):
    """An export that could not be made, or whose masks are not those of Keras."""


class Parity(NamedTuple):
    """How well the masks of an engine agree with those of Keras: Dice, over the images of a `Reference`."""

    mean_dice: float
    worst_dice: float
    images: int
    images_with_lung: int  # on the others two empty masks agree, which says little

    @property
    def passed(self) -> bool:
        """Whether the engine may be used."""
        return self.mean_dice >= MEAN_DICE and self.worst_dice >= WORST_DICE


class Reference(NamedTuple):
    """Images of a network's own size, and the masks that Keras gives."""

    images: np.ndarray  # (count, size, size), uint8
    masks: np.ndarray  # (count, size, size), bool


def export_model(
    model: str | Path | None = None,
    format: str = "onnx",
    folder: str | Path = ".",
    half: bool = False,
) -> Path:
    """Write a trained model for another engine, check that it gives the same masks, and return the file.

    Writes `<stem>.onnx`, `<stem>.xml` with `<stem>.bin`, or `<stem>.tflite`, beside it, called after it, an `.npz` with
    the images and masks it was checked with, and a `.json`, which says how well each engine agreed. All of them take
    `(batch, size, size, 1)` float32, 0 to 1, and give the probability of lung in the same shape.

    Args:
        model: a `.keras` file; None for the network that lungnb ships.
        format: `onnx`, `openvino` or `litert`.
        folder: where to.
        half: store the weights of ONNX in half precision, which halves the file; it is computed in float32.

    Raises ValueError for an unknown format, a package that is not installed, and an export whose masks agree with those
    of Keras less than MEAN_DICE and WORST_DICE ask for: nothing is kept of it.
    """
    if half and format == "litert":
        raise ValueError("weights in half precision are for onnx and openvino, not for litert.")
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, not {format!r}.")
    path = model_file(model)
    return _export(path, format, Path(folder) / path.stem, half)


def open_network(model: str | Path | None = None, engine: str = "auto") -> Engine:
    """Open a trained model with an engine: `openvino`, `onnx`, `keras`, or `auto` for the first that is installed.

    OpenVINO and ONNX Runtime run on the CPU; with a GPU, `keras` may be faster. OpenVINO computes in bf16 where the
    processor is faster in it (`machine.has_fast_bf16`) and the masks remain those of Keras.

    Raises FileNotFoundError where there is no model, ValueError for what is no model, and for an engine that is not
    installed or does not give the masks of Keras; `auto` warns of that and takes the next.
    """
    if engine not in ("auto", *ENGINES):
        raise ValueError(f"engine must be one of auto, {', '.join(ENGINES)}, not {engine!r}.")
    path = model_file(model)
    return _open(path, path.stat().st_mtime_ns, engine)


def measure_parity(engine: Engine, reference: Reference) -> Parity:
    """Return how well an engine's masks agree with those of Keras, image by image."""
    pairs = zip(reference.masks, _masks(engine, reference.images), strict=True)
    dice = [scores(count_pixels(*pair))["dice"] for pair in pairs]
    with_lung = int(reference.masks.any(axis=(1, 2)).sum())
    return Parity(float(np.mean(dice)), float(np.min(dice)), len(dice), with_lung)


def draw_reference(model: Any) -> Reference:  # noqa: ANN401
    """Return phantoms, X-rays and CT slices, tame and wild, always the same ones, and a Keras model's masks of them."""
    from lungnb.phantoms.make import make_phantom  # half a second that whoever only uses an export need not wait

    phantoms = (make_phantom(index, _SEED, kind).image for kind, count in _PHANTOMS.items() for index in range(count))
    images = np.stack([fit_square(to_grey(image), model.input_shape[1]).array for image in phantoms])
    return Reference(images, _masks(engine_of(model), images))


def parities(file: Path) -> dict[str, Parity]:
    """Return how well each engine agreed that an exported file was checked with, as the JSON beside it says."""
    found = _record(file).get("parity")
    known = {engine: _parity(each) for engine, each in found.items()} if isinstance(found, dict) else {}
    return {engine: parity for engine, parity in known.items() if parity}


def _parity(found: object) -> Parity | None:
    """Return what a JSON says of an engine, if it says that in full."""
    if not isinstance(found, dict) or set(found) != set(Parity._fields):
        return None
    numbers = all(type(number) in (int, float) and math.isfinite(number) for number in found.values())
    return Parity(**found) if numbers else None


def cache_folder() -> Path:
    """Where lungnb keeps exported networks: LUNGNB_CACHE, else a folder of its own in the user's cache."""
    return Path(os.environ.get("LUNGNB_CACHE") or platformdirs.user_cache_path("lungnb")).expanduser()


@lru_cache(maxsize=4)
def _open(path: Path, _modified: int, engine: str) -> Engine:
    """Open a model with an engine whose masks were found to be those of Keras, or are found to be now."""
    if engine == "auto":
        return _open_first(path)
    if engine == "keras":
        return engine_of(load_model(path))
    require(engine)
    file = _exported(path)
    if file is None:
        say(f"Exporting {path.name} for {engine}, this once ...")
        try:
            file = _export(path, "onnx", cache_folder() / _digest(path))
        except OSError as error:
            hint = "LUNGNB_CACHE names another folder, and engine keras needs none"
            raise ExportError(f"{path}: its export cannot be kept in {cache_folder()}: {hint} ({error}).") from error
    *faster, last = precisions(engine)
    for precision in faster:
        with suppress(ExportError):  # which the JSON says, and no reader needs to know
            return _checked(engine, file, precision)
    return _checked(engine, file, last)


def _open_first(path: Path) -> Engine:
    """Open a model with the first engine that is installed and gives the masks of Keras; Keras is the last."""
    for name in ENGINES[:-1]:
        if installed(name) and (_exported(path) or find_spec("tf2onnx")):
            try:
                return _open(path, path.stat().st_mtime_ns, name)
            except ExportError as error:
                warnings.warn(f"{error} Another engine is taken.", stacklevel=5)
    return engine_of(load_model(path))


def _checked(engine: str, file: Path, precision: str) -> Engine:
    """Open an exported file with an engine; check it, unless this version of it was checked before, and note that."""
    name, model = engine_name(engine, precision), _record(file)["model"]
    notes = cache_folder() / f"{model}.onnx"  # the same file, unless it is the one lungnb ships
    found = (parities(notes) | parities(file)).get(name)
    if found:
        _accept(name, found, file)  # before it is opened, which takes a while
    opened = _opened(engine, file, precision)
    if found is None:
        found = measure_parity(opened, _read_reference(_beside(file, ".npz"), opened.input_shape[1]))
        with suppress(OSError):  # a cache that cannot be written to costs time, no more
            _note(notes, _record(file), {name: found})
        _accept(name, found, file)
    return opened


def _read_reference(file: Path, size: int | None) -> Reference:
    """Return the images, `size` px a side, and the masks that an export was checked with."""
    try:
        with open_file(file) as opened, ZipFile(opened) as archive:
            if sum(member.file_size for member in archive.infolist()) > memory_limit():
                raise ValueError("it unpacks to more than the memory limit")
        with np.load(file, allow_pickle=False) as stored:
            images, masks = stored["images"], np.unpackbits(stored["masks"], axis=-1).astype(bool)
        masks = masks[..., : images.shape[2]]  # eight pixels to a byte
        if images.shape != (len(images), size, size) or images.dtype != np.uint8 or masks.shape != images.shape:
            raise ValueError("it holds other arrays")
        return Reference(images, masks)
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds
        raise ExportError(f"{file}: is damaged; remove it and the export beside it, and both are made anew.") from error


def _export(path: Path, format: str, base: Path, half: bool = False) -> Path:
    """Write a model in another format as `base` with its suffix, once the engines that read it agree with Keras."""
    engines = [engine for engine in READERS[format] if installed(engine)]
    file = base.with_name(base.name + FORMATS[format])
    if not engines:
        raise ExportError(f"{file}: to check it, {READERS[format][0]} is needed: pip install 'lungnb[fast]'.")
    model = load_model(path)
    reference, found = draw_reference(model), {}
    with ExitStack() as stack:
        temporary = stack.enter_context(written(file))
        if format == "openvino":
            stack.enter_context(written(file.with_suffix(".bin")))  # which OpenVINO writes beside the other
        try:
            convert(model, format, temporary, half)
        except Exception as error:  # what converters raise is theirs
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise ExportError(f"{path}: cannot be exported to {format} ({reason}).") from error
        for engine in engines:
            opened = _opened(engine, temporary)
            found[opened.name] = measure_parity(opened, reference)
            _accept(opened.name, found[opened.name], file)
        with written(_beside(file, ".npz")) as images:
            masks = np.packbits(reference.masks, axis=-1)
            np.savez_compressed(images, images=reference.images, masks=masks)
        _note(file, {"model": _digest(path), "file": _digest(temporary)}, found)
    return file


def _opened(engine: str, file: Path, precision: str = "f32") -> Engine:
    try:
        return open_exported(engine, file, precision)
    except ImportError as error:
        raise ExportError(f"engine {engine} is installed, and cannot be imported ({error}).") from error
    except Exception as error:  # what readers raise is theirs
        raise ExportError(f"{file}: engine {engine} cannot open it; remove it, and it is made anew.") from error


def _accept(name: str, found: Parity, file: Path) -> None:
    """Raise an ExportError where an engine's masks were found not to be those of Keras."""
    if not found.passed:
        raise ExportError(
            f"{file}: {name} is not used: the Dice of its masks with those of Keras is {found.mean_dice:.4f} on "
            f"average and {found.worst_dice:.4f} at worst, where {MEAN_DICE} and {WORST_DICE} are asked for."
        )


def _masks(engine: Engine, images: np.ndarray) -> np.ndarray:
    """Return an engine's masks of `(count, size, size)` uint8 images, bool, made one at a time as `segment` does."""
    batches = (image[None, :, :, None].astype(np.float32) / 255.0 for image in images)
    return np.stack([engine(batch)[0, :, :, 0] > THRESHOLD for batch in batches])


def _exported(path: Path) -> Path | None:
    """Return the ONNX file that was made of a model, the one that lungnb comes with or one in the cache, if any."""
    digest = _digest(path)
    files = (SHIPPED.with_suffix(".onnx"), cache_folder() / f"{digest}.onnx")
    return next((file for file in files if file.is_file() and _is_of(file, digest)), None)


def _is_of(file: Path, digest: str) -> bool:
    """Whether an exported file is the one that was made of the model with this checksum, and checked."""
    record = _record(file)
    return record.get("model") == digest and record.get("file") == _digest(file) and _beside(file, ".npz").exists()


def _record(file: Path) -> dict:
    """Return the JSON beside an exported file, or nothing."""
    return read_json(_beside(file, ".json"))


def _note(file: Path, of: dict[str, str], found: dict[str, Parity]) -> None:
    """Add to the JSON beside an exported file; forget what it says `of` another one.

    `of` has the checksums of the `model` and of the exported `file`.
    """
    record, of = _record(file), {name: of[name] for name in ("model", "file")}
    known = parities(file) if all(record.get(name) == digest for name, digest in of.items()) else {}
    asked = {"mean_dice": MEAN_DICE, "worst_dice": WORST_DICE}
    parity = {engine: each._asdict() for engine, each in (known | found).items()}
    write_json(_beside(file, ".json"), of | {"asked_for": asked, "parity": parity})


def _beside(file: Path, suffix: str) -> Path:
    return file.with_name(file.name + suffix)


def _digest(path: Path) -> str:
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
