"""Masks as people draw and export them, the folders they lie in, and the tables beside them."""

import shutil

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from lungnb.datasets.prepare import prepare_dataset
from lungnb.formats.images import read_mask
from lungnb.presets import make_settings
from lungnb.segmentation.batch import segment_files
from unusual import Result, case, cases, explained_by, film, out_folder
from unusual.exports import judge_check, save
from unusual.masks import BOTH, LEFT, RIGHT, SIZE, judge_mask
from unusual.pictures import tiff
from unusual.sets import COUNT, ROWS, changed_set, judge_set, phantoms, write_set
from unusual.storage import GREYS, bmp, png


def soft(mask, width=1.5):
    """Return a mask with a soft edge, 0 to 1."""
    return ndimage.gaussian_filter(mask.astype(np.float32), width)


def smooth(background, left, right):
    """Return a picture of three colours whose edges are antialiased."""
    shares = np.dstack([1 - soft(BOTH, 0.7), soft(LEFT, 0.7), soft(RIGHT, 0.7)])
    shares /= shares.sum(axis=-1, keepdims=True)
    return np.rint(shares @ np.array([background, left, right], float)).clip(0, 255).astype(np.uint8)


def one_hot(*parts):
    return np.dstack(parts).astype(np.uint8) * 255


def probabilities():
    """Return the probabilities of background, left and right lung as three colours that sum to 1."""
    shares = np.dstack([1 - soft(BOTH, 3), soft(LEFT, 3), soft(RIGHT, 3)])
    return np.rint(shares * 255).astype(np.uint8)


def unsure():
    """Return such probabilities of a network that is nowhere sure."""
    shares = np.dstack([1 - soft(BOTH, 3), soft(LEFT, 3), soft(RIGHT, 3)]) * 0.7 + 0.1
    return np.rint(shares * 255).astype(np.uint8)


def cut_out():
    return np.dstack([*[film()] * 3, BOTH * np.uint8(255)])


BACKGROUND = ~BOTH
# Right: the lungs, or a sentence with the word. A cut-out shows greys, not a mask, but its opacity is the lungs.
COLOURS = {
    "antialiased red and blue on white": (smooth((255, 255, 255), (255, 0, 0), (0, 0, 255)),),
    "antialiased red and green on black": (smooth((0, 0, 0), (255, 0, 0), (0, 255, 0)),),
    "antialiased white on black, as colours": (smooth((0, 0, 0), (255, 255, 255), (255, 255, 255)),),
    "antialiased green on blue": (smooth((0, 0, 255), (0, 255, 0), (0, 255, 0)), "background"),
    "antialiased cyan on dark blue": (smooth((0, 0, 60), (0, 255, 255), (0, 255, 255)),),
    "antialiased labels of Pascal VOC": (smooth((0, 0, 0), (128, 0, 0), (0, 128, 0)),),
    "one-hot colours: background, left, right": (one_hot(BACKGROUND, LEFT, RIGHT),),
    "one-hot colours: left, right, nothing": (one_hot(LEFT, RIGHT, 0 * LEFT),),
    "one-hot colours: left, right, background": (one_hot(LEFT, RIGHT, BACKGROUND),),
    "probabilities of background, left, right": (probabilities(), "background"),
    "probabilities of an unsure network": (unsure(), "background"),
    "a cut-out of the film": (cut_out(), "opacity"),
    "black lungs on white, opaque": (smooth((255, 255, 255), (0, 0, 0), (0, 0, 0)), "never"),
    "white lungs on grey": (smooth((90, 90, 90), (255, 255, 255), (255, 255, 255)),),
    "yellow lungs on purple, as viridis": (smooth((68, 1, 84), (253, 231, 37), (253, 231, 37)),),
}  # fmt: skip


@cases("Mask in {}.", COLOURS)
def colours(folder, kind):
    picture, *words = kind
    result = judge_mask(save(folder / "a.png", picture), *words)
    if result.verdict == "wrong" and words == ["never"]:  # an inverted mask, which the check of a data set names
        return Result(
            "explained" if np.mean(read_mask(folder / "a.png") == BACKGROUND) > 0.97 else "wrong", result.said
        )
    return result


# Right: the lungs, though JPEG makes other colours at their edges.
@cases(
    "JPEG of a mask in Matplotlib's colours {}.", {name: name for name in ("viridis", "cividis", "plasma", "winter")}
)
def colour_maps(folder, name):
    import matplotlib

    colours = matplotlib.colormaps[name](BOTH.astype(float), bytes=True)[..., :3]
    return judge_mask(save(folder / "a.jpg", np.ascontiguousarray(colours), quality=80))


# Right: the lungs, though JPEG makes darker values than the background at their edges.
@cases("JPEG of a mask with the greys {}.", {f"{low} and {high}": (low, high) for low, high in ((30, 200), (10, 20))})
def grey_backgrounds(folder, greys):
    return judge_mask(save(folder / "a.jpg", np.where(BOTH, greys[1], greys[0]).astype(np.uint8), quality=80))


def pages(*parts):
    def write(path):
        first, *others = (Image.fromarray(part * np.uint8(255)) for part in parts)
        first.save(path, save_all=True, append_images=others)
        return path

    return write


def channels(path, first, second, kind=np.uint8):
    """Write two masks as two channels of one picture, neither of them opacity."""
    array = np.dstack([first, second]).astype(kind) * kind(255)
    return tiff(path, array, photometric="minisblack", planarconfig="contig", extrasamples=["unspecified"])


# Right: the lungs; several pages or channels need a sentence if not all of them are read.
TIFFS = {
    "two channels, left and right": (
        lambda path: channels(path, LEFT, RIGHT), "channels"
    ),
    "two channels, background and lungs": (
        lambda path: channels(path, BACKGROUND, BOTH), "channels"
    ),
    "two 16-bit channels, left and right": (
        lambda path: channels(path, LEFT, RIGHT, np.uint16), "channels"
    ),
    "two float channels, left and right": (
        lambda path: channels(path, LEFT, RIGHT, np.float32), "channels"
    ),
    "two pages, left and right": (pages(LEFT, RIGHT), "page"),
    "two pages, the first empty": (pages(LEFT & RIGHT, BOTH), "page"),
    "probabilities in percent, as floats": (lambda path: tiff(path, soft(BOTH) * np.float32(100)),),
    "16-bit probabilities": (lambda path: tiff(path, np.rint(soft(BOTH) * 65535).astype(np.uint16)),),
    "logits": (lambda path: tiff(path, ((soft(BOTH, 4) - 0.5) * 20).astype(np.float32)), "distances"),
    "labels of -1 and 1": (lambda path: tiff(path, np.where(BOTH, 1, -1).astype(np.int16)),),
    "labels of int8, -1 for lung": (lambda path: tiff(path, np.where(BOTH, -1, 0).astype(np.int8)), "below 0"),
    "LZW and differences": (lambda path: tiff(path, BOTH * np.uint8(255), compression="lzw", predictor=True),),
    "a border of no data, -9999": (lambda path: tiff(path, framed(-9999)),),
    "lungs as nan": (lambda path: tiff(path, np.where(BOTH, np.nan, 0).astype(np.float32)), "not numbers"),
    "a background of nan": (lambda path: tiff(path, np.where(BOTH, 1, np.nan).astype(np.float32)),),
}  # fmt: skip


def framed(value):
    mask = BOTH.astype(np.float32)
    mask[:4] = mask[-4:] = mask[:, :4] = mask[:, -4:] = value
    return mask


@cases("Mask as TIFF of {}.", TIFFS)
def tiffs(folder, kind):
    write, *words = kind
    return judge_mask(write(folder / "a.tif"), *words)


def four_bits(path):
    """Write a BMP of 4 bits a pixel whose first colour is white and lung."""
    row = BOTH[::-1].astype(np.uint8) ^ 1
    rows = (row[:, ::2] << 4 | row[:, 1::2]).tobytes()
    return bmp(path, (4, 0), rows, SIZE, bytes([255, 255, 255, 0]) + bytes(60))


def one_bit(path):
    return bmp(path, (1, 0), np.packbits(~BOTH[::-1], axis=1).tobytes(), SIZE, bytes([255, 255, 255, 0, 0, 0, 0, 0]))


def gif_of_two_frames(path):
    first, second = (Image.fromarray(part * np.uint8(255)) for part in (LEFT, RIGHT))
    first.save(path, save_all=True, append_images=[second])
    return path


def clear_gif(path):
    image = Image.fromarray(BOTH.astype(np.uint8), "P")
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.save(path, transparency=0)
    return path


# Right: the lungs; several frames need a sentence.
FILES = {
    "BMP of 4 bits, the first colour white": ("a.bmp", four_bits),
    "BMP of 1 bit, the first colour white": ("a.bmp", one_bit),
    "BMP with rows from the top": (
        "a.bmp", lambda path: bmp(path, (8, 0), (BOTH * np.uint8(255)).tobytes(), -SIZE, GREYS)
    ),
    "GIF of two frames, left and right": ("a.gif", gif_of_two_frames, "frame"),
    "GIF, black on transparent": ("a.gif", clear_gif),
    "PNG with a transparent grey of 0": ("a.png", lambda path: png(path, BOTH * np.uint8(255), (b"tRNS", b"\0\0"))),
    "PNG without a suffix": ("mask001", lambda path: save(path, BOTH, format="PNG"), "mask001", "end its name"),
}  # fmt: skip


@cases("Mask as {}.", FILES)
def files(folder, kind):
    name, write, *words = kind
    return judge_mask(write(folder / name), *words)


def with_outline(file, image, lungs):
    edge = lungs & ~ndimage.binary_erosion(lungs, None, 2)
    save(file, np.where(edge[..., None], np.array([255, 0, 0], np.uint8), image[..., None]))


def polygon_in_red(file, image, lungs):
    picture = Image.new("RGB", image.shape[::-1], "white")
    points = [tuple(map(int, point[::-1])) for point in np.argwhere(lungs & ~ndimage.binary_erosion(lungs))]
    ImageDraw.Draw(picture).point(points, "red")
    picture.save(file)


def red_lungs_of_a_film(file, image, lungs):
    save(file, np.where(lungs[..., None], np.array([255, 0, 0], np.uint8), image[..., None]))


def cut_from_film(file, image, lungs):
    save(file, np.where(lungs, image, 0).astype(np.uint8))


def clear_cut(file, image, lungs):
    save(file, np.dstack([*[image] * 3, lungs * np.uint8(255)]))


def double(file, image, lungs):
    save(file, np.kron(lungs, np.ones((2, 2), bool)))


def ignored_frame(file, image, lungs):
    mask = lungs.astype(np.uint8)
    mask[:3] = mask[-3:] = mask[:, :3] = mask[:, -3:] = 255
    save(file, mask)


def two_pages(file, image, lungs):
    left = lungs.copy()
    left[:, lungs.shape[1] // 2 :] = False
    file.unlink()
    pages(left, lungs & ~left)(file.with_suffix(".tif"))


def two_channels(file, image, lungs):
    left = lungs.copy()
    left[:, lungs.shape[1] // 2 :] = False
    file.unlink()
    channels(file.with_suffix(".tif"), left, lungs & ~left)


# Read as the lungs, or a finding that is an error or a warning.
SETS = {
    "films with a red outline": (with_outline, "not a mask"),
    "red outlines on white": (polygon_in_red, "outline", "covers"),
    "films with lungs of pure red": (red_lungs_of_a_film, "not a mask"),
    "lungs cut out of the film, on black": (cut_from_film, "not a mask"),
    "lungs cut out by opacity": (clear_cut, "not a mask"), "twice the size of the image": (double,),
    "framed by 255, to be ignored": (ignored_frame, "edge"),
    "two pages, left and right": (two_pages, "page"), "two channels, left and right": (two_channels, "channels"),
}  # fmt: skip


@cases("Data set whose masks are {}.", SETS)
def sets(folder, kind):
    change, *words = kind
    raw = write_set(folder)
    for file, (image, left, right) in zip(sorted((raw / "masks").iterdir()), phantoms(), strict=True):
        change(file, image, left | right)
    result = judge_set(raw)
    return result if result.verdict == "right" or not words else judge_check(raw, *words)


# Right: all pairs with the whole lungs; for masks that are not pictures, a sentence with the ending.
def as_run_lengths(raw):
    shutil.rmtree(raw / "masks")
    (raw / "train-rle.csv").write_text("ImageId,EncodedPixels\n001,1 5 20 7\n")


def as_xml(raw):
    for file in [*(raw / "masks").iterdir()]:
        file.with_suffix(".xml").write_text("<annotation/>")
        file.unlink()


def previews(raw):
    for file in [*(raw / "images").iterdir()]:
        Image.open(file).resize((32, 32)).save(file.with_name(f"{file.stem}_thumb.jpg"))


def other_format(raw):
    for file in [*(raw / "images").iterdir()]:
        Image.open(file).save(file.with_suffix(".tif"))


def network_storage(raw):
    for file in [*raw.rglob("*.png")]:
        place = file.parent / "@eaDir" / file.name
        place.mkdir(parents=True)
        Image.open(file).convert("L").resize((32, 32)).save(place / "SYNOPHOTO_THUMB_M.jpg")


def recycled(raw):
    for name in ("#recycle", "$RECYCLE.BIN", "RECYCLER", "System Volume Information", ".Trash-1000", "lost+found"):
        shutil.copytree(raw / "images", raw / name / "images")
        shutil.copytree(raw / "masks", raw / name / "masks")


def without_endings(raw):
    for file in [*raw.rglob("*.png")]:
        file.rename(file.with_suffix(""))


def unfinished(raw):
    for file in [*(raw / "images").iterdir()]:
        shutil.copy(file, file.with_name(file.name + ".crdownload"))
        shutil.copy(file, file.with_name(file.name + "~"))


def backup(raw):
    shutil.copytree(raw / "masks", raw / "masks_old")
    for file in (raw / "masks_old").iterdir():
        mask = np.array(Image.open(file).convert("L"))
        Image.fromarray(np.roll(mask, 3, 0)).save(file)


FOLDERS = {
    "run lengths in a table": (as_run_lengths, "csv"), "masks of XML": (as_xml, "xml"),
    "thumbnails beside the images": (previews,), "the images in two formats": (other_format, "taken"),
    "thumbnails of a network storage": (network_storage,), "bins of a network storage and of Windows": (recycled,),
    "files without endings": (without_endings, "ending"), "unfinished copies": (unfinished,),
    "an older version of the masks": (backup, "nearly the same", "masks_old"),
}  # fmt: skip


@cases("Folder with {}.", FOLDERS)
def folders(folder, kind):
    change, *words = kind
    raw = changed_set(folder, change)
    result = judge_set(raw)
    return result if result.verdict == "right" or not words else judge_check(raw, *words)


@case
def segmented_beside_thumbnails(folder):
    """Films to segment, with thumbnails of a network storage."""  # right: a row for each film, none for a thumbnail
    raw = write_set(folder)
    network_storage(raw)
    with out_folder() as out:
        table = segment_files(raw / "images", out, progress=False)
    return Result("right" if len(table) == COUNT else "wrong", f"{len(table)} rows")


@case
def two_endings(folder):
    """Masks with two endings, 001_mask.ome.png."""  # right: a sentence that names the nearest mask
    return judge_set(
        write_set(folder, "images/{:03}.png", "masks/{:03}_mask.ome.png"), "the nearest is masks/001_mask.ome"
    )


def patients(folder, rows, count, *words):
    """Prepare a data set with a table: right if it has so many patients, explained if an error has the words."""
    raw = write_set(folder)
    (folder / "patients.csv").write_text(rows, encoding="utf-8")
    try:
        settings = make_settings(str(raw), patient_file=str(folder / "patients.csv"))
        manifest = prepare_dataset(settings, progress=False)
    except ValueError as error:
        return explained_by(error, *words) if words else Result("wrong", str(error))
    found = sorted(manifest["patient"].unique())
    return Result("right" if len(found) == count and len(manifest) == COUNT else "wrong", str(found))


def pairs_of(ending):
    """Return a table of three patients, each with a second name that has an ending."""
    names = (name for patient in "ABC" for name in (patient, patient + ending))
    return "id,patient\n" + "".join(f"{number:03},{name}\n" for number, name in enumerate(names, 1))


# Right: three patients with two images each, or four of 6 with one and two; else a sentence.
TABLES = {
    "merged cells of a patient": ("id,patient\n001,A\n002,\n003,B\n004,\n005,C\n006,\n", 3, "patient is empty"),
    "a first line above merged columns": ("Study,,\nid,patient,sex\n001,P1,F\n002,P2,F\n", 2, "id and patient"),
    "patients as floats": ("id,patient\n001,1\n002,1.0\n003,2\n004,2.0\n005,3\n006,3.0\n", 3, "1.0"),
    "patients in small and capital letters": ("id,patient\n001,A\n002,a\n003,B\n004,b\n005,C\n006,c\n", 3, "a"),
    "patients with blanks that do not break": (pairs_of("\u00a0"), 3),
    "patients with invisible characters": (pairs_of("\u200b"), 3),
    "two blanks inside a patient": ("id,patient\n001,A 1\n002,A  1\n003,B 1\n004,B  1\n005,C 1\n006,C  1\n", 3),
    "a row of totals": ("id,patient\n" + ROWS + "Total,6\n", 6),
    "names of masks": ("id,patient\n" + "".join(f"{n:03}_mask.png,P{n}\n" for n in range(1, 7)), 6, "patients.csv"),
    "numbers of thousands": ("id,patient\n" + "".join(f'{n:03},"1,{n:03}"\n' for n in range(1, 7)), 6),
}  # fmt: skip


@cases("A table of patients: {}.", TABLES)
def tables(folder, kind):
    return patients(folder, *kind)


@case
def pixel_size_with_a_comma(folder):
    """A table of patients with pixels of 0,175 mm in quotation marks."""  # 0.175 mm, or a sentence
    rows = "id,patient,pixel_mm\n" + "".join(f'{n:03},P{n},"0,175"\n' for n in range(1, 7))
    return patients(folder, rows, -1, "pixel_mm")
