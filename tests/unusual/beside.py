"""Pictures that programs made beside images, files of other formats, and numbers that writers get wrong."""

import shutil
import warnings

import nibabel
import numpy as np
from PIL import Image
from scipy import ndimage

from lungnb.datasets.check import check_dataset
from lungnb.datasets.prepare import prepare_dataset
from lungnb.formats.images import read_mask, write_png
from lungnb.phantoms.make import make_phantom
from lungnb.presets import make_settings
from lungnb.segmentation.batch import segment_files
from lungnb.segmentation.predict import segment
from unusual import MIN_DICE, SIZE, Result, case, cases, ct_slice, dice, explained_by, film, judge
from unusual.dicoms import DX, dicom
from unusual.exports import save
from unusual.sets import COUNT, phantoms, write_set

CT = "1.2.840.10008.5.1.4.1.1.2"
AFFINE = np.diag([-1.4, -1.4, 5.0, 1.0])
HALF = SIZE / 2 - 0.5
OUTSIDE = np.hypot(*np.indices((SIZE, SIZE)) - HALF) > SIZE / 2

NNUNET = {"image_name": "imagesTr/{:03}_0000.png", "mask_name": "labelsTr/{:03}.png"}
# The folder of what was made, whether masks or images were made, and how images and masks are called. The images lack
# an exact partner, and must not lose their masks to what was made.
MADE = {
    "predictionsTr beside nnU-Net's imagesTr": ("predictionsTr/{:03}.png", "mask", NNUNET),
    "inferTr beside nnU-Net's imagesTr": ("inferTr/{:03}.png", "mask", NNUNET),
    "predictions named like masks, not like images": ("preds/{:03}.png", "mask",
        {"image_name": "images/img_{:03}.png"}),
    "predictions of a network beside CXR_png": ("pred/unet/{:03}.png", "mask", {"image_name": "CXR_png/cxr_{:03}.png"}),
    "thumbs of other names": ("thumbs/{:03}.png", "image",
        {"image_name": "images/x{:03}.png", "mask_name": "masks/x{:03}.png"}),
}  # fmt: skip


@cases("A data set with {}.", MADE)
def made(folder, kind):
    name, what, options = kind
    raw = write_set(folder, **options)
    for number, (image, left, right) in enumerate(phantoms(), 1):
        file = raw / name.format(number)
        file.parent.mkdir(parents=True, exist_ok=True)
        save(file, image // 2 if what == "image" else 255 * np.uint8(left | right))
    settings = make_settings(str(raw))
    manifest = prepare_dataset(settings, progress=False)
    images = options.get("image_name", "images/").split("/")[0]
    is_right = len(manifest) == COUNT and all(row.startswith(f"{images}/") for row in manifest["source_image"])
    return Result("right" if is_right else "wrong", f"{len(manifest)} pairs: {manifest['source_image'].tolist()}")


@case
def other_channel(folder):
    """nnU-Net's second channel, in check."""
    raw = write_set(folder, **NNUNET)
    for file in [*(raw / "imagesTr").iterdir()]:
        shutil.copy(file, str(file).replace("_0000", "_0001"))
    findings = check_dataset(make_settings(str(raw)), progress=False)
    named = findings[findings["file"].str.contains("_0001")]
    is_said = len(named) == COUNT and {*named["severity"]} == {"note"} and "channel" in named["what"].iloc[0]
    return Result("explained" if is_said else "wrong", named.to_string())


def volume(folder, array, affine=AFFINE):
    file = folder / "volume.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.stack([array] * 4).transpose(), affine), file)
    return file


def in_unit(factor):
    return lambda folder: volume(folder, ct_slice(), AFFINE @ np.diag([factor, factor, factor, 1]))


def film_in_cm(folder):
    dicom(folder / "film.dcm", np.uint16(film()) * 16, DX, ImagerPixelSpacing=[0.14, 0.14])
    return folder / "film.dcm"


def film_of(spacing_mm):
    def write(folder):
        dicom(folder / "film.dcm", np.uint16(film()) * 16, DX, PixelSpacing=[spacing_mm] * 2)
        return folder / "film.dcm"

    return write


def without_sizes(folder):
    image = nibabel.Nifti1Image(np.stack([ct_slice()] * 4).transpose(), AFFINE)
    image.set_sform(AFFINE, 0)
    image.set_qform(AFFINE, 1)
    content = bytearray(image.to_bytes())
    content[80:92] = bytes(12)  # pixdim 1 to 3
    (folder / "volume.nii").write_bytes(content)
    return folder / "volume.nii"


SIZES = {
    "a volume in cm": (in_unit(0.1), "cm or m"), "a volume in m": (in_unit(0.001), "cm or m"),
    "a film in cm": (film_in_cm, "cm or m"), "a film in m": (film_of(0.00014), "is impossible"),
    "a film of 0": (film_of(0), "is impossible"), "a volume without sizes, but a qform": (without_sizes, "pixdim"),
}  # fmt: skip


@cases("Pixel sizes of {}.", SIZES)
def sizes(folder, kind):
    write, word = kind
    file = write(folder)
    note = segment_files(file, folder / "out", progress=False).get("note", [""])[0]
    result = judge(file, "film" if file.suffix == ".dcm" else "ct")
    is_said = result.verdict == "right" and word in str(note)
    return Result("explained" if is_said else "wrong", f"{result.said} {note}")


def barred(array, rows, columns, grey):
    return np.pad(array, ((rows, rows), (columns, columns)), constant_values=grey)


BARS = {
    "black at both sides": (0, 300, 0), "white at both sides": (0, 300, 255), "black above and below": (300, 0, 0),
    "grey above and below": (300, 0, 128), "white all around": (200, 200, 255),
}  # fmt: skip


@cases("A film with broad bars, {}.", BARS)
def bars(folder, kind):
    rows, columns, grey = kind
    write_png(folder / "film.png", barred(film(), rows, columns, grey))
    return judge(folder / "film.png", "film", "crop the picture")


@case
def narrow_bars(folder):
    """A film with bars that are half as broad as it."""  # an innocent one
    write_png(folder / "film.png", barred(film(), 0, SIZE // 4, 0))
    note = str(segment_files(folder / "film.png", folder / "out", progress=False).get("note", [""])[0])
    return Result("wrong" if "crop" in note else "right", note)


def tiff(folder, array):
    Image.fromarray(array).save(folder / "slice.tif")
    return folder / "slice.tif"


def slice_dicom(folder, array):
    dicom(folder / "slice.dcm", array, CT, Modality="CT", RescaleIntercept=0, RescaleSlope=1)
    return folder / "slice.dcm"


def fat_patient():
    return np.rint(make_phantom(0, kind="ct", size=SIZE).image).astype(np.int16)


def filled(value):
    return np.where(OUTSIDE, value, fat_patient()).astype(np.int16)


FILLS = {
    "0 as TIFF": lambda folder: tiff(folder, filled(0)), "-100 as TIFF": lambda folder: tiff(folder, filled(-100)),
    "0 as DICOM": lambda folder: slice_dicom(folder, filled(0)), "0 as NIfTI": lambda folder: volume(folder, filled(0)),
}  # fmt: skip


@cases("CT whose outside of the scanner's circle is {}.", FILLS)
def fills(folder, write):
    mask, reference = segment(write(folder)).mask, segment(fat_patient()).mask
    found = dice(mask[1] if mask.ndim == 3 else mask, reference)
    return Result("right" if found > MIN_DICE else "wrong", f"{found:.3f}")


@case
def fill_of_a_volume(folder):
    """The fill of a volume is air in another window, and noted once."""
    file, window = volume(folder, filled(0)), (-1350, 150)
    found = dice(segment(file, window=window).mask[1], segment(fat_patient(), window=window).mask)
    note = str(segment_files(file, folder / "out", progress=False)["note"][0])
    is_right = found > MIN_DICE and note.count("which fill the corners") == 1
    return Result("explained" if is_right else "wrong", f"{found:.3f} {note}")


@case
def bars_of_ct(folder):
    """A slice of CT with broad bars of air."""
    return judge(tiff(folder, barred(ct_slice(), 0, 300, -1000)), "ct", "crop the picture")


UNSIGNED = {
    "PNG": lambda folder: png_of(folder, ct_slice().astype(np.uint16)),
    "TIFF of 32 bits": lambda folder: tiff(folder, ct_slice().astype(np.uint16).astype(np.int32)),
    "DICOM": lambda folder: slice_dicom(folder, ct_slice().astype(np.uint16)),
    "NIfTI": lambda folder: volume(folder, ct_slice().astype(np.uint16)),
}


def png_of(folder, array):
    Image.fromarray(array).save(folder / "picture.png")
    return folder / "picture.png"


@cases("CT without its sign as {}.", UNSIGNED)
def unsigned(folder, write):
    return judge(write(folder), "ct")


@case
def negative_cut(folder):
    """CT as DICOM whose negative values were cut off."""
    return judge(slice_dicom(folder, np.uint16(ct_slice().clip(0))), "ct", "below 0 HU")


INVERTED = {"16": 257, "12 of 16": 16}


@cases("An inverted film of {} bits, and no CT.", INVERTED)
def inverted(folder, factor):
    array = 65535 - np.uint16(film()) * factor
    array[:, :20] = np.random.default_rng(0).integers(0, 3, (SIZE, 20))
    file = png_of(folder, array)
    note = str(segment_files(file, folder / "out", progress=False)["note"][0])
    return Result("wrong" if "without sign" in note or "inverted" not in note else "right", note)


@cases("Two films of one name in folders whose names have {} letters.", {"200": 200, "251": 251})
def long_folders(folder, letters):
    files = [folder / (letter * letters) / "a.png" for letter in "xy"]
    for file in files:
        file.parent.mkdir()
        write_png(file, film())
    return judge(files, "film", rows=2)


@case
def long_set(folder):
    """A data set in a folder whose name has 250 letters."""
    raw = write_set(folder).rename(folder / ("s" * 250))
    try:
        prepare_dataset(make_settings(str(raw)), progress=False)
    except OSError as error:
        return explained_by(error, "too long; shorten it")
    return Result("right")


@case
def corrected(folder):
    """A corrected mask that is kept, and the overlay of lungnb's own mask."""
    write_png(folder / "film.png", film())
    segment_files(folder / "film.png", folder / "out", progress=False, overlays=True)
    write_png(folder / "out" / "film_mask.png", np.zeros((SIZE, SIZE), bool))
    note = segment_files(folder / "film.png", folder / "out", progress=False, overlays=True)["note"][0]
    is_kept = not read_mask(folder / "out" / "film_mask.png").any()
    return Result("explained" if is_kept and "overlay and SEG are of" in note else "wrong", note)


OTHERS = {
    "WebP": ("b.webp", b"RIFF\0\0\0\0WEBP"), "MetaImage": ("b.mha", b"ObjectType = Image"),
    "PNG without an ending": ("b", b"\x89PNG\r\n\x1a\n"),
}  # fmt: skip


@cases("One file of another format in a folder of films: {}.", OTHERS)
def unread(folder, kind):
    name, content = kind
    (folder / "films").mkdir()
    write_png(folder / "films" / "a.png", film())
    (folder / "films" / name).write_bytes(content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = judge(folder / "films", "film")
    said = " ".join(str(warning.message) for warning in caught)
    is_said = f"1 file, such as {name}. Convert" in said and result.verdict == "right"
    return Result("explained" if is_said else "wrong", said)


@case
def converted_beside(folder):
    """Films that lie there as PNG and as arrays of NumPy, and other arrays."""  # innocent ones
    write_png(folder / "a.png", film())
    np.save(folder / "a.npy", film())
    np.save(folder / "features.npy", film())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = judge(folder / "a.png", "film")
        segment_files(folder, folder / "out", progress=False)
    said = " ".join(str(warning.message) for warning in caught)
    return result if "Convert" not in said else Result("wrong", said)


PATIENTS = {"used as table of patients, too": True, "not used as table of patients": False}


@cases("A table of splits that has patients, {}.", PATIENTS)
def split_with_patients(folder, is_used):
    raw, file = write_set(folder), str(folder / "splits.csv")
    splits = ("train", "test", "train", "validation", "train", "train")
    rows = [f"{n:03},{split},P{(n + 1) // 2}" for n, split in enumerate(splits, 1)]
    (folder / "splits.csv").write_text("\n".join(["id,split,patient", *rows]))
    settings = make_settings(str(raw), split_file=file, patient_file=file if is_used else None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        said = "; ".join(check_dataset(settings, progress=False)["what"])
    warned = " ".join(str(warning.message) for warning in caught)
    is_said = ("P1 has images in the splits train and test" in said) == is_used and "P3 has" not in said
    return Result("explained" if is_said and ("is not used" in warned) != is_used else "wrong", f"{said} {warned}")


@case
def advice_for_bars(folder):
    """What check advises for one film with broad bars among others."""
    raw = write_set(folder)
    for kind in ("images", "masks"):
        file = raw / kind / "003.png"
        save(file, barred(np.asarray(Image.open(file)), 0, 150, 0))
    findings = check_dataset(make_settings(str(raw)), progress=False)
    named = findings[findings["what"].str.contains("crop")]
    is_said = named["file"].tolist() == ["images/003.png"] and "none needed" not in named["advice"].iloc[0]
    return Result("explained" if is_said else "wrong", findings.to_string())


@case
def flat_nifti(folder):
    """A NIfTI file of 2 dimensions whose third pixdim is 0."""  # an innocent one
    content = bytearray(nibabel.Nifti1Image(ct_slice().T, np.diag([-1.4, -1.4, 1, 1])).to_bytes())
    content[88:92], content[252:256] = bytes(4), bytes([1, 0, 0, 0])  # pixdim 3; only a qform
    (folder / "slice.nii").write_bytes(content)
    result = judge(folder / "slice.nii", "ct")
    return result if "pixdim" not in result.said else Result("wrong", result.said)


@case
def impossible_sizes(folder):
    """What check advises for films with impossible pixel sizes, and for a film of a mouse."""
    raw = write_set(folder)
    for number, (image, _, _) in enumerate(phantoms(), 1):
        (raw / "images" / f"{number:03}.png").unlink()
        spacing = [0.07, 0.07] if number == 1 else [0, 0]
        dicom(raw / "images" / f"{number:03}.dcm", np.uint16(image) * 16, DX, PixelSpacing=spacing)
    findings = check_dataset(make_settings(str(raw)), progress=False)
    named = findings[findings["what"].str.contains("impossible|chest of a person")]
    is_said = len(named) == COUNT and {*named["severity"]} == {"note"} and named["advice"].str.contains("correct").all()
    return Result("explained" if is_said else "wrong", findings.to_string())


@case
def dicom_as_nifti(folder):
    """A DICOM file called .nii.gz."""
    return judge(slice_dicom(folder, ct_slice()).rename(folder / "slice.nii.gz"), "ct", "holds a DICOM file")


@case
def metaimage(folder):
    """A MetaImage volume, named by itself."""
    (folder / "a.mha").write_bytes(b"ObjectType = Image")
    return judge(folder / "a.mha", "ct", "Convert it to NIfTI")


@case
def soft_borders(folder):
    """Masks with borders of 8 grey pixels keep their lungs."""
    raw = write_set(folder)
    for file, (_, left, right) in zip(sorted((raw / "masks").iterdir()), phantoms(), strict=True):
        save(file, np.uint8(255 * ndimage.gaussian_filter((left | right).astype(float), 1)))
    findings = check_dataset(make_settings(str(raw)), progress=False)
    named = findings[findings["what"].str.contains("soft borders")]
    is_said = len(named) == COUNT and not findings["advice"].str.contains("images/ and masks").any()
    return Result("explained" if is_said else "wrong", findings.to_string())


@case
def body_on_0(folder):
    """CT of which everything outside the body is 0."""
    regions, _ = ndimage.label(ct_slice() > -400)
    body = ndimage.binary_fill_holes(regions == np.bincount(regions.ravel())[1:].argmax() + 1)
    found = dice(segment(np.where(body, ct_slice(), 0).astype(np.int16)).mask, segment(ct_slice()).mask)
    return Result("right" if found > 0.97 else "wrong", f"{found:.3f}")
