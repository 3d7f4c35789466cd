"""Data sets: layouts, names, label masks, tables."""

import nibabel
import numpy as np
from PIL import Image

from lungnb.datasets.check import check_dataset
from lungnb.datasets.prepare import prepare_dataset
from lungnb.evaluation.external import score_folders
from lungnb.formats.images import read_mask, write_png
from lungnb.phantoms.make import make_phantom
from lungnb.presets import make_settings
from unusual import Result, case, cases, explained_by
from unusual.dicoms import dicom

COUNT, SIZE = 6, 96
ROWS = "".join(f"{n:03},P{n}\n" for n in range(1, COUNT + 1))  # of a table with the columns id and patient
AFFINE = np.diag([-1.4, -1.4, 5.0, 1.0])


def phantoms():
    """Yield small films with the masks of both lungs (viewer's left and right)."""
    for number in range(COUNT):
        phantom = make_phantom(number, size=SIZE)
        left = phantom.mask.copy()
        left[:, SIZE // 2 :] = False
        yield phantom.image, left, phantom.mask & ~left


def write_set(folder, image_name="images/{:03}.png", mask_name="masks/{:03}.png", left=255, right=255):
    """Write a data set with these values of the lungs and these names."""
    for number, (image, of_left, of_right) in enumerate(phantoms(), 1):
        mask = of_left * np.uint8(left) + of_right * np.uint8(right)
        for name, array in ((image_name, image), (mask_name, mask)):
            file = folder / "set" / name.format(number)
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(file, "JPEG" if file.suffix.lower() == ".jpg" else "PNG")
    return folder / "set"


def judge_folders(folder, count, *words):
    """Score a folder: right if all masks have a Dice of about 1, explained if a problem or an error has the words."""
    try:
        scoring = score_folders(folder / "truth", [folder / "masks"], progress=False)
    except ValueError as error:
        return explained_by(error, *words) if words else Result("wrong", str(error))
    said = " ".join(scoring.problems["problem"])
    if words and all(word in said for word in words):
        return Result("explained", said)
    is_right = len(scoring.table) == count and scoring.table["dice"].min() > 0.97
    return Result("right" if is_right and not words else "wrong", said)


def changed_set(folder, change):
    """Write a data set and change it; return it."""
    raw = write_set(folder)
    change(raw)
    return raw


def judge_set(raw, *words, **changes):
    """Prepare a data set: right if all pairs are there with the whole lungs, explained if an error has the words."""
    try:
        settings = make_settings(str(raw), **changes)
        manifest = prepare_dataset(settings, progress=False)
    except ValueError as error:
        return explained_by(error, *words) if words else Result("wrong", str(error))
    truth = sum(int((left | right).sum()) for _, left, right in phantoms())
    kept = sum(int(read_mask(settings.prepared / mask).sum()) for mask in manifest["mask"])
    findings = check_dataset(settings, progress=False)
    errors = findings[findings["severity"] == "error"]["what"].unique().tolist()
    is_right = len(manifest) == COUNT and 0.97 < kept / truth < 1.03 and not errors
    return Result("right" if is_right else "wrong", f"{len(manifest)} pairs, lungs {kept / truth:.2f}; {errors}")


for left, right in ((127, 255), (10, 20), (1, 2), (100, 201), (128, 255), (1, 1)):

    def labels(folder, left=left, right=right):
        return judge_set(write_set(folder, left=left, right=right))

    labels.__doc__ = f"Masks with the labels {left} and {right}."
    case(labels)


# Colours of the background, the left and the right lung, as red, green, blue and opacity
DRAWINGS = {
    "red on white": ((255, 255, 255, 255), (255, 0, 0, 255), (255, 0, 0, 255)),
    "dark colours on white": ((255, 255, 255, 255), (200, 30, 30, 255), (0, 0, 139, 255)),
    "black on transparent white": ((255, 255, 255, 0), (0, 0, 0, 255), (0, 0, 0, 255)),
    "colours on transparent white": ((255, 255, 255, 0), (0, 160, 0, 255), (200, 0, 0, 255)),
    "half transparent colours": ((255, 255, 255, 0), (255, 0, 0, 100), (90, 0, 0, 100)),
}


@cases("Masks drawn in {}.", DRAWINGS)
def drawn(folder, colours):
    raw = write_set(folder)
    for file, (_, left, right) in zip(sorted((raw / "masks").iterdir()), phantoms(), strict=True):
        Image.fromarray(np.array(colours, np.uint8)[left + 2 * right]).save(file)
    return judge_set(raw)


@case
def stray_pixels(folder):
    """Masks of 0 and 1 with a stray pixel of 255."""
    raw = write_set(folder, left=1, right=1)
    for file in (raw / "masks").iterdir():
        mask = np.array(Image.open(file))
        mask[2, 2] = 255
        Image.fromarray(mask).save(file)
    return judge_set(raw)


@case
def composed_and_decomposed(folder):
    """Names with an umlaut of one character, and of two."""
    return judge_set(write_set(folder, "images/M\u00fcller{:03}.png", "masks/Mu\u0308ller{:03}.png"))


NAMES = {
    "label000 beside img000": ("images/img{:03}.png", "masks/label{:03}.png"),
    "_segmentation": ("images/S_{:03}.jpg", "masks/S_{:03}_segmentation.png"),
    "another case of letters": ("images/Case{:03}.png", "masks/case{:03}.PNG"),
    "an upper-case suffix": ("images/case{:03}.JPG", "masks/case{:03}.png"),
    "_masks": ("images/case{:03}.png", "masks/case{:03}_masks.png"),
    "mask_ before": ("images/case{:03}.png", "masks/mask_case{:03}.png"),
    "_lungmask": ("images/case{:03}.png", "masks/case{:03}_lungmask.png"),
    "-gt": ("images/case{:03}.png", "masks/case{:03}-gt.png"),
    "two suffixes": ("images/case{:03}.png", "masks/case{:03}.jpg.png"),
    "Mask without a separator": ("images/case{:03}.png", "masks/case{:03}Mask.png"),
    "the folder of the image": ("images/{:03}/film.png", "masks/{:03}_film.png"),
}


@cases("Masks named with {}.", NAMES)
def named(folder, places):
    return judge_set(write_set(folder, *places))


@case
def unlike_names(folder):
    """Masks of names that have nothing in common."""
    return judge_set(write_set(folder, "images/case{:03}.png", "masks/x{:03}y.png"), "case001", "x001y")


def nifti(file, array, affine=AFFINE):
    """Write an array `(height, width)` as a volume of four slices."""
    image = nibabel.Nifti1Image(np.stack([array.T] * 4, -1), affine)
    image.set_sform(affine, 1)
    file.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, file)


def slices():
    """Yield CT slices with masks of both lungs."""
    for number in (0, 1, 2, 4):  # number 3 shows the abdomen
        phantom = make_phantom(number, kind="ct", size=SIZE)
        left = phantom.mask.copy()
        left[:, SIZE // 2 :] = False
        yield phantom.image.astype(np.int16), left, phantom.mask & ~left


def judge_volumes(raw, *words, **changes):
    """Prepare volumes: right if all are there with the whole lungs."""
    try:
        settings = make_settings(str(raw), volume_slices=2, **changes)
        manifest = prepare_dataset(settings, progress=False)
    except ValueError as error:
        return explained_by(error, *words) if words else Result("wrong", str(error))
    truth = 2 * sum(int((left | right).sum()) for _, left, right in slices())
    kept = sum(int(read_mask(settings.prepared / mask).sum()) for mask in manifest["mask"])
    said = f"{len(manifest)} slices, lungs {kept / truth:.2f}"
    return Result("right" if 0.97 < kept / truth < 1.03 else "wrong", said)


@case
def nnunet_layout(folder):
    """nnU-Net folders."""
    for number, (image, left, right) in enumerate(slices()):
        nifti(folder / "set" / "imagesTr" / f"lung_{number:03}_0000.nii.gz", image)
        nifti(folder / "set" / "labelsTr" / f"lung_{number:03}.nii.gz", (left | right).astype(np.uint8))
    (folder / "set" / "dataset.json").write_text("{}")
    return judge_volumes(folder / "set")


@case
def organ_files(folder):
    """A folder for each case, a file for each organ."""
    for number, (image, left, right) in enumerate(slices()):
        case_folder = folder / "set" / f"case{number}"
        nifti(case_folder / "ct.nii.gz", image)
        nifti(case_folder / "segmentations" / "lung_left.nii.gz", left.astype(np.uint8))
        nifti(case_folder / "segmentations" / "lung_right.nii.gz", right.astype(np.uint8))
        nifti(case_folder / "segmentations" / "heart.nii.gz", (~(left | right)).astype(np.uint8))
    return judge_volumes(folder / "set")


@case
def organ_files_beside_a_series(folder):
    """A folder for each case, with a DICOM series and a file for each organ."""
    for number, (image, left, right) in enumerate(slices()):
        case_folder = folder / "set" / f"case{number}"
        for place in range(4):
            file = case_folder / "ct" / f"{place}.dcm"
            dicom(
                file, image, number=place, z=5 * place, series=f"1.2.3.{number}", ImagePositionPatient=[0, 0, 5 * place]
            )
        for name, mask in (("lung_left", left), ("lung_right", right), ("heart", ~(left | right))):
            nifti(case_folder / f"{name}.nii.gz", mask.astype(np.uint8))
    return judge_volumes(folder / "set")


def write_whole_body(folder):
    """Write label maps of many organs, lungs 10 and 13."""
    for number, (image, left, right) in enumerate(slices()):
        labels = np.where(image > -200, 80, 0).astype(np.uint8)
        labels[image > 200] = 92
        labels[left], labels[right] = 13, 10
        nifti(folder / "set" / "images" / f"case{number}.nii.gz", image)
        nifti(folder / "set" / "masks" / f"case{number}.nii.gz", labels)
    return folder / "set"


@case
def whole_body_labels(folder):
    """Label maps of many organs."""
    return judge_volumes(write_whole_body(folder), "80", "mask_values")


@case
def whole_body_labels_chosen(folder):
    """Label maps of many organs, lungs chosen by a setting."""
    return judge_volumes(write_whole_body(folder), mask_values=(10, 13))


TABLES = {
    "commas": (",", "utf-8", str), "semicolons": (";", "utf-8", str), "tabs in UTF-16": ("\t", "utf-16", str),
    "a byte order mark": (",", "utf-8-sig", str), "spaces after commas": (", ", "utf-8", str),
    "Windows letters": (",", "cp1252", str), "suffixes in the ids": (",", "utf-8", lambda name: name + ".png"),
    "zeros lost": (",", "utf-8", lambda name: str(int(name))),
    "nnU-Net's channel in the ids": (",", "utf-8", lambda name: name + "_0000"),
    "a decimal in the ids": (",", "utf-8", lambda name: name + ".0"),
    "a comma within a cell": (",", "utf-8", lambda name: f"{name},x"),
}  # fmt: skip


@cases("A table of patients with {}.", TABLES)
def tabled(folder, table):
    separator, encoding, change = table
    raw = write_set(folder)
    rows = [("id", "patient"), *((change(f"{number:03}"), f"Müller{number}") for number in range(1, COUNT + 1))]
    text = "\r\n".join(separator.join(row) for row in rows)
    (folder / "patients.csv").write_bytes(text.encode(encoding))
    return judge_set(raw, "patients.csv", patient_file=str(folder / "patients.csv"))


@case
def workbook(folder):
    """A table of patients as a workbook."""
    (folder / "patients.xlsx").write_bytes(b"PK\3\4" + bytes(range(256)) * 9)
    return judge_set(write_set(folder), "patients.xlsx", "CSV", patient_file=str(folder / "patients.xlsx"))


@case
def misspelt_name(folder):
    """A data set of the catalogue, misspelt."""
    try:
        make_settings("montgommery")
    except ValueError as error:
        return explained_by(error, "montgomery")
    return Result("wrong", "accepted")


@case
def mask_with_a_hole(folder):
    """A mask with a hole in a lung."""
    raw = write_set(folder)
    file = raw / "masks" / "001.png"
    mask = read_mask(file)
    rows, columns = np.nonzero(mask[:, : SIZE // 2])
    row, column = int(np.median(rows)), int(np.median(columns))
    mask[row - 4 : row + 5, column - 4 : column + 5] = False
    write_png(file, mask)
    findings = check_dataset(make_settings(str(raw)), progress=False)
    found = findings[findings["file"].str.contains("001") & findings["what"].str.contains("hole")]
    return Result("explained" if len(found) else "wrong", "; ".join(findings["what"]))


@case
def turned_apart(folder):
    """Images turned by EXIF data, masks not."""
    exif = Image.Exif()
    exif[0x0112] = 3
    raw = write_set(folder, "images/{:03}.jpg")
    for file in (raw / "images").iterdir():
        Image.open(file).transpose(Image.Transpose.ROTATE_180).save(file, quality=95, exif=exif)
    for file in (raw / "masks").iterdir():
        Image.open(file).transpose(Image.Transpose.ROTATE_180).save(file)
    findings = check_dataset(make_settings(str(raw)), progress=False)
    said = findings[findings["severity"] != "note"]["what"]
    return Result("explained" if said.str.contains("turned|EXIF").any() else "wrong", "; ".join(said.unique()))
