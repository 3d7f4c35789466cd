"""Files of students: renamed and cut files, masks in colours of any program, drawings, pictures of screens."""

import io
import shutil

import numpy as np
from PIL import Image

from unusual import SIZE, Result, case, cases, ct_slice, film, judge
from unusual.drawings import smooth, soft
from unusual.exports import judge_check, resave, save
from unusual.hospitals import judge_rows, judge_words
from unusual.masks import BOTH, LEFT, RIGHT, judge_mask
from unusual.sets import judge_set, write_set

BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 5: Image.Transpose.TRANSPOSE, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}  # fmt: skip


def turned(suffix, orientation):
    """Return a function that stores the film turned, as its EXIF data say."""

    def write(folder):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(film()).transpose(BACK[orientation]).save(
            folder / f"a{suffix}", exif=exif, **({"quality": 98} if suffix == ".jpg" else {})
        )
        return folder / f"a{suffix}"

    return write


# Right: the mask of the ordinary film.
TURNS = {
    f"{suffix}, {orientation}": turned(suffix, orientation)
    for suffix in (".jpg", ".png", ".tif")
    for orientation in BACK
}


@cases("A student's film with EXIF data: {}.", TURNS)
def turns(folder, make):
    return judge(make(folder), "film")


def cut(name, **options):
    """Return a function that saves the film and cuts the file in half."""

    def write(folder):
        save(folder / name, film(), **options)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
        return folder / name

    return write


def cut_end(name, **options):
    def write(folder):
        save(folder / name, film(), **options)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: -len(content) // 10])
        return folder / name

    return write


# A sentence that the file is not whole.
CUTS = {
    "PNG": cut("a.png"), "GIF": cut("a.gif"), "BMP": cut("a.bmp"), "TIFF": cut("a.tif"),
    "TIFF of LZW": cut("a.tif", compression="tiff_lzw"), "progressive JPEG": cut("a.jpg", progressive=True, quality=95),
    "JPEG, the last tenth": cut_end("a.jpg", quality=95), "PNG, the last tenth": cut_end("a.png"),
    "GIF, the last tenth": cut_end("a.gif"),
}  # fmt: skip


@cases("Half a download of a {}.", CUTS)
def cuts(folder, make):
    return judge(make(folder), "film", "whole")


@case
def volume_cut(folder):
    """Half a download of a NIfTI volume that is not packed."""  # a sentence
    from unusual.volumes import nifti, volume

    content = nifti(folder / "a.nii", volume()).read_bytes()
    (folder / "a.nii").write_bytes(content[: len(content) // 2])
    return judge(folder / "a.nii", "ct", "whole")


def encoded(name, kind, **options):
    def write(folder):
        Image.fromarray(film()).convert("RGB").save(folder / name, kind, **options)
        return folder / name

    return write


def heic(folder):
    (folder / "IMG_0001.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(900))
    return folder / "IMG_0001.jpg"


def heic_by_name(folder):
    return heic(folder).rename(folder / "IMG_0001.HEIC")


def document(name):
    def write(folder):
        (folder / name).write_bytes((b"%PDF-1.7\n" if name.endswith("pdf") else b"PK\3\4") + bytes(900))
        return folder / name

    return write


# A sentence that says what to do.
OTHERS = {
    "AVIF called .jpg": (encoded("a.jpg", "AVIF"), "named after its format"),
    "AVIF": (encoded("a.avif", "AVIF"), "Convert"),
    "WebP called .jpg": (encoded("a.jpg", "WEBP", lossless=True), "named after its format"),
    "HEIC called .jpg": (heic, "named after its format"), "HEIC": (heic_by_name, "Convert"),
    "PDF": (document("a.pdf"), "Convert"), "PPTX": (document("a.pptx"), "Convert"),
    "PDF called .png": (document("a.pdf.png"), "named after its format"),
    "ICO": (encoded("a.ico", "ICO", sizes=[(256, 256)]), "Convert"),
}  # fmt: skip


@cases("A student's film as {}.", OTHERS)
def others(folder, kind):
    make, *words = kind
    return judge(make(folder), "film", *words)


# A word in the review, or a sentence.
def masks_to_segment(folder):
    return save(folder / "a.png", BOTH * np.uint8(255))


def sheet_of_slices(folder):
    shown = np.rint(np.clip((ct_slice() + 1000) / 1400, 0, 1) * 255).astype(np.uint8)
    return save(folder / "a.png", np.tile(shown, (4, 4))[::2, ::2].copy())


def two_views(folder):
    return save(folder / "a.png", np.hstack([film(), film()]))


def upside_down(folder):
    return save(folder / "a.png", np.flipud(film()).copy())


def all_black(folder):
    return save(folder / "a.png", np.zeros((SIZE, SIZE), np.uint8))


def noise(folder):
    return save(folder / "a.png", np.random.default_rng(0).integers(0, 256, (SIZE, SIZE), dtype=np.uint8))


def overlay_of_lungs(folder):
    return save(folder / "a.png", np.where(BOTH[..., None], np.array([255, 0, 0], np.uint8), film()[..., None]))


REVIEWED = {
    "a mask": (masks_to_segment, "mask"), "a sheet of slices": (sheet_of_slices, "chest"),
    "two films side by side": (two_views, "two views"), "a film upside down": (upside_down, "chest"),
    "a black picture": (all_black, ""), "noise": (noise, "chest"),
    "a film with red lungs": (overlay_of_lungs, "colour"),
}  # fmt: skip


@cases("To segment: {}.", REVIEWED)
def reviewed(folder, kind):
    make, word = kind
    return judge_words(make(folder), word)


@cases("A film of 8 greys, {}.", {"0 to 7": (1, "very dark"), "0 to 252": (36,)})
def few_greys(folder, kind):  # a word that it is dark, if it is; not that it is a mask
    step, *words = kind
    result = judge_words(save(folder / "a.png", (film() // 32 * step).astype(np.uint8)), *words)
    return Result("wrong", result.said) if "as in a mask" in result.said else result


@case
def swapped(folder):
    """A data set whose masks lie in images and whose images lie in masks."""  # a finding
    return judge_check(write_set(folder, "masks/{:03}.png", "images/{:03}.png"), "swapped", "grey")


TWICE = {"masks": ("images", "not a mask", "grey"), "images": ("masks", "image", "mask")}


@cases("A data set whose {} are copies of the other files.", TWICE)
def twice(folder, kind):
    copied, *words = kind  # a finding
    raw = write_set(folder)
    (lost,) = TWICE.keys() - {copied}
    shutil.rmtree(raw / lost)
    shutil.copytree(raw / copied, raw / lost)
    return judge_check(raw, *words)


COLOUR_MAPS = (
    "jet_r", "turbo", "turbo_r", "rainbow", "rainbow_r", "gist_rainbow", "hsv", "Spectral", "Spectral_r", "coolwarm",
    "coolwarm_r", "inferno_r", "magma", "viridis_r", "cividis_r", "plasma_r", "hot_r", "cool", "spring", "summer",
    "autumn", "winter_r", "cubehelix", "nipy_spectral", "nipy_spectral_r", "Set1", "Paired", "tab20", "prism", "Blues",
    "Greens_r", "PiYG", "seismic_r", "bone_r", "copper", "pink", "gnuplot", "ocean", "terrain", "twilight",
)  # fmt: skip
LABELS = {"lungs": BOTH.astype(float), "left and right": (LEFT + 2 * RIGHT) / 2.0}


def in_colours(name, values):
    import matplotlib

    return np.ascontiguousarray(matplotlib.colormaps[name](values, bytes=True)[..., :3])


def judge_lungs(path, *words):
    """Read a mask: explained, too, if the check of a data set finds an error in it."""
    from lungnb.datasets.check import judge_mask as judge_pair
    from lungnb.formats.images import read_mask

    result = judge_mask(path, *words)
    if result.verdict == "wrong":
        try:
            mask = read_mask(path)
        except ValueError:
            return result
        if any(severity == "error" for severity, *_ in judge_pair(film(), mask)):
            return Result("explained", "an error of check")
    return result


@cases(
    "A student's mask of {}.",
    {f"{what} in the colours {name}": (name, what) for name in COLOUR_MAPS for what in LABELS},
)
def in_maps(folder, kind):
    name, what = kind
    return judge_lungs(save(folder / "a.png", in_colours(name, LABELS[what])), "background")


@cases("A student's JPEG of a mask in the colours {}.", {name: name for name in COLOUR_MAPS[::3]})
def jpegs_in_maps(folder, name):
    return judge_lungs(save(folder / "a.jpg", in_colours(name, BOTH.astype(float)), quality=90), "background")


@cases("A student's mask with soft edges in the colours {}.", {name: name for name in COLOUR_MAPS[::3]})
def soft_in_maps(folder, name):
    colours = in_colours(name, np.array([0.0, 1.0]))
    shares = soft(BOTH, 0.7)[..., None]
    return judge_lungs(
        save(folder / "a.png", np.rint(colours[0] * (1 - shares) + colours[1] * shares).astype(np.uint8)), "background"
    )


def clear_corners(picture, opaque=255):
    """Return a picture with transparent round corners, as presentation programs save it."""
    yy, xx = np.mgrid[:SIZE, :SIZE]
    far = np.hypot(np.maximum(np.abs(yy - 127.5) - 97, 0), np.maximum(np.abs(xx - 127.5) - 97, 0)) > 30
    colours = np.dstack([picture] * 3) if picture.ndim == 2 else picture
    return np.dstack([colours, np.where(far, 0, opaque)]).astype(np.uint8)


def checkers():
    yy, xx = np.mgrid[:SIZE, :SIZE] // 8
    return np.where((yy + xx) % 2, 255, 204).astype(np.uint8)


def on_checkers(colour):
    return np.where(BOTH[..., None], np.array(colour, np.uint8), checkers()[..., None])


def through_alpha(colour, opacity):
    """Return a colour of this opacity over white, saved as opaque."""
    return np.rint(np.where(BOTH[..., None], np.array(colour) * opacity + 255 * (1 - opacity), 255)).astype(np.uint8)


def grey_soft(low, high):
    return np.rint(low + (high - low) * soft(BOTH)).astype(np.uint8)


def with_legend():
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    picture[LEFT], picture[RIGHT] = (255, 0, 0), (0, 255, 0)
    picture[4:12, 4:12], picture[4:12, 20:28] = (255, 0, 0), (0, 255, 0)
    return picture


def dithered():
    return Image.fromarray(np.rint(soft(BOTH, 1) * 255).astype(np.uint8)).convert("1")


def as_web_colours():
    picture = Image.fromarray(smooth((255, 255, 255), (255, 0, 0), (0, 0, 255)))
    return picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=16)


def palette_with_clear_background():
    image = Image.fromarray(BOTH.astype(np.uint8), "P")
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.info["transparency"] = 0
    return image


HEART = np.zeros_like(BOTH)
HEART[len(BOTH) // 2 : 3 * len(BOTH) // 4, 15 * len(BOTH) // 32 : 17 * len(BOTH) // 32] = True

DRAWN = {
    "red on white with transparent corners": (clear_corners(np.where(BOTH[..., None], [255, 0, 0], 255)),),
    "red and blue on white, transparent corners": (clear_corners(smooth((255, 255, 255), (255, 0, 0), (0, 0, 255))),),
    "red and blue lungs with a black heart on white": (
        np.where(HEART[..., None], 0, smooth((255, 255, 255), (255, 0, 0), (0, 0, 255))).astype(np.uint8),),
    "white on black with transparent corners": (clear_corners(BOTH * 255),),
    "white on grey with transparent corners": (clear_corners(np.where(BOTH, 255, 120)),),
    "green on blue, transparent corners": (
        clear_corners(np.where(BOTH[..., None], [0, 255, 0], [0, 0, 255])), "background"),
    "black on white with transparent corners": (clear_corners(np.where(BOTH, 0, 255)), "background"),
    "half opaque red on white, transparent corners": (
        clear_corners(np.where(BOTH[..., None], [255, 0, 0], 255), 128),),
    "red on a checkerboard": (on_checkers((255, 0, 0)),), "dark green on a checkerboard": (on_checkers((0, 100, 0)),),
    "black on a checkerboard": (on_checkers((0, 0, 0)), "background"),
    "pale red on white": (through_alpha((255, 0, 0), 0.3),),
    "very pale blue on white": (through_alpha((0, 0, 255), 0.12),),
    "soft white on grey above half": (grey_soft(150, 255),), "soft white on light grey": (grey_soft(220, 255),),
    "soft grey on black": (grey_soft(0, 60),), "soft grey on dark grey": (grey_soft(20, 60),),
    "soft black on white": (grey_soft(255, 0),), "colours with a legend": (with_legend(),),
    "yellow on magenta": (np.where(BOTH[..., None], [255, 255, 0], [255, 0, 255]).astype(np.uint8), "background"),
    "white on red": (np.where(BOTH[..., None], [255, 255, 255], [255, 0, 0]).astype(np.uint8),),
    "black on yellow": (np.where(BOTH[..., None], [0, 0, 0], [255, 255, 0]).astype(np.uint8),),
    "light green on light grey": (np.where(BOTH[..., None], [150, 230, 150], [220, 220, 220]).astype(np.uint8),),
    "grey on grey, 1 apart": (np.where(BOTH, 129, 128).astype(np.uint8),),
    "greys 254 and 255": (np.where(BOTH, 255, 254).astype(np.uint8),),
}  # fmt: skip


@cases("A student draws {}.", DRAWN)
def drawn(folder, kind):
    picture, *words = kind
    return judge_lungs(save(folder / "a.png", picture), *words)


@cases(
    "A student's PNG mask of {}.",
    {
        "dithered black and white": dithered,
        "16 adaptive colours": as_web_colours,
        "a clear palette": palette_with_clear_background,
    },
)
def special(folder, make):
    make().save(folder / "a.png", **({"transparency": 0} if make is palette_with_clear_background else {}))
    return judge_lungs(folder / "a.png")


@case
def figures(folder):
    """Masks that are figures of Matplotlib with axes and a title."""  # a finding or a sentence
    import matplotlib.pyplot as plt

    def write(file, left, right):
        figure = plt.figure(figsize=(3, 3))
        axes = figure.add_subplot()
        axes.imshow(left | right, cmap="gray")
        axes.set_title(file.stem)
        figure.savefig(file)
        plt.close(figure)

    return judge_check(resave(write_set(folder) / "masks", write), "edge", "size", "grey", "inverted")


@case
def holes_of_opacity(folder):
    """Masks in which the lungs are transparent and all else is opaque black."""  # read, or a finding

    def write(file, left, right):
        lungs = left | right
        save(file, np.dstack([np.zeros((*lungs.shape, 3), np.uint8), ~lungs * np.uint8(255)]))

    raw = resave(write_set(folder) / "masks", write)
    result = judge_set(raw)
    return result if result.verdict == "right" else judge_check(raw, "inverted")


@case
def films_among_others(folder):
    """A folder of a student with films, a mask, a figure and an empty picture."""  # films; a word on the others
    save(folder / "all" / "film.png", film())
    save(folder / "all" / "film_mask.png", BOTH)
    figure = np.full((SIZE, SIZE), 255, np.uint8)
    for number in range(6):
        figure[250 - 30 * number : 250, 20 + 35 * number : 45 + 35 * number] = 60
    save(folder / "all" / "statistics.png", figure)
    (folder / "all" / "empty.png").write_bytes(b"")
    return judge_rows(
        folder / "all",
        {"film.png": "film", "film_mask.png": ("mask",), "statistics.png": ("chest",), "empty.png": ("empty",)},
    )


@case
def part_of_a_set(folder):
    """A data set of which some masks are empty downloads."""  # a sentence for each; the others are used
    raw = write_set(folder)
    (raw / "masks" / "002.png").write_bytes(b"")
    buffer = io.BytesIO()
    Image.fromarray(film()).save(buffer, "PNG")
    (raw / "masks" / "004.png").write_bytes(buffer.getvalue()[:300])
    return judge_check(raw, "empty")
