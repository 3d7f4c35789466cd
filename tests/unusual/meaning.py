"""Files and data sets that are not what they seem: other formats, filled corners, other masks, torn patients."""

import gzip
from io import BytesIO

import numpy as np
from PIL import Image
from scipy import ndimage

from lungnb.datasets.check import check_dataset
from lungnb.evaluation.mismatch import find_mismatches
from lungnb.presets import make_settings
from lungnb.segmentation.predict import segment
from unusual import SIZE, Result, case, cases, ct_slice, explained_by, film, judge
from unusual.dicoms import DX, dicom, series
from unusual.exports import resave, save
from unusual.hospitals import judge_words
from unusual.pictures import tiff
from unusual.published import films, write_layout
from unusual.sets import SIZE as SET_SIZE
from unusual.sets import changed_set, judge_set, write_set

CORNERS = np.hypot(*np.mgrid[-SIZE // 2 : SIZE // 2, -SIZE // 2 : SIZE // 2]) > 0.49 * SIZE
PNG = (b"\x89PNG\r\n\x1a\n" + bytes(300), "PNG picture", "End its name with .png")
# What a file holds, what the sentence calls it, and what it says to do
CONTENTS = {
    "a web page": (b"<!DOCTYPE html><html>Sign in</html>", "web page", "Download"),
    "a pointer of Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS", "git lfs pull"),
    "an archive": (b"PK\x03\x04" + bytes(300), "archive", "Unpack"),
    "a bzip2 file": (b"BZh91AY&SY" + bytes(300), "archive", "Unpack"),
    "an NRRD volume": (b"NRRD0004\ntype: short\n", "NRRD", "Convert it to NIfTI"),
    "a HEIC picture": (b"\0\0\0\x18ftypheic" + bytes(300), "HEIC", "Convert it to PNG"),
    "zeros": (bytes(5000), "zeros", "Copy it again"),
}
KINDS = {
    f"{what} called {name}": (name, *content)
    for name in ("a.png", "a.nii.gz", "a.dcm") for what, content in CONTENTS.items()
} | {"PNG called a.dcm": ("a.dcm", *PNG), "PNG called a.nii.gz": ("a.nii.gz", *PNG)}  # fmt: skip


def start_of(name):
    """Return the first half of a film in the format of this name."""
    stream = BytesIO()
    Image.fromarray(film()).save(stream, name)
    return stream.getvalue()[: stream.tell() // 2]


KINDS |= {
    f"{name} called a.dcm": ("a.dcm", start_of(name), f"{name} picture", f"End its name with {suffix}")
    for name, suffix in (("GIF", ".gif"), ("BMP", ".bmp"), ("TIFF", ".tif"))
}


@cases("A file that holds {}.", KINDS)
def other_contents(folder, kind):
    name, content, *words = kind
    (folder / name).write_bytes(content)
    return judge_words(folder / name, *words)


# Right: the mask of the ordinary slice.
FILLED = {
    "a fill of 1e20": lambda path: tiff(path, np.where(CORNERS, 1e20, ct_slice()).astype(np.float32)),
    "a fill of 9999": lambda path: tiff(path, np.where(CORNERS, 9999, ct_slice()).astype(np.int16)),
    "infinite corners": lambda path: tiff(path, np.where(CORNERS, np.inf, ct_slice()).astype(np.float32)),
    "a fill of -9999": lambda path: tiff(path, np.where(CORNERS, -9999, ct_slice()).astype(np.int16)),
}


@cases("CT as TIFF with {}.", FILLED)
def filled(folder, write):
    write(folder / "a.tif")
    return judge(folder / "a.tif", "ct")


@case
def low_contrast(folder):
    """A film whose greys run from 200 to 231."""
    save(folder / "a.png", film() // 8 + np.uint8(200))
    return judge_words(folder / "a.png", "hardly any contrast", "200 to 231")


# A sentence that names the cause and the remedy.
def one_without_units(folder):
    series(folder)
    return dicom(folder / "IM003.dcm", ct_slice(), number=3, z=10, RescaleIntercept=None, RescaleSlope=None).parent


def without_places(folder):
    series(folder)
    for file in folder.iterdir():
        dicom(file, ct_slice(), number=int(file.stem[2:]), SliceLocation=5)
    return folder


HEADERS = {
    "a slice in other units": (one_without_units, "a slice is missing", "left out: IM003.dcm (not CT in Hounsfield"),
    "no positions": (without_places, "ImagePositionPatient", "Export it again with its whole header"),
    "a part of the body": (lambda folder: series(folder, BodyPartExamined="HEAD"), "not of a chest by its header"),
}


@cases("A series with {}.", HEADERS)
def headers(folder, kind):
    write, *words = kind
    write(folder / "ct")
    return judge_words(folder / "ct", *words)


FILMS = {
    "an unknown PhotometricInterpretation": (b"MONOCHROME2 ", b"MONOCHROME 2", "PhotometricInterpretation"),
    "an unknown transfer syntax": (b"1.2.840.10008.1.2.1\0", b"1.2.840.113619.5.2\0\0", "TransferSyntaxUID"),
}


@cases("A DICOM film with {}.", FILMS)
def film_headers(folder, kind):
    old, new, word = kind
    path = dicom(folder / "a.dcm", film(), DX)
    path.write_bytes(path.read_bytes().replace(old, new))
    return judge_words(path, word, "Export it again")


def judge_notes(raw, word, severity, **settings):
    """Check a data set: explained if just findings of this severity have the word, and there are no other errors."""
    found = check_dataset(make_settings(str(raw), **settings), progress=False)
    found = found[~found["what"].str.contains("in the (?:test|validation) split")]
    named = found[found["what"].str.contains(word, regex=False)]
    others = found.drop(named.index)["severity"]
    is_said = len(named) and set(named["severity"]) == {severity} and not (others == "error").any()
    return Result("explained" if is_said else "wrong", "; ".join(found["what"].unique()))


def softened(file, left, right):
    save(file, np.uint8(255 * ndimage.gaussian_filter((left | right).astype(float), 2)))


def outlined(file, left, right):
    save(file, (left | right) & ~ndimage.binary_erosion(left | right))


def ringed(file, *_):
    radius = np.hypot(*np.indices((SET_SIZE, SET_SIZE)) - SET_SIZE / 2) / SET_SIZE
    save(file, (radius > 0.3) & (radius < 0.47))


MASKS = {
    "soft edges": (softened, "soft borders", "warning"),
    "outlines only": (outlined, "an outline", "warning"),
    "air around a body": (ringed, "has a hole of", "warning"),
}


@cases("Masks with {}.", MASKS)
def masks(folder, kind):
    change, *expected = kind
    return judge_notes(changed_set(folder, lambda raw: resave(raw / "masks", change)), *expected)


def judge_mismatches(raw, word):
    """Compare masks with those of the network: explained if a finding has the word."""
    settings = make_settings(str(raw))
    check_dataset(settings, progress=False)
    said = "; ".join(find_mismatches(settings, progress=False)["what"])
    return Result("explained" if word in said else "wrong", said)


# Each image has the mask of the next one, or all have the mask of the first.
@cases(
    "Masks of {}.",
    {"the next image": (1, "paired by their order"), "one image": (0, "12 images have only 1 different mask")},
)
def other_masks(folder, kind):
    step, word = kind
    write_layout(folder / "set", lambda n: (f"images/{n:02}.png", f"masks/{n:02}.png", n))
    for number in range(12):
        _, mask = films()[(number + 1) % 12 if step else 0]
        save(folder / "set" / f"masks/{number:02}.png", mask * np.uint8(255))
    return judge_mismatches(folder / "set", word)


TABLES = {
    "groups": ("group", "TB", "N", "note", "has the groups N and TB"),
    "sexes": ("sex", "female", "m", "warning", "has the sexes F and M"),
}


@cases("A table in which a patient has two {}.", TABLES)
def torn_patients(folder, kind):
    column, one, other, severity, words = kind
    raw = write_set(folder)
    rows = [f"{number:03},P{number // 2},{one if number == 3 else other}" for number in range(1, 7)]
    (folder / "p.csv").write_text("\n".join([f"id,patient,{column}", *rows]))
    return judge_notes(raw, words, severity, patient_file=str(folder / "p.csv"))


@case
def one_large_patient(folder):
    """A set in which one patient has nearly all images."""
    for number, (image, mask) in enumerate(films()):
        name = f"{max(number - 8, 0)}_{number}.png"
        save(folder / "set/images" / name, image)
        save(folder / "set/masks" / name, mask * np.uint8(255))
    return judge_notes(folder / "set", "has 9 of 12 images", "warning", patient_pattern="(.)_")


@case
def masks_of_two_readers(folder):
    """Masks of two readers, p1_reader1 and p1_reader2."""
    raw = write_set(folder, "images/p{}.png", "masks/p{}_reader1.png")
    for file in [*(raw / "masks").iterdir()]:
        Image.open(file).save(file.with_name(file.name.replace("reader1", "reader2")))
    return judge_set(raw, "no mask of this name (the nearest is masks/p1_reader")


@case
def network_of_nan(folder):
    """A network whose training failed, so that its weights are not numbers."""
    import keras

    image = keras.Input((64, 64, 1))
    model = keras.Model(image, keras.layers.Conv2D(1, 1, activation="sigmoid")(image))
    model.set_weights([np.full_like(weights, np.nan) for weights in model.get_weights()])
    model.save(folder / "a.keras")
    try:
        segment(film(), folder / "a.keras", engine="keras")
    except ValueError as error:
        return explained_by(error, "not numbers (NaN)", "Train it again")
    return Result("wrong")


@case
def packed_twice(folder):
    """A PNG that was compressed with gzip and kept its name."""
    save(folder / "b.png", film())
    (folder / "a.png").write_bytes(gzip.compress((folder / "b.png").read_bytes()))
    return judge_words(folder / "a.png", "compressed", "Unpack it")
