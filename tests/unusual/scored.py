"""Masks of programs to score: an organ a file, labels of other organs, folders with other files, and outlines."""

import numpy as np
from scipy import ndimage

from lungnb.evaluation.external import ScoreOptions, score_folders
from unusual import case, cases, explained_by
from unusual.downloads import HEART, with_airways
from unusual.exports import save
from unusual.sets import COUNT, SIZE, judge_folders, nifti, phantoms, slices

UPPER = np.arange(SIZE)[:, None] < SIZE // 2


def judge_program(folder, write, *words):
    for number, (image, left, right) in enumerate(phantoms(), 1):
        save(folder / "truth" / f"{number:03}.png", left | right)
        write(folder / "masks", f"{number:03}", image, left, right)
    return judge_folders(folder, COUNT, *words)


def organs(names):
    """Return a function that writes a file for each organ, whose `names` have the case; lungs are left and right."""

    def write(folder, name, _, left, right):
        for organ, place in names.items():
            parts = {
                "left lung": right,
                "right lung": left,
                "both": left | right,
                "right upper zone lung": left & UPPER,
            }
            part = parts.get(organ, HEART)
            save(folder / place.format(name), part)

    return write


SIDES = ("left lung", "right lung")
CXAS = {name: f"{{}}/{name}.png" for name in (*SIDES, "heart", "spine", "right upper zone lung")}
XRV = {name: f"{{}}_{name.title()}.png" for name in (*SIDES, "left hilus pulmonis", "heart")}
XRV_FOLDERS = {name: f"{name.title()}/{{}}.png" for name in (*SIDES, "left hilus pulmonis", "heart")}
CVAT = {"both": "SegmentationClass/{}.png", "heart": "SegmentationObject/{}.png"}


def labels(*values):
    """Return a function that writes label maps: values of the left and the right lung, and of the heart."""

    def write(folder, name, _, left, right):
        mask = np.where(HEART & ~(left | right), values[2], left * values[0] + right * values[1])
        save(folder / f"{name}.png", mask.astype(np.uint8))

    return write


def lobes(folder, name, _, left, right):
    mask = (left & UPPER) + 2 * (left & ~UPPER) + 4 * (right & UPPER) + 5 * (right & ~UPPER)
    save(folder / f"{name}.png", mask.astype(np.uint8))


def of_nnunet(folder, name, _, left, right):
    save(folder / f"{name}.png", (left | right).astype(np.uint8))
    for file in (f"{name}.npz", f"{name}.pkl", "dataset.json", "plans.json", "predict_from_raw_data_args.json"):
        (folder / file).write_text("{}")


def outlines(folder, name, _, left, right):
    lungs = left | right
    save(folder / f"{name}.png", ndimage.binary_dilation(lungs) & ~ndimage.binary_erosion(lungs))


PROGRAMS = {
    "CXAS, a file for each organ": (organs(CXAS),), "torchxrayvision, a file for each organ": (organs(XRV),),
    "torchxrayvision, a folder for each organ": (organs(XRV_FOLDERS),),
    "CVAT, classes and objects": (organs(CVAT), "both of the name"),
    "lung 1 and heart 2": (labels(1, 1, 2), "label 2 lies", "--labels 1."),
    "lungs 1 and 2, heart 3": (labels(1, 2, 3), "label 3 lies", "--labels 1,2."),
    "lobes 1 to 5": (lobes,), "nnU-Net": (of_nnunet,), "outlines": (outlines, "outline"),
}  # fmt: skip


@cases("Scored masks of {}.", PROGRAMS)
def programs(folder, kind):
    write, *words = kind
    return judge_program(folder, write, *words)


# Right: the words for predictions do not count.
NAMES = ("{:03}_pred", "predicted_mask_{:03}", "{:03}_OUT", "prediction/{:03}_result")


@cases("Scored masks named {}.", {name.format(1): name for name in NAMES})
def names(folder, name):
    return judge_program(folder, lambda place, number, _, left, right: save(
        place / f"{name.format(int(number))}.png", (left | right) * np.uint8(255)))  # fmt: skip


@case
def truth_of_one_label(folder):
    """Scored against a ground truth of two labels, of which one is named."""  # a sentence with the labels
    for number, (_, left, right) in enumerate(phantoms(), 1):
        save(folder / "truth" / f"{number:03}.png", (left + 2 * right).astype(np.uint8))
        save(folder / "masks" / f"{number:03}.png", left | right)
    options = ScoreOptions(truth_labels=[1])
    said = score_folders(folder / "truth", [folder / "masks"], options, progress=False).problem_lines()
    return explained_by(" ".join(said), "ground truth: the masks seem to lack", "masks have label 1 and label 2.")


@cases("Scored against a ground truth of lung 1 and heart {}.", {"2": 2, "0": 0})
def truths(folder, heart):
    for number, (image, left, right) in enumerate(phantoms(), 1):
        labels(1, 1, heart)(folder / "truth", f"{number:03}", image, left, right)
        save(folder / "masks" / f"{number:03}.png", left | right)
    return judge_folders(folder, COUNT, *(("--truth-labels 1.",) if heart else ()))


@cases("Scored volumes of {}.", {"LUNA16": (3, 4, 5), "StructSeg": (1, 2, 5)})
def volumes(folder, values):  # a sentence with the labels of the lungs
    for number, (_, left, right, trachea) in enumerate(with_airways()):
        nifti(folder / "truth" / f"c{number}.nii.gz", (left | right).astype(np.uint8))
        mask = left * values[0] + right * values[1] + trachea * values[2]
        nifti(folder / "masks" / f"c{number}.nii.gz", mask.astype(np.uint8))
    return judge_folders(folder, 4, f"--labels {values[0]},{values[1]}.")


@cases("Scored files of TotalSegmentator, {}.", {"a file for each lobe": True, "all organs in one": False})
def totalsegmentator(folder, has_files):  # the lungs, or a sentence with the labels
    for number, (_, left, right) in enumerate(slices()):
        nifti(folder / "truth" / f"c{number}.nii.gz", (left | right).astype(np.uint8))
        parts = {"lung_upper_lobe_left": right & UPPER, "lung_lower_lobe_left": right & ~UPPER}
        parts |= {"lung_lower_lobe_right": left, "heart": HEART, "trachea": HEART}
        if has_files:
            for name, part in parts.items():
                nifti(folder / "masks" / f"c{number}" / f"{name}.nii.gz", part.astype(np.uint8))
        else:
            mask = np.where(left, 12, np.where(right, 10, 51 * HEART))
            nifti(folder / "masks" / f"c{number}.nii.gz", mask.astype(np.uint8))
    return judge_folders(folder, 4, *(() if has_files else ("labels", "51")))
