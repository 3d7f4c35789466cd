"""Mask files: odd values, colours, turns, and files of other programs."""

import numpy as np
from PIL import Image
from scipy import ndimage

from lungnb.evaluation.external import score_folders
from lungnb.formats.images import read_mask
from lungnb.phantoms.make import make_phantom
from unusual import Result, case, cases, dice, explained_by
from unusual.pictures import tiff
from unusual.sets import COUNT, phantoms, write_set

SIZE = 256
MIN_MASK_DICE = 0.97  # of a mask whose edges were blurred or compressed


def lungs():
    """Return both lungs of a film, viewer's left and right."""
    mask = make_phantom(3, size=SIZE).mask
    left = mask.copy()
    left[:, SIZE // 2 :] = False
    return left, mask & ~left


LEFT, RIGHT = lungs()
BOTH = LEFT | RIGHT


def judge_mask(path, *words, truth=BOTH):
    """Read a mask file: right if it shows the lungs, explained if an error has the words."""
    try:
        mask = read_mask(path)
    except ValueError as error:
        return explained_by(error, *words) if words else Result("wrong", str(error))
    score = dice(mask, truth)
    return Result("right" if score >= MIN_MASK_DICE else "wrong", f"Dice {score:.3f}")


def labelled(left, right, kind=np.uint8):
    """Return a map of two labels."""
    return (LEFT * left + RIGHT * right).astype(kind)


def save(path, array, **options):
    """Save an array as an image file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


PAIRS = {f"{left} and {right}": (left, right) for left, right in ((1, 200), (1, 255), (10, 255), (100, 200), (1, 2))}


@cases("Mask of the labels {}, made smaller by interpolation.", PAIRS)
def interpolated(folder, labels):
    small = Image.fromarray(labelled(*labels)).resize((160, 160), Image.Resampling.BILINEAR)
    truth = np.asarray(Image.fromarray(BOTH).resize((160, 160), Image.Resampling.NEAREST))
    return judge_mask(save(folder / "a.png", np.asarray(small)), "interpolation", truth=truth)


@case
def soft_with_a_dark_grey_background(folder):
    """Soft mask whose background is 1 and whose border is 0."""
    soft = ndimage.gaussian_filter(BOTH * 255.0, 1.0).clip(1).astype(np.uint8)
    soft[:20] = soft[-20:] = 0
    return judge_mask(save(folder / "a.png", soft))


def distances():
    """Return the signed distance from the edge of the lungs, px: positive inside."""
    return ndimage.distance_transform_edt(BOTH) - ndimage.distance_transform_edt(~BOTH)


MAPS = {
    "float32": lambda: distances().astype(np.float32), "int16": lambda: np.rint(distances()).astype(np.int16),
    "float32, -1 to 1": lambda: (distances() / 100).astype(np.float32),
    "float32, at most 3": lambda: distances().clip(-3, 3).astype(np.float32),
}  # fmt: skip


@cases("Map of signed distances as TIFF of {}.", MAPS)
def signed_distances(folder, make):
    return judge_mask(tiff(folder / "a.tif", make()), "distances")


@case
def ignored_border(folder):
    """Mask whose border is -1, to be ignored."""
    mask = BOTH.astype(np.float32)
    mask[:4] = mask[-4:] = mask[:, :4] = mask[:, -4:] = -1
    return judge_mask(tiff(folder / "a.tif", mask))


@cases("JPEG masks of the labels {}.", {"2 and 3": (2, 3), "1": (1, 1)})
def small_labels_as_jpeg(folder, labels):
    from lungnb.datasets.check import check_dataset
    from lungnb.presets import make_settings

    raw = write_set(folder, mask_name="masks/{:03}.jpg", left=labels[0], right=labels[1])
    said = check_dataset(make_settings(str(raw)), progress=False)["what"]
    return Result("explained" if said.str.contains("JPEG").sum() == COUNT else "wrong", "; ".join(said.unique()))


@case
def red_on_white_in_a_frame(folder):
    """Mask drawn in red on white, with a black frame."""
    picture = np.full((SIZE, SIZE, 3), 255, np.uint8)
    picture[BOTH] = (255, 0, 0)
    picture[:3] = picture[-3:] = picture[:, :3] = picture[:, -3:] = 0
    return judge_mask(save(folder / "a.png", picture))


@case
def white_and_red_on_black(folder):
    """Mask with one lung white and one red, on black."""
    return judge_mask(
        save(folder / "a.png", np.array([(0, 0, 0), (255, 255, 255), (255, 0, 0)], np.uint8)[labelled(1, 2)])
    )


KINDS = ("u1", "u2", "u4", "i4", "f4", "u8")


@cases("TIFF mask of 0 and 1, type {}, whose header says that 0 is white.", dict(zip(KINDS, KINDS, strict=True)))
def white_zero(folder, kind):
    return judge_mask(tiff(folder / "a.tif", BOTH.astype(kind), photometric="miniswhite"))


@cases("TIFF mask of type {} whose 0 is white and lung.", {"u1": "u1", "u2": "u2"})
def black_top(folder, kind):
    return judge_mask(tiff(folder / "a.tif", (~BOTH * np.iinfo(kind).max).astype(kind), photometric="miniswhite"))


def judge_scored(folder, change, *words):
    """Score changed masks against the ground truth: explained if a problem has the words."""
    for number, (_, left, right) in enumerate(phantoms(), 1):
        save(folder / "truth" / f"{number:03}.png", left | right)
        save(folder / "masks" / f"{number:03}.png", np.ascontiguousarray(change(left | right)))
    scoring = score_folders(folder / "truth", [folder / "masks"], progress=False)
    said = " ".join(scoring.problems["problem"])
    is_said = bool(words) and all(word in said for word in words)
    return Result(("explained" if is_said else "wrong") if words else "wrong" if said else "right", said)


MIRRORED = {"left to right": np.fliplr, "top to bottom": np.flipud, "by half a turn": lambda mask: mask[::-1, ::-1]}


@cases("Scored masks that are mirrored {}.", MIRRORED)
def mirrored(folder, change):
    return judge_scored(folder, change, "seem to be", "orientation")


@case
def shifted(folder):
    """Scored masks that are shifted, not mirrored."""
    return judge_scored(folder, lambda mask: np.roll(mask, 6, axis=1))


def judge_turned(folder, orientation, of_image, of_mask, height=SIZE):
    """Prepare films that are stored turned, with EXIF data of the image, of the mask, or of both."""
    from lungnb.datasets.check import check_dataset
    from lungnb.presets import make_settings

    raw = folder / "set"
    back = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for number, (image, left, right) in enumerate(phantoms(), 1):
        for name, array, has_exif in (("images", image, of_image), ("masks", left | right, of_mask)):
            (raw / name).mkdir(parents=True, exist_ok=True)
            stored = Image.fromarray(array[:-10]).transpose(back)
            stored.save(raw / name / f"{number:03}.png", **({"exif": exif} if has_exif else {}))
    findings = check_dataset(make_settings(str(raw)), progress=False)
    said = "; ".join(findings.loc[findings["severity"] != "note", "what"].unique())
    if "EXIF data turn" in said:
        return Result("explained", said)
    settings = make_settings(str(raw))
    rows = [*settings.prepared.rglob("masks/001.png")]
    _, left, right = next(phantoms())
    truth = (left | right)[:-10]
    truth = truth if of_image else np.asarray(Image.fromarray(truth).transpose(back))
    return Result("right" if rows and dice(read_mask(rows[0]), truth) > 0.99 else "wrong", said)


TURNS = {
    f"{'image' if of_image else 'mask'} alone, {'half' if orientation == 3 else 'a quarter of'} a turn": (
        orientation,
        of_image,
    )
    for orientation in (3, 6)
    for of_image in (True, False)
}


@cases("EXIF data of the {}.", TURNS)
def turned_alone(folder, turn):
    orientation, of_image = turn
    return judge_turned(folder, orientation, of_image, not of_image)
