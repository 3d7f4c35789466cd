"""Data sets of researchers: layouts of labelling programs, tables, readers, volumes, and numbers of other ranges."""

import json
import shutil

import nibabel
import numpy as np
from PIL import Image
from scipy import ndimage

from lungnb.datasets.check import check_dataset
from lungnb.datasets.prepare import prepare_dataset
from lungnb.presets import make_settings
from unusual import Result, case, cases, ct_slice, explained_by, film, judge
from unusual.drawings import soft
from unusual.exports import judge_check, resave, save, voc, write_volumes
from unusual.masks import BOTH, LEFT, RIGHT, judge_mask
from unusual.pictures import png16, tiff
from unusual.sets import (
    AFFINE,
    COUNT,
    ROWS,
    changed_set,
    judge_folders,
    judge_set,
    judge_volumes,
    nifti,
    phantoms,
    slices,
    write_set,
)


def judge_either(raw, *words):
    """Prepare a data set; if that is not right, check it for a finding with one of the words."""
    result = judge_set(raw, *words)
    return result if result.verdict != "wrong" else judge_check(raw, *words)


# Read as pairs of the whole lungs, or a sentence.
LAYOUTS = {
    "a class above images and masks": ("COVID/images/COVID-{}.png", "COVID/masks/COVID-{}.png"),
    "lung_segmentation": ("images/{:03}.png", "lung_segmentation/{:03}.png"),
    "Lung Masks": ("CXR_png/CHNCXR_{:04}_0.png", "Lung Masks/CHNCXR_{:04}_0_mask.png"),
    "imgs and gts": ("imgs/{:03}.png", "gts/{:03}.png"), "seg_maps": ("images/{:03}.png", "seg_maps/{:03}.png"),
    "train_images and train_masks": ("train_images/{:03}.png", "train_masks/{:03}.png"),
    "Roboflow's hashes": ("train/{0:03}_png.rf.{0:04x}.jpg", "train/{0:03}_png.rf.{0:04x}_mask.png"),
    "napari's labels": ("{:03}.png", "{:03}-labels.png"), "QuPath's labels": ("{:03}.png", "{:03}-labelled.png"),
    "MedSAM's names": ("imgs/CXR_{:03}.png", "gts/CXR_{:03}.png"),
    "image and mask in a folder of their own": ("{0:03}/{0:03}.png", "{0:03}/{0:03}_seg.png"),
    "BraTS's names": ("p{0:03}/p{0:03}_image.png", "p{0:03}/p{0:03}_seg.png"),
    "x and y": ("x/{:03}.png", "y/{:03}.png"), "inputs and targets": ("inputs/{:03}.png", "targets/{:03}.png"),
    "img and msk": ("img/{:03}.png", "msk/{:03}.png"),
    "Ground-truths": ("Images/{:03}.png", "Ground-truths/mask_{:03}.png"),
    "original and segmentation": ("c{:03}/original.jpg", "c{:03}/segmentation.png"),
    "LabelMe's SegmentationClassPNG": ("JPEGImages/{:03}.jpg", "SegmentationClassPNG/{:03}.png"),
    "im and mask": ("im{:03}.png", "mask{:03}.png"),
    "img and ann": ("img/{:03}.png", "ann/{:03}.png"), "A and B, as pix2pix has": ("A/{:03}.png", "B/{:03}.png"),
}  # fmt: skip


@cases("A researcher's folders: {}.", LAYOUTS)
def layouts(folder, places):
    return judge_either(write_set(folder, *places), "no image with a mask")


# A sentence that names the kind of file that is not read.
def yolo(raw):
    shutil.rmtree(raw / "masks")
    for number in range(1, COUNT + 1):
        file = raw / "labels" / f"{number:03}.txt"
        file.parent.mkdir(exist_ok=True)
        file.write_text("0 0.3 0.3 0.4 0.4 0.3 0.6\n")


def beside(ending):
    def write(raw):
        shutil.rmtree(raw / "masks")
        for file in (raw / "images").iterdir():
            file.with_suffix(ending).write_bytes(b"0" * 500)

    return write


def label_studio(raw):
    for number, file in enumerate(sorted((raw / "masks").iterdir()), 1):
        file.rename(file.with_name(f"task-{number + 20}-annotation-{number}-by-1-tag-Lung-0.png"))


def arrow(raw):
    shutil.rmtree(raw)
    (raw / "train").mkdir(parents=True)
    for name in ("data-00000-of-00001.arrow", "state.json", "dataset_info.json"):
        (raw / "train" / name).write_bytes(b"0" * 500)


UNREAD = {
    "YOLO": (yolo, "txt"), "ROIs of ImageJ": (beside(".roi"), "roi"), "ROI archives of ImageJ": (beside(".zip"), "zip"),
    "LabelMe beside the images": (beside(".json"), "json"), "HDF5": (beside(".h5"), "h5"),
    "npz": (beside(".npz"), "npz"), "Slicer beside the images": (beside(".seg.nrrd"), "nrrd"),
    "Hugging Face (arrow)": (arrow, "arrow"), "Label Studio": (label_studio, "no image with a mask"),
}  # fmt: skip


@cases("Labels as files of {} in a set.", UNREAD)
def unread(folder, kind):
    change, *words = kind
    return judge_check(changed_set(folder, change), *words)


@case
def supervisely(folder):
    """Supervisely's folders: img, masks_machine, and masks_human."""  # the masks of machines, or a sentence
    raw = write_set(folder, "ds/img/{:03}.png", "ds/masks_machine/{:03}.png", 1, 1)
    for file, (image, left, right) in zip(sorted((raw / "ds" / "img").iterdir()), phantoms(), strict=True):
        tinted = np.dstack([image, image // 2 + np.uint8(100) * left, image // 2 + np.uint8(100) * right])
        save(raw / "ds" / "masks_human" / file.name, np.hstack([np.dstack([image] * 3), tinted]))
    return judge_either(raw, "masks_human")


@case
def second_channel(folder):
    """nnU-Net's folders with two channels of each film."""  # the first; a word on the second
    raw = write_set(folder, "imagesTr/x_{:03}_0000.png", "labelsTr/x_{:03}.png", 1, 1)
    for file in [*(raw / "imagesTr").iterdir()]:
        shutil.copy(file, str(file).replace("_0000", "_0001"))
    return judge_set(raw)


@case
def tests_apart(folder):
    """Folders train_images, train_masks, test_images and test_masks."""  # the test stays in the test split
    raw = write_set(folder, "train_images/{:03}.png", "train_masks/{:03}.png")
    for name in ("images", "masks"):
        (raw / f"test_{name}").mkdir()
        for number in (5, 6):
            (raw / f"train_{name}" / f"{number:03}.png").rename(raw / f"test_{name}" / f"{number:03}.png")
    return judge_splits(raw, {"005": "test", "006": "test"})


def judge_splits(raw, expected):
    """Prepare a data set: right if the images have the expected splits."""
    try:
        manifest = prepare_dataset(make_settings(str(raw)), progress=False)
    except ValueError as error:
        return Result("wrong", str(error))
    found = {row["id"][-3:]: row["split"] for row in manifest.to_dict("records")}
    is_right = len(found) == COUNT and all(found[name] == split for name, split in expected.items())
    return Result("right" if is_right else "wrong", str(found))


SPLITS = {"capitals": "TEST", "Test Set": "Test Set", "test_set": "test_set", "holdout beside train": "Testing"}


@cases("Folders of splits named with {}.", SPLITS)
def split_names(folder, name):
    """Keep the images of the test in the test split."""
    raw = write_set(folder, "Train/images/{:03}.png", "Train/masks/{:03}.png")
    for kind in ("images", "masks"):
        (raw / name / kind).mkdir(parents=True)
        for number in (5, 6):
            (raw / "Train" / kind / f"{number:03}.png").rename(raw / name / kind / f"{number:03}.png")
    return judge_splits(raw, {"005": "test", "006": "test"})


# A finding, because the second reader has drawn nearly the same.
def wider(mask):
    return ndimage.binary_dilation(mask, iterations=1)


@cases(
    "Masks of two readers, of whom the second {}.",
    {"draws wider": wider, "draws elsewhere": lambda mask: np.roll(mask, 2, 1)},
)
def readers(folder, change):
    raw = write_set(folder, mask_name="masks/reader1/{:03}.png")
    for file, (_, left, right) in zip(sorted((raw / "masks" / "reader1").iterdir()), phantoms(), strict=True):
        save(raw / "masks" / "reader2" / file.name, change(left | right))
    return judge_check(raw, "nearly the same")


@case
def lobes_in_letters(folder):
    """A mask for each lobe, named LUL, LLL, RUL, RML and RLL."""  # the whole lungs, or a sentence
    raw = write_set(folder)
    shutil.rmtree(raw / "masks")
    for number, (_, left, right) in enumerate(phantoms(), 1):
        thirds = np.arange(left.shape[0])[:, None] * 3 // left.shape[0]
        parts = {"LUL": right & (thirds < 1), "LLL": right & (thirds > 0), "RUL": left & (thirds < 1)}
        parts |= {"RML": left & (thirds == 1), "RLL": left & (thirds == 2)}
        for name, part in parts.items():
            save(raw / "masks" / f"{number:03}_{name}.png", part)
    return judge_either(raw, "no image with a mask")


@case
def nodules_of_the_decathlon(folder):
    """The decathlon's folders, whose labels are nodules."""  # a finding that the mask covers little
    for number, (image, left, _) in enumerate(slices()):
        nifti(folder / "set" / "imagesTr" / f"lung_{number:03}.nii.gz", image)
        nodule = np.zeros_like(left)
        row, column = np.argwhere(left)[len(np.argwhere(left)) // 2]
        nodule[row - 1 : row + 2, column - 1 : column + 2] = True
        nifti(folder / "set" / "labelsTr" / f"lung_{number:03}.nii.gz", nodule.astype(np.uint8))
    (folder / "set" / "dataset.json").write_text(json.dumps({"labels": {"0": "background", "1": "cancer"}}))
    return judge_check(folder / "set", "covers")


@case
def infection(folder):
    """NIfTI masks of left lung, right lung and infection."""  # the whole lungs, or a sentence with the setting
    for number, (image, left, right) in enumerate(slices()):
        labels = (left + 2 * right).astype(np.uint8)
        place = ndimage.binary_erosion(left, iterations=3)
        labels[place], image[place] = 3, -150
        nifti(folder / "set" / "images" / f"c{number}.nii.gz", image)
        nifti(folder / "set" / "masks" / f"c{number}.nii.gz", labels)
    return judge_volumes(folder / "set", "mask_values")


@case
def inverted_volumes(folder):
    """NIfTI masks that are inverted."""  # a finding
    raw = write_volumes(folder, write_mask=lambda array: nibabel.Nifti1Image(1 - array, AFFINE))
    return judge_check(raw, "inverted", "edge", "covers")


@case
def probabilities_of_volumes(folder):
    """NIfTI masks that are probabilities with soft edges."""  # right
    raw = write_volumes(folder, write_mask=lambda array: nibabel.Nifti1Image(
        ndimage.gaussian_filter(array.astype(np.float32), (0.7, 0.7, 0)), AFFINE))  # fmt: skip
    return judge_volumes(raw)


@case
def classes_of_volumes(folder):
    """NIfTI masks with a volume for each class."""  # a sentence
    raw = write_volumes(folder, write_mask=lambda array: nibabel.Nifti1Image(np.stack([1 - array, array], -1), AFFINE))
    return judge_volumes(raw, "volumes")


@case
def volumes_of_half_size(folder):
    """NIfTI masks of half the size."""  # a sentence
    affine = AFFINE @ np.diag([2, 2, 1, 1])
    raw = write_volumes(folder, write_mask=lambda array: nibabel.Nifti1Image(array[::2, ::2], affine))
    return judge_volumes(raw, "voxels")


@case
def volume_beside_its_mask(folder):
    """A folder to segment with a volume and its mask."""  # the volume; a word on the mask
    from unusual.hospitals import judge_rows
    from unusual.volumes import nifti as write
    from unusual.volumes import volume

    (folder / "p1").mkdir()
    write(folder / "p1" / "ct.nii.gz", volume())
    write(folder / "p1" / "lung_mask.nii.gz", (volume() < -500).astype(np.uint8))
    return judge_rows(folder / "p1", {"ct.nii.gz": "ct", "lung_mask.nii.gz": ("mask",)})


# Right: the mask of the ordinary slice or film, or a note on the colours or the values.
def windows_as_colours(folder):
    shown = [
        np.clip((ct_slice() - low) / (high - low), 0, 1) for low, high in ((-1000, 400), (-160, 240), (-500, 1300))
    ]
    return save(folder / "a.png", np.rint(np.dstack(shown) * 255).astype(np.uint8)), "ct"


def coloured_film(name):
    def write(folder):
        import matplotlib

        colours = matplotlib.colormaps[name](film() / 255.0, bytes=True)[..., :3]
        return save(folder / "a.png", np.ascontiguousarray(colours)), "film"

    return write


def slices_as_colours(folder):
    """Return three neighbouring slices as red, green and blue."""
    shown = np.rint(np.clip((ct_slice() + 1000) / 1400, 0, 1) * 255).astype(np.uint8)
    return save(folder / "a.png", np.dstack([np.roll(shown, 2, 0), shown, np.roll(shown, -2, 0)])), "ct"


def heatmap(folder):
    import matplotlib

    yy, xx = np.mgrid[:256, :256] / 255.0
    warm = matplotlib.colormaps["jet"](np.exp(-8 * ((yy - 0.4) ** 2 + (xx - 0.3) ** 2)), bytes=True)[..., :3]
    return save(folder / "a.png", (film()[..., None] // 2 + warm // 2).astype(np.uint8)), "film"


def four_bits(kind):
    def write(folder):
        dark = (film() // 16).astype(kind)
        return (png16(folder / "a.png", dark) if kind == np.uint16 else save(folder / "a.png", dark)), "film"

    return write


def binary_by_mistake(folder):
    return save(folder / "a.png", (film() / 255).astype(np.uint8)), "film"


def ten_bits_in_tiff(folder):
    return tiff(folder / "a.tif", film().astype(np.uint16) * 4), "film"


def infinite(folder):
    values = film().astype(np.float32) / 255
    values[:5, :5], values[-5:, :5] = np.inf, -np.inf
    return tiff(folder / "a.tif", values), "film"


def half_floats_of_hu(folder):
    return tiff(folder / "a.tif", ct_slice().astype(np.float16), compression="deflate"), "ct"


def shifted_hu(folder):
    return tiff(folder / "a.tif", (ct_slice().astype(np.int32) + 1000).clip(0).astype(np.uint16)), "ct"


def hu_in_bytes(folder):
    return save(folder / "a.png", np.clip(ct_slice() // 8 + 128, 0, 255).astype(np.uint8)), "ct"


def wrapped_bytes(folder):
    """Save HU as bytes, which wraps them."""
    return save(folder / "a.png", ct_slice().astype(np.uint8)), "ct"


def lungs_of_nan(folder):
    values = ct_slice().astype(np.float32)
    values[values < -990] = -np.inf
    return tiff(folder / "a.tif", values), "ct"


def z_scores(folder):
    values = ct_slice().astype(np.float32)
    return tiff(folder / "a.tif", (values - values.mean()) / values.std()), "ct"


def drawn_slice(folder):
    """Draw a CT slice of air at -1000 and of positive numbers."""
    values = ct_slice().astype(np.int16)
    return tiff(folder / "a.tif", np.where(values < -500, -1000, values.clip(0)).astype(np.int16)), "ct"


def drawn_slice_in_floats(folder):
    values = ct_slice().astype(np.float32)
    return tiff(folder / "a.tif", np.where(values < -500, np.float32(-999), values.clip(0))), "ct"


NUMBERS = {
    "three windows as colours": (windows_as_colours, "colour"),
    "three slices as colours": (slices_as_colours, "colour"), "the colours of jet": (coloured_film("jet"), "colour"),
    "the colours of hsv": (coloured_film("hsv"), "colour"), "the colours of bone": (coloured_film("bone"), "colour"),
    "the colours of viridis": (coloured_film("viridis"), "colour"), "a heat map on it": (heatmap, "colour"),
    "16 greys of 0 to 15": (four_bits(np.uint8), "dark"),
    "16 greys of 0 to 15 in 16 bits": (four_bits(np.uint16), "dark"),
    "values of 0 and 1 by mistake": (binary_by_mistake, "chest"), "10 bits": (ten_bits_in_tiff, "none"),
    "infinite corners": (infinite, "not numbers"), "half floats of HU": (half_floats_of_hu, "none"),
    "1000 added to HU": (shifted_hu, "CT"), "HU divided by 8": (hu_in_bytes, "none"),
    "HU as bytes that wrap": (wrapped_bytes, "chest"), "air as -inf": (lungs_of_nan, "not numbers"),
    "mean 0 and deviation 1": (z_scores, "none"), "one negative value, drawn": (drawn_slice, "none"),
    "one negative value, drawn in floats": (drawn_slice_in_floats, "none"),
}  # fmt: skip


@cases("A researcher's picture of {}.", NUMBERS)
def numbers(folder, kind):
    make, *words = kind
    path, what = make(folder)
    return judge(path, what, *words)


# A sentence that the format is not read, and what to do.
@cases(
    "A researcher's film as {}.",
    {ending: ending for ending in (".npy", ".npz", ".mat", ".h5", ".parquet", ".svs", ".fits")},
)
def arrays(folder, ending):
    (folder / f"a{ending}").write_bytes(b"\x93NUMPY" + bytes(500))
    return judge(folder / f"a{ending}", "film", "not an image format", "Convert")


@case
def zarr(folder):
    """A film as zarr, a folder."""  # a sentence that names what is there
    from unusual.hospitals import judge_error

    (folder / "a.zarr").mkdir()
    (folder / "a.zarr" / "zarr.json").write_text("{}")
    (folder / "a.zarr" / "c").mkdir()
    (folder / "a.zarr" / "c" / "0").write_bytes(bytes(500))
    return judge_error(folder / "a.zarr", "json")


# Read, or a sentence that names the table.
SHEETS = {
    "pandas' index in front": ",id,patient\n" + "".join(f"{n},{n:03},P{n}\n" for n in range(1, 7)),
    "other names of columns": "filename,subject\n" + ROWS,
    "whole paths of another machine": "id,patient\n" + "".join(f"/data/me/{n:03}.png,P{n}\n" for n in range(1, 7)),
    "line breaks in cells": "id,patient,note\n" + "".join(f'{n:03},P{n},"a\nb"\n' for n in range(1, 7)),
    "bars between cells": "id|patient\n" + "".join(f"{n:03}|P{n}\n" for n in range(1, 7)),
    "blanks between cells": "id patient\n" + "".join(f"{n:03} P{n}\n" for n in range(1, 7)),
    "JSON": json.dumps({f"{n:03}": f"P{n}" for n in range(1, 7)}),
    "JSON lines": "".join(json.dumps({"id": f"{n:03}", "patient": f"P{n}"}) + "\n" for n in range(1, 7)),
    "a page": "<!DOCTYPE html><html><table><tr><td>id</td><td>patient</td></tr></table></html>",
    "remarks in front": "# made by me\nid,patient\n" + ROWS,
    "NaN as patient": "id,patient\n" + "".join(f"{n:03},nan\n" for n in range(1, 7)),
    "unknown as patient": "id,patient\n" + "".join(f"{n:03},unknown\n" for n in range(1, 7)),
}  # fmt: skip


@cases("A researcher's table of patients: {}.", SHEETS)
def sheets(folder, text):
    raw = write_set(folder)
    (folder / "patients.csv").write_text(text)
    is_one = "nan" in text or "unknown" in text
    if not is_one:
        return judge_set(raw, "patients.csv", patient_file=str(folder / "patients.csv"))
    try:
        manifest = prepare_dataset(make_settings(str(raw), patient_file=str(folder / "patients.csv")), progress=False)
    except ValueError as error:
        return explained_by(error, "patients.csv", "patient")
    return Result("wrong", str(manifest["patient"].unique()))


SPLIT_FILES = {
    "val": "id,split\n001,train\n002,train\n003,train\n004,train\n005,val\n006,test\n",
    "capitals": "id,split\n001,Train\n002,Train\n003,Train\n004,Train\n005,Validation\n006,Test\n",
    "another name of the column": "id,set\n001,train\n002,train\n003,train\n004,train\n005,validation\n006,test\n",
    "folds": "id,fold\n001,0\n002,0\n003,1\n004,1\n005,2\n006,2\n",
    "a patient in two splits": "id,split\np1_1,train\np1_2,test\np2_1,train\np2_2,train\np3_1,validation\np3_2,test\n",
}


@cases("A researcher's table of splits with {}.", SPLIT_FILES)
def split_files(folder, text):  # the splits, or a sentence that names the table
    raw = write_set(folder)
    if "p1_1" in text:
        for file in [*raw.rglob("*.png")]:
            number = int(file.stem) - 1
            file.rename(file.with_name(f"p{number // 2 + 1}_{number % 2 + 1}.png"))
    (folder / "splits.csv").write_text(text)
    try:
        settings = make_settings(str(raw), split_file=str(folder / "splits.csv"), patient_pattern="(p?[0-9]+)")
        manifest = prepare_dataset(settings, progress=False)
    except ValueError as error:
        return explained_by(error, "splits.csv")
    if "p1_1" in text:
        said = check_dataset(settings, progress=False)["what"]
        return Result("explained" if said.str.contains("splits").any() else "wrong", "; ".join(said))
    found = dict(zip(manifest["id"], manifest["split"], strict=True))
    return Result("right" if found["005"] == "validation" and found["006"] == "test" else "wrong", str(found))


# A sentence on the folder of a program.
def judge_score(folder, write, *words):
    """Score changed masks: `write` takes path, image, left and right lung; right without words if the Dice is 1."""
    for number, (image, left, right) in enumerate(phantoms(), 1):
        save(folder / "truth" / f"{number:03}.png", left | right)
        write(folder / "masks" / f"{number:03}.png", image, left, right)
    return judge_folders(folder, COUNT, *words)


def overlay(path, image, left, right):
    save(path, np.dstack([image, image // 2 + np.uint8(100) * (left | right), image]))


def jet(path, image, left, right):
    import matplotlib

    save(path, matplotlib.colormaps["jet_r"]((left | right).astype(float), bytes=True)[..., :3].copy())


SCORED = {
    "images": (lambda path, image, left, right: save(path, image), "grey"),
    "one file for all": (lambda path, *_: save(path, next(phantoms())[1] | next(phantoms())[2]), "same"),
    "a label for each lung": (lambda path, image, left, right: save(path, (left + 2 * right).astype(np.uint8)),),
    "inverted masks": (lambda path, image, left, right: save(path, ~(left | right)), "inverted"),
    "masks in reversed jet": (jet,),
    "masks of half the size": (
        lambda path, image, left, right: save(path, (left | right)[::2, ::2].copy()), "Save both at one size"
    ),
    "probabilities": (lambda path, image, left, right: save(path, np.rint(soft(left | right) * 255).astype(np.uint8)),),
    "overlays": (overlay, "grey"),
    "one lung": (lambda path, image, left, right: save(path, left), "lung"),
}  # fmt: skip


@cases("Scored folder of {}.", SCORED)
def scored(folder, kind):
    write, *words = kind
    return judge_score(folder, write, *words)


# Right: the lungs.
def void_ring(width):
    edge = ndimage.binary_dilation(BOTH, iterations=width) & ~ndimage.binary_erosion(BOTH, iterations=width)
    return np.where(edge, 255, LEFT + 2 * RIGHT).astype(np.uint8)


def int64_tiff(path):
    return tiff(path, (LEFT + 2 * RIGHT).astype(np.int64), compression="zlib")


def with_thumbnail(path):
    pages = [Image.fromarray(BOTH * np.uint8(255)), Image.fromarray(BOTH * np.uint8(255)).resize((64, 64))]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    return path


def with_reduced_page(path):
    import tifffile

    with tifffile.TiffWriter(path) as file:
        file.write(BOTH * np.uint8(255))
        file.write((BOTH * np.uint8(255))[::4, ::4], subfiletype=1)
    return path


def reduced_page_of_floats(path):
    import tifffile

    with tifffile.TiffWriter(path) as file:
        file.write(BOTH.astype(np.float64))
        file.write(BOTH.astype(np.float64)[::4, ::4], subfiletype=1)
    return path


def pyramid(path):
    import tifffile

    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(BOTH * np.uint8(255), subifds=1)
        file.write((BOTH * np.uint8(255))[::2, ::2], subfiletype=1)
    return path


def thumbnail_first(path):
    import tifffile

    with tifffile.TiffWriter(path) as file:
        file.write((BOTH * np.uint8(255))[::4, ::4], subfiletype=1)
        file.write(BOTH * np.uint8(255))
    return path


def hyperstack(path):
    return tiff(path, np.stack([film(), BOTH * np.uint8(255)]), imagej=True, metadata={"axes": "CYX"})


MASKS = {
    "labels in a ring of 255, 1 px wide": ("a.png", lambda path: save(path, void_ring(1))),
    "labels of int64": ("a.tif", int64_tiff), "a TIFF with a thumbnail behind": ("a.tif", with_thumbnail),
    "a TIFF with a reduced page": ("a.tif", with_reduced_page),
    "a TIFF of floats with a reduced page": ("a.tif", reduced_page_of_floats),
    "an OME-TIFF with a pyramid": ("a.tif", pyramid),
    "a TIFF with a thumbnail in front": ("a.tif", thumbnail_first, "pictures"),
    "a hyperstack of image and mask": ("a.tif", hyperstack, "pictures", "a.tif"),
}  # fmt: skip


@cases("A researcher's mask: {}.", MASKS)
def masks(folder, kind):
    name, write, *words = kind
    return judge_mask(write(folder / name), *words)


@case
def film_with_reduced_page(folder):
    """A film as TIFF with a reduced page in front."""  # the whole film, or a note
    import tifffile

    with tifffile.TiffWriter(folder / "a.tif") as file:
        file.write(film()[::4, ::4].copy(), subfiletype=1)
        file.write(film())
    return judge(folder / "a.tif", "film", "first")


@case
def labels_of_voc_with_void(folder):
    """Masks of Pascal VOC whose palette has a void colour."""  # right
    return judge_set(resave(write_set(folder) / "masks", voc))
