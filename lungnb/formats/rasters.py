"""Read PNG, JPEG, BMP, TIFF and GIF files, and refuse those that would take too much memory or time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from lungnb.formats.deep import (
    DEEP_BYTES,
    ORIENTATION_TAG,
    PHOTOMETRIC_TAG,
    black_from_zero,
    deep_mode,
    has_other_pages,
    read_deep,
    read_tiff,
    refuse_tile,
)
from lungnb.formats.dicom_opening import DICOM_SUFFIXES
from lungnb.formats.jpeg import refuse_jpeg, refuse_other_jpeg
from lungnb.formats.opening import Refused, open_file, refuse_memory, refuse_shape
from lungnb.formats.pixels import has_colours, luminance
from lungnb.masks import Mask

RASTER_FORMATS = {  # suffix, and Pillow's name of the format
    **{".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP"},
    **{".tif": "TIFF", ".tiff": "TIFF", ".gif": "GIF"},
}
IMAGE_SUFFIXES = (*RASTER_FORMATS, *DICOM_SUFFIXES)
MAX_RUN_PIXELS = 16_000_000  # refuse run-length encoded BMP files with more pixels
_PILLOW_FORMATS = tuple(sorted(set(RASTER_FORMATS.values())))
# Memory per pixel while a file is read, bytes, by the mode of the picture; measured with 25 Mpx.
_MODE_BYTES = {"1": 4, "L": 4, "P": 8, "I;16": 4, "I": 12, "F": 8}
_COLOUR_BYTES = 10
# Tags of TIFF. A sample format of 2 says that numbers are signed.
_TILE_TAGS, _BITS_TAG, _PLANES_TAG, _SIGN_TAG = (322, 323), 258, 284, 339
_SAMPLES_TAG, _EXTRA_TAG = 277, 338
UPRIGHT = 1  # the orientation of EXIF that turns nothing
_OUTLINE_SHARE = 0.75  # of the outline of a mask has the colour of the background; lungs touch little of it
_MIN_CONTRAST = 1 / 16  # of the brightest value, between colours that differ; the noise of JPEG is less
_GREY_MARGIN = 0.1  # of the range of values, at each end: what a drawing has, and little of a photograph
_LINE_SHARE = 100  # a line is thinner than twice this part of the longer side
_MIN_BLACK_SHARE = 0.01  # of a picture: what is left of black areas without their edges, if they are drawn
_MAX_FRAME_SHARE = 0.3  # of a picture: what a transparent frame takes
_SAMPLE_SIDE = 256  # px; look at so many rows and columns to see whether a picture has colours
_MAX_ALIKE = 0.75  # of the neighbours in a photograph have one grey
_BACK = {6: 8, 8: 6}  # orientations that undo one another; all others undo themselves
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_STARTS = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"GIF8": ".gif", **dict.fromkeys(_TIFF_STARTS, ".tif")}
_PAIR_SUFFIXES = (".hdr", ".img")
ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz")
_REDUCED_TAG = 254  # NewSubfileType of TIFF: bit 0 says that a page is a smaller copy of another one
_RUN_LENGTHS = (1, 2)  # BI_RLE8, BI_RLE4: how a BMP says that it is run-length encoded


@contextmanager
def opened_raster(path: Path, is_mask: bool = False) -> Iterator[Image.Image]:
    """Open an image file. Raises Refused, naming the file, for another format, and if its header is beyond a limit.

    A TIFF file of numbers for which Pillow has no mode becomes a picture of float32; see `flattened` for its colours.
    """
    suffix = path.suffix.lower()
    if suffix == ".img" and not any(path.with_suffix(end).exists() for end in (".hdr", ".HDR")):
        raise Refused(
            f"{path}: numbers without a header (.hdr), as JSRT's films of 2,048 x 2,048 pixels are. Convert it to PNG "
            "of 16 bits."
        )
    if suffix in _PAIR_SUFFIXES:
        raise Refused(f"{path}: one of two files of a volume (.hdr and .img). Convert them to a single .nii file.")
    if suffix not in RASTER_FORMATS:
        open_file(path).close()  # refuses what is not there, for a better reason
        if path.name == "DICOMDIR":
            raise Refused(
                f"{path}: not an image format, but a list of the files of a disc. Name the folder in which it lies."
            )
        kind, known = kind_of(path), ", ".join(RASTER_FORMATS if is_mask else IMAGE_SUFFIXES)
        remedy = "Unpack it" if suffix in ARCHIVES else "Convert it"
        remedy = f"It holds a {RASTER_FORMATS[kind]}: end its name with {kind}" if kind else remedy
        raise Refused(f"{path}: not {'a mask' if is_mask else 'an image'} format this reads ({known}). {remedy}.")
    # Open the file here, because Pillow maps files that it opens itself into memory, and scrambles some turned TIFFs.
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        refuse_memory(path, 2 * size, f"a file of {size / 1e6:,.0f} MB", "Save it in another format")
        if file.read(2) == b"\xff\xd8":
            file.seek(0)
            stream = file.read()
            refuse_jpeg(stream, path)
            refuse_other_jpeg(stream, path)
        with _open_known(file, path, is_mask) as image:
            tile = (_tiff_tag(image, _TILE_TAGS[1]), _tiff_tag(image, _TILE_TAGS[0]))
            refuse_tile(path, tile, (image.height, image.width))
            _refuse_runs(image, path)
            pixel_bytes = DEEP_BYTES if deep_mode(image) else _MODE_BYTES.get(image.mode[:4], _COLOUR_BYTES)
            refuse_shape(path, image.height, image.width, pixel_bytes)
            yield image


def kind_of(path: Path) -> str:
    """Return the ending of the format that a file without an ending holds, by its first bytes, or ""."""
    if not path.suffix:
        with suppress(Refused, OSError), open_file(path) as file:
            start = file.read(max(map(len, _STARTS)))
            return next((suffix for first, suffix in _STARTS.items() if start.startswith(first)), "")
    return ""


def _open_known(file: BinaryIO, path: Path, is_mask: bool) -> Image.Image:
    """Return a file as Pillow opens it. A TIFF file that Pillow cannot read becomes a picture of float32."""
    file.seek(0)
    try:
        image: Image.Image = Image.open(file, formats=_PILLOW_FORMATS)
    except Image.DecompressionBombError:
        raise Refused(f"{path}: has more pixels than Pillow opens. Scale it down.") from None
    except UnidentifiedImageError:
        file.seek(0)
        if file.read(4) not in _TIFF_STARTS:
            raise
    else:
        if not (_is_misread(image) or (is_mask and _has_lost_channel(image))):
            return image
    array, orientation, more = read_tiff(file, path, is_mask)
    image = Image.fromarray(flattened(array, is_mask, path).astype(np.float32))
    image.getexif()[ORIENTATION_TAG] = orientation
    image.info |= {"numbers": f"{array.dtype} numbers", "has_more": more}
    return image


def _is_misread(image: Image.Image) -> bool:
    """Return whether Pillow misreads the numbers of a TIFF file.

    Pillow misreads signed bytes, 16-bit colours in separate planes, and compressed numbers with the high byte first.
    """
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    is_signed = image.mode == "L" and _tiff_tag(image, _SIGN_TAG, 1) == 2
    is_apart = _tiff_tag(image, _PLANES_TAG, 1) != 1 and _tiff_tag(image, _BITS_TAG, 8) > 8
    is_swapped = image.tag_v2.prefix == b"MM" and image.mode in ("I", "F") and image.tile[0].codec_name == "libtiff"
    return is_signed or is_swapped or (is_apart and len(image.getbands()) > 1)


def _has_lost_channel(image: Image.Image) -> bool:
    """Return whether Pillow drops the second of two grey channels of a TIFF file, although it is not opacity."""
    is_grey = _tiff_tag(image, PHOTOMETRIC_TAG, 2) <= 1
    return is_grey and _tiff_tag(image, _SAMPLES_TAG, 1) > 1 and not _tiff_tag(image, _EXTRA_TAG)


def _tiff_tag(image: Image.Image, tag: int, default: int = 0) -> int:
    """Return a number from the header of a TIFF file, `default` if there is none."""
    value = image.tag_v2.get(tag, default) if isinstance(image, TiffImagePlugin.TiffImageFile) else default
    return int(value[0] if isinstance(value, tuple) else value)


def _refuse_runs(image: Image.Image, path: Path) -> None:
    """Raise Refused for a large run-length encoded BMP: Pillow decodes it in Python, 6 million pixels a second."""
    is_encoded = image.format == "BMP" and image.info.get("compression") in _RUN_LENGTHS
    if is_encoded and image.width * image.height > MAX_RUN_PIXELS:
        raise Refused(
            f"{path}: is a run-length encoded BMP of more than {MAX_RUN_PIXELS / 1e6:.0f} million pixels, which takes "
            "too long to decode. Save it as PNG."
        )


class Raster(NamedTuple):
    """The first picture of an image file."""

    pixels: np.ndarray  # (height, width), upright, of the depth of the file
    has_more: bool
    orientation: int  # 1 to 8, in which way EXIF turns what the file stores
    is_coloured: bool = False  # whether much of an image has strong colours, of which only the brightness is left


def read_raster(path: Path, is_mask: bool = False) -> Raster:
    """Return the pixels of an image file. Colours become luminance; in a mask, the strongest colour or the opacity."""
    with opened_raster(path, is_mask) as opened:
        deep, file = deep_mode(opened), getattr(opened, "fp", None)  # which Pillow forgets when it has read
        orientation = orientation_of(opened)
        if deep and file:
            colours = read_deep(file, opened.format or "", deep)
            pixels, is_coloured = flattened(colours, is_mask, path), has_colours(colours)
        else:
            pixels, is_coloured = _pixels(opened, is_mask, path)
        return Raster(pixels, has_more(opened), orientation, is_coloured)


def refuse_pages(raster: Raster, path: object) -> None:
    """Raise Refused for a mask file of several pictures, because each of them may be a lung."""
    if raster.has_more:
        raise Refused(f"{path}: holds several pictures (pages or frames). Save each as a file, or a volume as NIfTI.")


def _pixels(opened: Image.Image, is_mask: bool, path: Path) -> tuple[np.ndarray, bool]:
    """Return the pixels of an opened file as `read_raster` does, and whether an image has strong colours."""
    is_deep = opened.mode.startswith("I;16")
    has_wide_numbers = is_deep or opened.mode in ("I", "F")  # Pillow inverts all others
    is_zero_white = has_wide_numbers and not _tiff_tag(opened, PHOTOMETRIC_TAG, 1)
    is_unsigned = opened.mode == "I" and _tiff_tag(opened, _BITS_TAG) == 32 and _tiff_tag(opened, _SIGN_TAG, 1) == 1
    image = ImageOps.exif_transpose(opened)
    if is_mask and image.mode not in ("1", "L", "I", "F") and not is_deep:
        return flattened(np.asarray(image if image.mode == "LA" else image.convert("RGBA")), is_mask, path), False
    is_coloured = False
    if image.mode not in ("L", "I", "F") and not is_deep:
        image = image.convert("RGB") if image.mode != "1" else image
        sample = image.resize((_SAMPLE_SIDE, _SAMPLE_SIDE), Image.Resampling.NEAREST)
        is_coloured = image.mode == "RGB" and has_colours(np.asarray(sample))
        image = image.convert("L")
    pixels = np.asarray(image)
    if is_unsigned:
        pixels = pixels.view(np.uint32)  # Pillow takes them for signed numbers
    if is_mask and opened.mode == "L" and not _tiff_tag(opened, PHOTOMETRIC_TAG, 1):
        return black_from_zero(~pixels, is_mask), False  # which Pillow has inverted
    return black_from_zero(pixels, is_mask) if is_zero_white else pixels, is_coloured


def flattened(pixels: np.ndarray, is_mask: bool, path: object) -> np.ndarray:
    """Return colours, `(height, width, 1 to 4)`, as `(height, width)`: the luminance, without the opacity.

    For a mask, return the strongest colour of each pixel, 0 where it is transparent. If only the opacity varies, or if
    it cuts out a part of a photograph, return that. A transparent frame gets the colour beside it. If the background is
    a colour, return how far the colours are from it. If colours are drawn on white, perhaps in a dark frame, return the
    saturation, and black areas. If all colours are equally strong, return the pixels whose colour differs from that of
    the outline; raises Refused, naming `path`, if the outline has several colours.
    """
    if pixels.ndim == 2:
        return pixels
    colours = pixels[..., : 1 if pixels.shape[-1] < 3 else 3]
    if not is_mask:
        grey = colours[..., 0] if colours.shape[-1] == 1 else luminance(colours)
        return np.rint(grey).astype(pixels.dtype) if pixels.dtype.kind in "ui" else grey
    strongest, opacity = colours.max(axis=-1), pixels[..., -1]
    if pixels.shape[-1] == 2:
        _refuse_two_classes(strongest, opacity, path)
    drawn = opacity > 0  # whatever colour lies hidden where nothing is drawn
    if pixels.shape[-1] % 2 == 0 and _is_frame(~drawn):
        colours = _without_frame(colours, drawn)
        strongest = colours.max(axis=-1)
    elif pixels.shape[-1] % 2 == 0 and np.ptp(opacity):
        is_drawing = np.ptp(strongest[drawn]) and not _is_photograph(strongest, drawn)
        return np.where(drawn, strongest, 0) if is_drawing else opacity
    distance = _from_background(colours)
    if distance is not None:
        return distance
    weakest, brightest = colours.min(axis=-1), float(strongest.max())
    saturation = strongest - weakest
    # Such as colours on white: the background is as bright as the drawing, except perhaps a dark frame.
    is_on_white = 2 * float(strongest.min()) > brightest or _is_background(weakest > brightest / 2)
    if is_on_white and 4 * float(np.ptp(saturation)) > brightest:
        return _with_black(saturation, 4 * strongest.astype(np.float32) < brightest)
    if not np.ptp(strongest) and _MIN_CONTRAST * brightest < np.ptp(colours, axis=(0, 1)).max():  # such as red on blue
        return np.asarray((colours != _background(colours, path)).any(axis=-1))
    return np.asarray(strongest)


def _refuse_two_classes(one: np.ndarray, other: np.ndarray, path: object) -> None:
    """Raise Refused for two channels that have one sum everywhere and are soft: probabilities, and no opacity."""
    total = one.astype(np.float64) + other
    if np.ptp(total) <= _MIN_CONTRAST * float(total.max()) and len(np.unique(one[:: max(len(one) // 64, 1)])) > 2:
        raise Refused(
            f"{path}: has two channels that add up to one value, like probabilities of two classes. It does not say "
            "which is lung. Save the probability of lung alone."
        )


def _with_black(saturation: np.ndarray, black: Mask) -> np.ndarray:
    """Return the saturation of colours on white; black areas inside the picture are as strong as the colours.

    One of two lungs may be black. Frames, which touch the edge, and thin lines, as of outlines and letters, stay 0.
    Beside two lungs in colour, black is another organ, and stays 0, too.
    """
    from scipy.ndimage import binary_erosion, label

    regions, _ = label(black)
    inside = black & ~np.isin(regions, _outline(regions))
    line_px = max(max(black.shape) // _LINE_SHARE, 1)
    coloured, _ = label(binary_erosion(2.0 * saturation > saturation.max(), iterations=line_px))
    lungs = np.count_nonzero(np.bincount(coloured.ravel())[1:] > _MIN_BLACK_SHARE * black.size)
    if lungs > 1 or binary_erosion(inside, iterations=line_px).mean() <= _MIN_BLACK_SHARE:
        return np.asarray(saturation)
    return np.where(inside, saturation.max(), saturation)


def _is_frame(clear: Mask) -> bool:
    """Return whether only the edges or the round corners of a picture are transparent, so that all of it is drawn."""
    height, width = clear.shape
    inside = clear[height // 4 : -(height // 4) or None, width // 4 : -(width // 4) or None]
    return bool(0 < clear.mean() < _MAX_FRAME_SHARE and not inside.any())


def _without_frame(colours: np.ndarray, drawn: Mask) -> np.ndarray:
    """Return colours with those of a transparent frame replaced by the colour beside it."""
    from scipy.ndimage import binary_dilation

    beside = np.median(colours[drawn & binary_dilation(~drawn, iterations=2)], axis=0)
    return np.where(drawn[..., None], colours, beside.astype(colours.dtype))


def _is_photograph(strongest: np.ndarray, drawn: Mask) -> bool:
    """Return whether most of what is drawn is neither nearly black nor nearly white, and differs from pixel to pixel.

    Most of a soft mask is nearly black or white, or it fades towards what is transparent. In a map of many organs, most
    neighbours are alike.
    """
    from scipy.ndimage import binary_dilation

    low, high = float(strongest[drawn].min()), float(strongest[drawn].max())
    margin = _GREY_MARGIN * (high - low)
    is_between = (strongest > low + margin) & (strongest < high - margin)
    if (strongest[drawn & binary_dilation(~drawn)] <= low + margin).mean() > 0.5:
        return False
    alike = (strongest[:, 1:] == strongest[:, :-1])[drawn[:, 1:] & drawn[:, :-1]]
    return bool(is_between[drawn].mean() > 0.5 and alike.size and alike.mean() < _MAX_ALIKE)


def _from_background(colours: np.ndarray) -> np.ndarray | None:
    """Return how far the colours of a mask are from its background, if the background has a colour, such as blue.

    Return None for another background: one that is nearly black, grey or white, or that has less than most of the
    picture and of its outline, as a frame has.
    """
    if colours.shape[-1] < 3:
        return None
    background, brightest = np.median(_outline(colours), axis=0), float(colours.max())
    if 4 * np.ptp(background) <= brightest:
        return None
    distance = np.zeros(colours.shape[:2], np.float32)
    for number, value in enumerate(background.tolist()):
        np.maximum(distance, np.abs(colours[..., number] - np.float32(value)), out=distance)
    is_near = 4 * distance < distance.max()
    if is_near.mean() <= 0.5 or _outline(is_near).mean() <= _OUTLINE_SHARE:
        return None
    return np.rint(distance).astype(colours.dtype) if colours.dtype.kind in "ui" else distance


def _is_background(white: Mask) -> bool:
    """Return whether white is the background: of most pixels, and of most of the outline within a dark frame."""
    if white.mean() <= 0.5:
        return False
    rows, columns = (np.flatnonzero(white.any(axis=axis)) for axis in (1, 0))
    inside = white[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return bool(_outline(inside).mean() > _OUTLINE_SHARE)


def _background(colours: np.ndarray, path: object) -> np.ndarray:
    """Return the colour of most of the outline of a mask; raises Refused if there is none."""
    outline = _outline(colours)
    values, counts = np.unique(outline, axis=0, return_counts=True)
    if counts.max() <= _OUTLINE_SHARE * len(outline):
        raise Refused(
            f"{path}: has several equally strong colours at its outline, so its background is unknown. Save the lungs "
            "as 1 and everything else as 0."
        )
    return np.asarray(values[counts.argmax()])


def _outline(array: np.ndarray) -> np.ndarray:
    """Return the pixels at the edge of a picture."""
    return np.concatenate([array[0], array[-1], array[1:-1, 0], array[1:-1, -1]])


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation of an opened file, 1 (not turned) to 8."""
    orientation = image.getexif().get(ORIENTATION_TAG, UPRIGHT)
    return orientation if orientation in range(1, 9) else UPRIGHT


def turned_otherwise(mask: Mask, orientation: int, other: int) -> Mask:
    """Return a mask, turned by the EXIF orientation of its file, as if the file had the orientation `other`."""
    image = Image.fromarray(mask)
    for turn in (_BACK.get(orientation, orientation), other):
        image.getexif()[ORIENTATION_TAG] = turn
        image = ImageOps.exif_transpose(image)
    return np.asarray(image)


def has_more(image: Image.Image) -> bool:
    """Return whether an opened file holds more pictures; a count would take minutes for a million empty pages.

    Smaller copies of the first page do not count, such as the thumbnail that scanners add.
    """
    try:
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            more = has_other_pages(_pages(image))
            image.seek(0)
            return more
        return bool(image.info.get("has_more", getattr(image, "is_animated", False)))  # reads a frame of a GIF
    except Exception:  # Pillow raises whatever its parsers meet
        return True  # there is something, though it is damaged


def _pages(image: TiffImagePlugin.TiffImageFile) -> Iterator[tuple[tuple[int, int], bool]]:
    with suppress(EOFError):
        for number in count():
            image.seek(number)
            yield image.size, bool(_tiff_tag(image, _REDUCED_TAG) & 1)
