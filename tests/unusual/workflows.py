"""Whole workflows: several commands after one another, on data sets that people download, draw and export."""

import shutil

import nibabel
import numpy as np
import pandas as pd
from PIL import Image

from lungnb.formats.images import read_mask, write_png
from lungnb.presets import make_settings
from unusual import Result, case, cases
from unusual.exports import judge_check, save
from unusual.later import NOISE
from unusual.published import both, infected, judge_volumes_and_patients, one, other, two, write_niftis
from unusual.sets import AFFINE, COUNT, judge_set, judge_volumes, phantoms, write_set
from unusual.terminal import command


def run_all(folder, *commands):
    """Run commands one after another; return the last status, and what all of them said."""
    said, status = [], 0
    for line in commands:
        status, text = command(folder, *line.split())
        said.append(" ".join(text.split()))
    return status, " | ".join(said)


def judge_said(status, said, expected, *words):
    """Right if the last command ended with the expected status and all words were said; no traceback."""
    is_right = status == expected and all(word in said for word in words) and "Traceback" not in said
    return Result("right" if is_right else "wrong", f"{status}: {said}")


# Commands on a data set `set`, the last exit status, and words that must be said.
CHAINS = {
    "segment, score": (["segment set/images --out out", "score set/masks out"], 0, ["out 6 6 0 0 0"]),
    "segment with all outputs, score": (
        ["segment set/images --out out --overlay --cutout --probability", "score set/masks out"], 0, ["out 6 6 0 0 0"]),
    "segment, score swapped": (["segment set/images --out out", "score out set/masks"], 0, ["masks 6 6 0 0 0"]),
    "segment, score against the prepared truth": (
        ["prepare set", "segment set/images --out out", "score data/prepared/set out"], 0, ["out 6 6 0 0 0"]),
    "segment the prepared set with its masks, score": (
        ["prepare set", "segment data/prepared/set --out out", "score set/masks out"], 2, ["_mask.png and"]),
    "segment the whole set, score": (["segment set --out out", "score set/masks out"], 2, ["_mask.png and"]),
    "score, score again": (["score set/masks set/masks/", "score set/masks set/images"], 0, ["images 6 6"]),
    "segment into two folders, score both": (
        ["segment set/images --out a", "segment set/images --out b", "score set/masks a b"], 0, ["a 6 6", "b 6 6"]),
    "segment, segment into the other's folder": (
        ["segment set/images --out out", "segment set/images/ --out ./out/"], 0, ["6 of 6"]),
    "prepare the masks of segment": (["segment set/images --out out", "prepare out"], 2, ["out", "mask"]),
    "prepare results": (["prepare set", "prepare results"], 2, ["results"]),
    "check the prepared folder": (["prepare set", "check data/prepared/set"], 2, ["where lungnb writes"]),
    "evaluate before train": (["prepare set", "evaluate set --model unet"], 2, ["lungnb train"]),
    "report before prepare of a missing set": (["report gone"], 2, ["gone"]),
    "publish before report": (["prepare set", "publish set"], 2, ["lungnb report"]),
    "runs before train": (["runs set"], 0, ["no runs yet"]),
    "export before train": (["export results/set/unet --out exported"], 2, ["results/set/unet", "train"]),
}  # fmt: skip


@cases("One after another: {}.", CHAINS)
def chains(folder, chain):
    commands, expected, words = chain
    write_set(folder)
    return judge_said(*run_all(folder, *commands), expected, *words)


def corrected(folder):
    write_png(folder / "out" / "001_mask.png", np.zeros((96, 96), np.uint8))


@case
def corrected_by_hand(folder):
    """A mask that a person corrected in the folder of segment, and segment with --overlay."""  # the correction stays
    write_set(folder)
    run_all(folder, "segment set/images --out out")
    corrected(folder)
    status, said = run_all(folder, "segment set/images --out out --overlay")
    is_kept = not read_mask(folder / "out" / "001_mask.png").any()
    return Result("right" if is_kept else "explained" if "001_mask.png" in said else "wrong", f"{status}: {said}")


@case
def corrected_and_repeated(folder):
    """A mask that a person corrected in the folder of segment, and the same command again."""  # the correction stays
    write_set(folder)
    run_all(folder, "segment set/images --out out")
    corrected(folder)
    status, said = run_all(folder, "segment set/images --out out")
    is_kept = not read_mask(folder / "out" / "001_mask.png").any()
    return Result("right" if is_kept else "wrong", f"{status}: {said}")


def excel(folder):
    table = folder / "out" / "segmentation.csv"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes().replace(b",", b";").replace(b".", b","))


def no_table(folder):
    (folder / "out" / "segmentation.csv").unlink()


def without_journal(folder):
    (folder / "out" / ".segmentation.jsonl").unlink()


def journal_of_macos(folder):
    for file in [*(folder / "out").iterdir()]:
        for name, content in NOISE.items():
            (folder / "out" / name.format(file.name)).write_bytes(content)


def films_moved(folder):
    (folder / "set" / "images").rename(folder / "archive")
    (folder / "set" / "images").symlink_to(folder / "archive")


def as_bmp(folder):
    for file in (folder / "set" / "images").iterdir():
        Image.open(file).save(file.with_suffix(".bmp"))
        file.unlink()


def table_is_folder(folder):
    no_table(folder)
    (folder / "out" / "segmentation.csv").mkdir()


def masks_gone(folder):
    for file in (folder / "out").glob("*_mask.png"):
        file.unlink()


# The change of the folder of masks, and how many rows and mask files there are after the next segment.
OUTS = {
    "Excel saves the table": (excel, 6), "the table is deleted": (no_table, 6),
    "macOS copies the folder": (journal_of_macos, 6), "the films move, with a link": (films_moved, 6),
    "the films become BMP": (as_bmp, 12), "the masks are deleted": (masks_gone, 6),
}  # fmt: skip


def segment_twice(folder, change):
    """Segment a set, change the folder, and segment again; return the second status and all that was said then."""
    write_set(folder)
    run_all(folder, "segment set/images --out out")
    change(folder)
    return run_all(folder, "segment set/images --out out")


@cases("Segment again after {}.", OUTS)
def again(folder, kind):
    change, count = kind
    status, said = segment_twice(folder, change)
    rows = pd.read_csv(folder / "out" / "segmentation.csv")
    masks = [*(folder / "out").glob("[!.]*_mask.png")]
    is_right = status == 0 and len(rows) == COUNT and len(masks) == count
    return Result("right" if is_right else "wrong", f"{status}, {len(rows)} rows, {len(masks)} masks: {said}")


REFUSED = {
    "the hidden journal is not copied": (without_journal, ["is not of an earlier run"]),
    "a folder has the name of the table": (table_is_folder, ["segmentation.csv"]),
}  # fmt: skip


@cases("Segment again, and a sentence, after {}.", REFUSED)
def again_refused(folder, kind):
    change, words = kind
    status, said = segment_twice(folder, change)
    return judge_said(status, said, 2, *words)._replace(
        verdict="explained" if all(w in said for w in words) else "wrong"
    )


# Half of the lungs is missing: named, and nothing is trained on half a lung.
def halves(folder, left_name, right_name, change):
    raw = folder / "set"
    for number, (image, left, right) in enumerate(phantoms(), 1):
        save(raw / "images" / f"{number:03}.png", image)
        for name, mask in ((left_name, right), (right_name, left)):
            save(raw / name.format(number), mask * np.uint8(255))
    change(raw)
    return raw


def no_right(raw):
    (raw / "ManualMask" / "rightMask" / "002.png").unlink()


def empty_right(raw):
    write_png(raw / "ManualMask" / "rightMask" / "002.png", np.zeros((96, 96), np.uint8))


def same_twice(raw):
    shutil.copy(raw / "ManualMask" / "leftMask" / "002.png", raw / "ManualMask" / "rightMask" / "002.png")


def cut_right(raw):
    (raw / "ManualMask" / "rightMask" / "002.png").write_bytes(b"\x89PNG\r\n\x1a\n")


def small_right(raw):
    file = raw / "ManualMask" / "rightMask" / "002.png"
    Image.open(file).resize((48, 48)).save(file)


def no_right_folder(raw):
    shutil.rmtree(raw / "ManualMask" / "rightMask")


def sides_swapped(raw):
    folder = raw / "ManualMask"
    (folder / "rightMask" / "002.png").rename(folder / "kept.txt")
    (folder / "leftMask" / "002.png").rename(folder / "rightMask" / "002.png")
    (folder / "kept.txt").rename(folder / "leftMask" / "002.png")


HALVES = {
    "a right mask is missing": no_right, "a right mask is empty": empty_right,
    "a right mask is the left one": same_twice,
    "a right mask is cut off": cut_right,
    "the folder of right masks is missing": no_right_folder,
}  # fmt: skip


@cases("Montgomery's halves: {}.", HALVES)
def montgomery(folder, change):
    raw = halves(folder, "ManualMask/leftMask/{:03}.png", "ManualMask/rightMask/{:03}.png", change)
    result = judge_check(raw, "one lung", "half", "left lung", "right lung", "nearly the same", "2 regions", "left out")
    return result if "002" in str(check_files(raw)) or change is no_right_folder else Result("wrong", result.said)


def check_files(raw):
    from lungnb.datasets.check import check_dataset

    findings = check_dataset(make_settings(str(raw)), progress=False)
    return findings.loc[findings["severity"] != "note", "file"].tolist()


@case
def smaller_side(folder):
    """Montgomery's halves: a right mask is half the size."""  # right: resized
    return judge_set(halves(folder, "ManualMask/leftMask/{:03}.png", "ManualMask/rightMask/{:03}.png", small_right))


@case
def swapped_sides(folder):
    """Montgomery's halves: a pair of left and right swapped."""  # right: the union is the same
    return judge_set(halves(folder, "ManualMask/leftMask/{:03}.png", "ManualMask/rightMask/{:03}.png", sides_swapped))


# Masks that are no lungs but look like masks: a finding.
def boxes(image, left, right):
    out = np.zeros_like(left)
    for part in (left, right):
        rows, columns = np.nonzero(part)
        out[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    return out


def one_box(image, left, right):
    rows, columns = np.nonzero(left | right)
    out = np.zeros_like(left)
    out[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    return out


def outlines(image, left, right):
    from scipy import ndimage

    mask = left | right
    return mask & ~ndimage.binary_erosion(mask, iterations=1)


def landmarks(image, left, right):
    out = np.zeros_like(left)
    edge = np.argwhere(outlines(image, left, right))[::12]
    out[edge[:, 0], edge[:, 1]] = True
    return out


def thorax(image, left, right):
    from skimage.morphology import convex_hull_image

    return convex_hull_image(left | right)


def everything(image, left, right):
    return np.ones_like(left)


def heart_alone(image, left, right):
    out = np.zeros_like(left)
    out[50:70, 42:60] = True
    return out


def lesions(image, left, right):
    out = np.zeros_like(left)
    rows, columns = np.nonzero(left)
    row, column = int(np.median(rows)), int(np.median(columns))
    out[row - 3 : row + 3, column - 3 : column + 3] = True
    return out


KINDS = {
    "a box around each lung": boxes, "one box around both lungs": one_box, "outlines of one pixel": outlines,
    "landmarks": landmarks, "the convex hull": thorax, "everything": everything, "the heart alone": heart_alone,
    "lesions alone": lesions,
}  # fmt: skip


@cases("Masks of a set that are {}.", KINDS)
def drawn_as(folder, change):
    raw = write_set(folder)
    for file, (image, left, right) in zip(sorted((raw / "masks").iterdir()), phantoms(), strict=True):
        write_png(file, change(image, left, right))
    words = ("everything", "hole", "rectangles", "region", "share", "small", "large", "brighter", "lung", "outline")
    return judge_check(raw, *words)


def mhd(raw, name):
    for end in ("mhd", "raw"):
        file = raw / f"{name}.{end}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"ObjectType = Image\nNDims = 3\n" if end == "mhd" else bytes(500))


CHALLENGES = {
    "VESSEL12": ("Scans/VESSEL12_{:02}", "Lungmasks/VESSEL12_{:02}"), "LOLA11": ("lola11-{:02}", None),
    "EMPIRE10": ("scans/{:02}_Fixed", "lungMasks/{:02}_Fixed"), "LNDb": ("data/LNDb-{:04}", "masks/LNDb-{:04}_rad1"),
}  # fmt: skip


@cases("A challenge's .mhd and .raw: {}, to prepare.", CHALLENGES)
def challenges(folder, places):
    raw = folder / "set"
    for place in filter(None, places):
        for number in range(4):
            mhd(raw, place.format(number))
    return judge_set(raw, ".mhd", "convert")


@cases("A challenge's .mhd and .raw: {}, to segment and to score.", CHALLENGES)
def challenges_scored(folder, places):
    raw = folder / "set"
    for place in filter(None, places):
        for number in range(4):
            mhd(raw, place.format(number))
    shutil.copytree(raw, folder / "other")
    status, said = run_all(folder, "segment set --out out", "score set other")
    return judge_said(status, said, 2, ".mhd", "convert")._replace(
        verdict="explained" if said.count(".mhd") > 1 and said.count("convert") > 1 else "wrong"
    )


# Right: the whole lungs of each, and four patients; or a finding.
def grey_volume(raw):
    file = sorted((raw / "images").iterdir())[0]
    picture = nibabel.load(file)
    grey = np.clip((picture.get_fdata() + 1000) * 255 / 1400, 0, 255).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(grey, picture.affine), file)


def shifted(raw):
    file = sorted((raw / "masks").iterdir())[0]
    picture, affine = nibabel.load(file), AFFINE.copy()
    affine[:3, 3] = 100
    nibabel.save(nibabel.Nifti1Image(np.asarray(picture.dataobj), affine), file)


def rounded(raw):
    file = sorted((raw / "masks").iterdir())[0]
    picture, affine = nibabel.load(file), AFFINE.copy()
    affine[0, 0] += 1e-6
    nibabel.save(nibabel.Nifti1Image(np.asarray(picture.dataobj), affine), file)


def coarse(raw):
    file = sorted((raw / "masks").iterdir())[0]
    picture, affine = nibabel.load(file), AFFINE.copy()
    affine[0, 0] *= 1.2
    nibabel.save(nibabel.Nifti1Image(np.asarray(picture.dataobj), affine), file)


def axes_swapped(raw):
    file = sorted((raw / "masks").iterdir())[0]
    picture = nibabel.load(file)
    nibabel.save(nibabel.Nifti1Image(np.asarray(picture.dataobj).transpose(2, 1, 0), picture.affine), file)


def half_labelled(raw):
    file = sorted((raw / "masks").iterdir())[0]
    picture = nibabel.load(file)
    mask = np.asarray(picture.dataobj).copy()
    mask[..., :2] = 0
    nibabel.save(nibabel.Nifti1Image(mask, picture.affine), file)


def cropped(raw):
    file = sorted((raw / "masks").iterdir())[0]
    picture = nibabel.load(file)
    nibabel.save(picture.slicer[10:80, 10:80], file)


def nan_volume(raw):
    file = sorted((raw / "images").iterdir())[0]
    picture = nibabel.load(file)
    nibabel.save(nibabel.Nifti1Image(np.full(picture.shape, np.nan, np.float32), picture.affine), file)


def constant_volume(raw):
    file = sorted((raw / "images").iterdir())[0]
    picture = nibabel.load(file)
    nibabel.save(nibabel.Nifti1Image(np.full(picture.shape, -1024, np.int16), picture.affine), file)


def time_points(raw):
    file = sorted((raw / "images").iterdir())[0]
    picture = nibabel.load(file)
    array = np.stack([np.asarray(picture.dataobj)] * 3, -1)
    nibabel.save(nibabel.Nifti1Image(array, picture.affine), file)


SPOILT = {
    "one of 0 to 255 among HU": (grey_volume, None),
    "a mask 100 mm away": (shifted, ["position", "lies", "place", "grid"]), "a rounded affine": (rounded, None),
    "a mask with another spacing": (coarse, ["spacing", "grid"]),
    "a mask with its axes swapped": (axes_swapped, ["voxels"]),
    "a mask of half the slices": (half_labelled, ["empty", "slices"]), "a cropped mask": (cropped, ["voxels"]),
    "an image of NaN": (nan_volume, ["none of its values is a number"]),
    "an image of one value": (constant_volume, ["one value", "constant", "one grey", "contrast"]),
    
    "an image of three times": (time_points, ["volumes"]),
}  # fmt: skip


@cases("Volumes of which one is odd: {}.", SPOILT)
def odd_volume(folder, kind):
    change, words = kind
    raw = write_niftis(folder / "set", "images/{:03}.nii.gz", {"masks/{:03}.nii.gz": both})
    change(raw)
    return judge_check(raw, *words) if words else judge_volumes(raw)


# Layouts of volumes that published archives have.
LAYOUTS = {
    "TotalSegmentator's output beside the scans": ("scans/{:03}.nii.gz", {
        "out/{:03}/lung_upper_lobe_left.nii.gz": one, "out/{:03}/lung_lower_lobe_right.nii.gz": other,
        "out/{:03}/heart.nii.gz": infected}),
    "VESSEL12 as NIfTI": ("Scans/VESSEL12_{:02}.nii.gz", {"Lungmasks/VESSEL12_{:02}.nii.gz": both}),
    "EMPIRE10 as NIfTI": ("scans/{:02}_Fixed.nii.gz", {"lungMasks/{:02}_Fixed.nii.gz": both}),
    "LUNA16's subsets": ("subset0/1.3.6.1.4.1.1452{:03}.nii.gz",
        {"seg-lungs-LUNA16/1.3.6.1.4.1.1452{:03}.nii.gz": two}),
    "PleThora": ("CT/LUNG1-{0:03}.nii.gz",
        {"Thoracic_Cavities/LUNG1-{0:03}/LUNG1-{0:03}_thor_cav_primary_reviewer.nii.gz": both}),
    "RedBrick AI": ("images/case{0}.nii.gz", {"segmentations/case{0}/segmentation.nii.gz": both}),
    "MONAI Label's datastore": ("case{:03}.nii.gz", {"labels/final/case{:03}.nii.gz": both}),
    "MITK": ("case{:03}.nii.gz", {"case{:03}_Lung.nii.gz": both}),
    "Lung and Airway": ("img/{:03}.nii.gz", {"lung/{:03}.nii.gz": both, "airway/{:03}.nii.gz": infected}),
    "masks of left and right lung in two folders": ("ct/{:03}.nii.gz",
        {"lung_left/{:03}.nii.gz": one, "lung_right/{:03}.nii.gz": other}),
    "nnU-Net's predictions beside": ("imagesTr/l_{:03}_0000.nii.gz",
        {"labelsTr/l_{:03}.nii.gz": both, "predictionsTs/l_{:03}.nii.gz": infected}),
    "a lesion file that is called mask": ("ct/{:03}.nii.gz",
        {"masks/{:03}_lung.nii.gz": both, "masks/{:03}_lesion.nii.gz": infected}),
    "effusion beside lungs": ("ct/{:03}.nii.gz",
        {"masks/{:03}_lungs.nii.gz": both, "masks/{:03}_effusion.nii.gz": infected}),
}  # fmt: skip


@cases("Volumes in the layout of {}.", LAYOUTS)
def volume_layouts(folder, kind):
    raw = write_niftis(folder / "set", *kind)
    result = judge_volumes_and_patients(raw)
    said = result.said
    return result._replace(verdict="explained") if "no image with a mask found; put images in" in said else result
