"""Colours as one value per pixel: the luminance of an image, and what a mask marks by its colours or its opacity."""

import numpy as np

from lungnb.formats.opening import Refused
from lungnb.formats.pixels import luminance
from lungnb.masks import Mask

_MOST = 0.5  # of the pixels
_CLEAR = 4  # values, distances and saturations below the largest one divided by this count as 0
_OUTLINE_SHARE = 0.75  # of the outline of a mask has the colour of the background; lungs touch little of it
_MIN_CONTRAST = 1 / 16  # of the brightest value, between colours that differ; the noise of JPEG is less
_GREY_MARGIN = 0.1  # of the range of values, at each end: what a drawing has, and little of a photograph
_LINE_SHARE = 100  # a line is thinner than twice this part of the longer side
_MIN_BLACK_SHARE = 0.01  # of a picture: what is left of black areas without their edges, if they are drawn
_MAX_FRAME_SHARE = 0.3  # of a picture: what a transparent frame takes
_MAX_ALIKE = 0.75  # of the neighbours in a photograph have one grey


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
    if is_on_white and _CLEAR * float(np.ptp(saturation)) > brightest:
        return _with_black(saturation, _CLEAR * strongest.astype(np.float32) < brightest)
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
    if (strongest[drawn & binary_dilation(~drawn)] <= low + margin).mean() > _MOST:
        return False
    alike = (strongest[:, 1:] == strongest[:, :-1])[drawn[:, 1:] & drawn[:, :-1]]
    return bool(is_between[drawn].mean() > _MOST and alike.size and alike.mean() < _MAX_ALIKE)


def _from_background(colours: np.ndarray) -> np.ndarray | None:
    """Return how far the colours of a mask are from its background, if the background has a colour, such as blue.

    Return None for another background: one that is nearly black, grey or white, or that has less than most of the
    picture and of its outline, as a frame has.
    """
    if colours.shape[-1] < 3:
        return None
    background, brightest = np.median(_outline(colours), axis=0), float(colours.max())
    if _CLEAR * np.ptp(background) <= brightest:
        return None
    distance = np.zeros(colours.shape[:2], np.float32)
    for number, value in enumerate(background.tolist()):
        np.maximum(distance, np.abs(colours[..., number] - np.float32(value)), out=distance)
    is_near = _CLEAR * distance < distance.max()
    if is_near.mean() <= _MOST or _outline(is_near).mean() <= _OUTLINE_SHARE:
        return None
    return np.rint(distance).astype(colours.dtype) if colours.dtype.kind in "ui" else distance


def _is_background(white: Mask) -> bool:
    """Return whether white is the background: of most pixels, and of most of the outline within a dark frame."""
    if white.mean() <= _MOST:
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
