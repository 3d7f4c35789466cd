"""Data sets that people download: splits and patients in folders, copies of images, and labels of other organs."""

import shutil

import numpy as np
from scipy import ndimage

from lungnb.datasets.prepare import prepare_dataset
from lungnb.formats.images import read_mask
from lungnb.presets import make_settings
from unusual import Result, case, cases, film, judge
from unusual.dicoms import dicom, series, without_picture
from unusual.exports import judge_check, save
from unusual.hospitals import judge_error, judge_rows
from unusual.published import judge_layout, write_layout
from unusual.research import judge_either, judge_splits
from unusual.sets import COUNT, SIZE, judge_set, judge_volumes, nifti, phantoms, slices, write_set

HEART = np.zeros((SIZE, SIZE), bool)
HEART[48:70, 44:60] = True


def split_set(folder, train, other):
    """Write a data set with four images in the folder `train`, and 005 and 006 in the other one.

    If a name has `{}`, it is filled with `images` or `masks`; otherwise the folder holds folders of these names.
    """
    train, other = (name if "{}" in name else f"{name}/{{}}" for name in (train, other))
    raw = write_set(folder, *(f"{train.format(kind)}/{{:03}}.png" for kind in ("images", "masks")))
    for kind in ("images", "masks"):
        (raw / other.format(kind)).mkdir(parents=True)
        for number in (5, 6):
            file = raw / train.format(kind) / f"{number:03}.png"
            file.rename(raw / other.format(kind) / file.name)
    return raw


# Right: 005 and 006 are in the split of their folder.
SPLITS = {
    "testset beside trainset": ("trainset", "testset", "test"),
    "test_v2 beside train_v2": ("train_v2", "test_v2", "test"),
    "val2017 beside train2017": ("train2017", "val2017", "validation"),
    "trainval and test": ("trainval", "test", "test"),
    "TestDataset beside TrainDataset": ("TrainDataset", "TestDataset", "test"), "dev": ("train", "dev", "validation"),
    "stage1_test beside stage1_train": ("stage1_train", "stage1_test", "test"),
    "01_train and 02_test": ("01_train", "02_test", "test"), "train (1)": ("train (1)", "test (1)", "test"),
    "Chest Xray train": ("Chest Xray train", "Chest Xray test", "test"),
    "lung_train": ("lung_train", "lung_test", "test"),
    "images_train and masks_train": ("{}_train", "{}_test", "test"),
    "train_frames_images": ("train_frames_{}", "test_frames_{}", "test"),
}  # fmt: skip


@cases("Downloaded folders of splits: {}.", SPLITS)
def splits(folder, kind):
    train, other, split = kind
    return judge_splits(split_set(folder, train, other), {"005": split, "006": split})


@case
def unknown_split(folder):
    """Downloaded folders train and eval."""  # a finding that the folders do not count
    return judge_check(split_set(folder, "train", "eval"), "these folders are not used")


@cases("Downloaded folders of folds: {}.", {name: name for name in ("fold_{}", "fold{}", "Fold {}", "cv{}")})
def folds(folder, name):  # a finding that the folds do not count
    raw = write_set(folder)
    for file in [*raw.rglob("*.png")]:
        place = raw / name.format((int(file.stem) - 1) % 3) / file.parent.name / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        file.rename(place)
    return judge_check(raw, "seem to be folds")


# Three patients with two studies each. Right: three patients; or a finding that each image is taken for a patient.
STUDIES = {
    "CheXpert": "patient0000{p}/study{s}/view1_frontal.png", "visits": "P{p}/visit{s}/cxr.png",
    "dates": "P{p}/2020010{s}/cxr.png", "dates with dashes": "P{p}/2020-01-0{s}/cxr.png",
    "MIMIC": "p10/p1000000{p}/s5000{p}{s}/abc{p}{s}.png", "sessions": "sub-0{p}/ses-0{s}/cxr.png",
    "BIDS": "sub-0{p}/ses-0{s}/anat/sub-0{p}_ses-0{s}_cxr.png", "a day in the name": "P{p}_day{s}.png",
    "NIH": "0000000{p}_00{s}.png", "baseline and follow-up": "P{p}/{t}/cxr.png",
    "train above": "train/patient0000{p}/study{s}/view1_frontal.png", "S1": "P{p}/S{s}/cxr.png",
    "S1, names of their own": "P{p}/S{s}/cxr{p}{s}.png", "S1 in data": "data/P{p}/S{s}/cxr.png",
    "S1 below a class": "COVID/P{p}/S{s}/cxr.png", "1": "patient{p}/{s}/cxr.png", "V1": "P{p}/V{s}/cxr.png",
    "pre and post": "P{p}/{u}/cxr.png", "years": "{p}/202{s}/cxr.png", "S1 and a part": "P{p}/S{s}/CT/cxr.png",
}  # fmt: skip


@cases("Patients with two studies: {}.", STUDIES)
def two_studies(folder, pattern):
    raw = folder / "set"
    for number, (image, left, right) in enumerate(phantoms()):
        study = number % 2 + 1
        file = raw / pattern.format(p=number // 2 + 1, s=study, t=("baseline", "followup")[study - 1],
                                 u=("pre", "post")[study - 1])  # fmt: skip
        save(file, image)
        save(file.with_name(f"{file.stem}_mask.png"), left | right)
    count = prepare_dataset(make_settings(str(raw)), progress=False)["patient"].nunique()
    return Result("right", "3 patients") if count == 3 else judge_check(raw, "is taken for a patient")


@case
def folders_of_classes(folder):
    """Folders of two classes with equal names of images, and a study in each."""  # no patient of each class
    raw = folder / "set"
    for number, (image, left, right) in enumerate(phantoms()):
        file = raw / ("COVID", "Normal")[number % 2] / f"study{number // 2}" / "cxr.png"
        save(file, image)
        save(file.with_name("cxr_mask.png"), left | right)
    manifest = prepare_dataset(make_settings(str(raw)), progress=False)
    return Result("right" if manifest["patient"].nunique() == COUNT else "wrong", str(manifest["patient"].unique()))


# Right: a patient for each film, and no folder of a group for a patient; or a sentence that the folders are taken so.
GROUPS = {
    f"{name}, {count} of them": (pattern, count)
    for count in (2, 3, 4)
    for name, pattern in {
        "batches": "batch{s}/P{p}/cxr.png", "classes, one with a number": "{c}/{p}/cxr.png",
        "numbered classes": "class{s}/{p}/cxr.png", "years of examination": "201{s}/P{p}/cxr.png",
        "classes, names alike": "{c}/{p}.png", "sites": "site {s}/P{p}/cxr.png",
    }.items()
}  # fmt: skip


@cases("Twelve people in folders of {}.", GROUPS)
def groups(folder, kind):
    pattern, count = kind

    def place_of(number):
        group, person = number % count, number // count + 1
        image = pattern.format(p=person, s=group + 1, c=("COVID-19", "Normal", "TB", "Pneumonia")[group])
        return image, image.replace(".png", "_mask.png"), number

    raw = folder / "set"
    result = judge_layout(raw, write_layout(raw, place_of), "is taken for a patient")
    return result._replace(verdict="explained") if "2 patients cannot make" in result.said else result


@case
def all_twice(folder):
    """Kaggle's set of Montgomery and Shenzhen, all of which lies in two folders."""  # one patient for both copies
    raw = folder / "set"
    for number, (image, left, right) in enumerate(phantoms(), 1):
        for place in (raw / "data" / "Lung Segmentation", raw / "Lung Segmentation"):
            save(place / "CXR_png" / f"MCUCXR_{number:04}_0.png", image)
            save(place / "masks" / f"MCUCXR_{number:04}_0.png", left | right)
    manifest = prepare_dataset(make_settings(str(raw)), progress=False)
    splits = manifest.groupby(manifest["id"].str[-6:])["split"].nunique()
    return Result(
        "right" if len(manifest) == 2 * COUNT and splits.max() == 1 else "wrong", str(manifest["id"].tolist())
    )


@case
def equal_names_in_splits(folder):
    """A folder with train and test, in which names are alike."""  # six patients
    raw = folder / "set" / "Lung Segmentation"
    for number, (image, left, right) in enumerate(phantoms()):
        place = raw / ("train", "test")[number % 2]
        save(place / "images" / f"{number // 2}.png", image)
        save(place / "masks" / f"{number // 2}.png", left | right)
    patients = prepare_dataset(make_settings(str(folder / "set")), progress=False)["patient"]
    return Result("right" if patients.nunique() == COUNT else "wrong", str([*patients]))


# A finding that an image has the mask of another one, and one patient for both.
COPIES = {
    "overlays": lambda image, lungs: np.dstack([image, np.where(lungs, 255, image), image]),
    "predictions": lambda image, lungs: lungs * np.uint8(255),
    "gradcam": lambda image, lungs: np.dstack([image, 255 - image, image // 2]),
    "images_clahe": lambda image, lungs: np.clip(image * 1.2 - 10, 0, 255),
}


@cases("Images and masks with a third folder, {}.", {name: name for name in COPIES})
def third_folder(folder, name):
    raw = write_set(folder)
    for file, (image, left, right) in zip(sorted((raw / "images").iterdir()), phantoms(), strict=True):
        save(raw / name / file.name, COPIES[name](image, left | right).astype(np.uint8))
    manifest = prepare_dataset(make_settings(str(raw)), progress=False)
    torn = manifest.groupby(manifest["id"].str[-3:])["split"].nunique().max() > 1
    return Result("wrong", "one image in two splits") if torn else judge_check(raw, "has the same mask")


def scr(file_of):
    """Write the masks of SCR with `file_of`: a folder for each organ, in one of two folds."""
    for number, (_, left, right) in enumerate(phantoms(), 1):
        parts = {"left lung": right, "right lung": left, "heart": HEART, "left clavicle": HEART}
        for name, part in parts.items():
            save(file_of(number, name), part * np.uint8(255))


@case
def scr_masks(folder):
    """SCR's folders: left lung, right lung, heart and clavicle in two folds."""  # the lungs
    raw = write_set(folder, "images/JPCLN{:03}.png")
    shutil.rmtree(raw / "masks")
    scr(lambda number, name: raw / f"fold{number % 2 + 1}" / "masks" / name / f"JPCLN{number:03}.gif")
    return judge_set(raw)


@case
def scr_as_truth(folder):
    """SCR's folders as ground truth to score."""  # the lungs
    from lungnb.evaluation.external import score_folders

    scr(lambda number, name: folder / "truth" / f"fold{number % 2 + 1}" / "masks" / name / f"{number:03}.gif")
    for number, (_, left, right) in enumerate(phantoms(), 1):
        save(folder / "masks" / f"{number:03}.png", left | right)
    table = score_folders(folder / "truth", [folder / "masks"], progress=False).table
    return Result("right" if len(table) == COUNT and table["dice"].min() == 1 else "wrong", str(table["dice"].tolist()))


@case
def covid_qu_ex(folder):
    """COVID-QU-Ex: lung masks and infection masks, and all images twice."""  # the lungs, and no image in two splits
    truth = {}
    for number, (image, left, right) in enumerate(phantoms(), 1):
        truth[str(number)] = int((left | right).sum())
        for part, names in (("Lung", ("lung masks",)), ("Infection", ("lung masks", "infection masks"))):
            place = folder / "set" / f"{part} Segmentation Data" / ("Train", "Val", "Test")[number % 3] / "COVID-19"
            for name in ("images", *names):
                inner = ndimage.binary_erosion(left, iterations=4)
                array = {"images": image, "lung masks": left | right, "infection masks": inner}[name]
                save(place / name / f"covid_{number}.png", array)
    settings = make_settings(str(folder / "set"))
    manifest = prepare_dataset(settings, progress=False)
    pairs = zip(manifest["id"], manifest["mask"], strict=True)
    are_lungs = all(read_mask(settings.prepared / mask).sum() == truth[name[-1]] for name, mask in pairs)
    torn = manifest.groupby(manifest["id"].str[-1])["split"].nunique().max() > 1
    return Result("right" if are_lungs and not torn and len(manifest) >= COUNT else "wrong", f"{len(manifest)} {torn}")


def with_airways():
    """Yield CT slices with a trachea, the masks of both lungs, and that of the trachea."""
    for image, left, right in slices():
        trachea = np.zeros_like(left)
        trachea[44:50, 44:52] = True
        trachea &= ~(left | right)
        yield np.where(trachea, -990, image).astype(np.int16), left, right, trachea


# A sentence with the labels of the lungs.
@cases("LUNA16 as NIfTI, labels {}.", {"3, 4, 5": (3, 4, 5), "1, 2, 3": (1, 2, 3), "2, 3, 1": (2, 3, 1)})
def luna(folder, labels):
    for number, (image, left, right, trachea) in enumerate(with_airways()):
        mask = left * labels[0] + right * labels[1] + trachea * labels[2]
        nifti(folder / "set" / "images" / f"c{number}.nii.gz", image)
        nifti(folder / "set" / "masks" / f"c{number}.nii.gz", mask.astype(np.uint8))
    return judge_volumes(folder / "set", f"mask_values={labels[0]},{labels[1]}")


@case
def old_totalsegmentator(folder):
    """Label maps of TotalSegmentator 1: lungs 13 to 17, and 10 to 12 are other organs."""  # a sentence with 13 to 17
    half = np.arange(SIZE)[:, None] > SIZE // 2
    for number, (image, left, right) in enumerate(slices()):
        mask, image = np.where(image > -200, 80, 0).astype(np.uint8), image.copy()
        image[48:60, 40:44] = 60
        for organ in range(3):
            mask[48 + 4 * organ : 52 + 4 * organ, 40:44] = 10 + organ
        mask[left & ~half], mask[left & half], mask[right & ~half], mask[right & half] = 15, 17, 13, 14
        nifti(folder / "set" / "images" / f"c{number}.nii.gz", image)
        nifti(folder / "set" / "masks" / f"c{number}.nii.gz", mask)
    return judge_volumes(folder / "set", "mask_values=13,14,15,17")


@case
def monai_label(folder):
    """MONAI Label's folders: labels/final and labels/original."""  # a finding that two masks are joined
    for number, (image, left, right) in enumerate(slices()):
        nifti(folder / "set" / "images" / f"c{number}.nii.gz", image)
        for name, mask in (("final", left | right), ("original", ndimage.binary_dilation(left | right))):
            nifti(folder / "set" / "labels" / name / f"c{number}.nii.gz", mask.astype(np.uint8))
    return judge_check(folder / "set", "nearly the same")


@case
def segmented_structure_set(folder):
    """LCTSC: a series and a structure set in folders of a study, to segment."""  # the volume; a sentence
    study = folder / "LCTSC-Train-S1-001" / "11-16-2003-RTRCCTTHORAX8F"
    series(study / "0-CT")
    without_picture(study / "1-RTSTRUCT" / "000000.dcm", "1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT")
    return judge_rows(folder / "LCTSC-Train-S1-001", {"0-CT": "ct", "000000.dcm": ("Leave it out",)})


@case
def prepared_structure_sets(folder):
    """LCTSC: series and structure sets, to prepare."""  # a sentence on the structure sets
    for number in range(3):
        study = folder / "set" / f"LCTSC-Train-S1-00{number}" / "study"
        series(study / "0-CT", series=f"1.2.{number}.4")
        without_picture(study / "1-RTSTRUCT" / "000000.dcm", "1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT")
    return judge_check(folder / "set", "RTSTRUCT")


@case
def raw_film(folder):
    """JSRT's film as JPCLN001.IMG, without a header."""  # a sentence that says so
    (folder / "JPCLN001.IMG").write_bytes((film().astype(">u2") * 16).tobytes())
    return judge(folder / "JPCLN001.IMG", "film", "without a header", "Convert")


@case
def raw_films(folder):
    """A folder of JSRT's .IMG files, and files of Windows."""  # a sentence that names .img
    (folder / "all").mkdir()
    for name in ("JPCLN001.IMG", "Thumbs.db", "desktop.ini"):
        (folder / "all" / name).write_bytes(bytes(100))
    return judge_error(folder / "all", ".img")


@case
def films_of_one_series(folder):
    """Three films of one series in a folder."""  # a row for each
    for number in range(3):
        dicom(folder / "s" / f"{number}.dcm", film(), "1.2.840.10008.5.1.4.1.1.1", Modality="CR", number=number)
    return judge(folder / "s", "film", rows=3)


@case
def names_of_windows(folder):
    """A folder for each patient in capitals, with thumbnails of Windows."""  # read
    raw = write_set(folder, "PAT_{:03}/IMAGE.PNG", "PAT_{:03}/MASK.PNG")
    for place in raw.iterdir():
        (place / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(600))
    return judge_either(raw)
