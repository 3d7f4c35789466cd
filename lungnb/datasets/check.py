"""Check a data set before training: find what is wrong, in which raw or prepared file, and say what to do."""

import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage
from tqdm import tqdm

from lungnb.artefacts import MANIFEST, raw_folder
from lungnb.datasets.copies import Fingerprints, find_copies, fingerprint, stack
from lungnb.datasets.file_names import split_of
from lungnb.datasets.pairing import CHANNELS, DERIVED, PREDICTED
from lungnb.datasets.patient_names import repeated_folders, without_studies_of
from lungnb.datasets.prepare import prepare_dataset
from lungnb.datasets.prepared import ManifestRow, Prepared, open_prepared
from lungnb.datasets.reading import NONE_NEEDED, Finding
from lungnb.datasets.sources import find_source
from lungnb.formats.images import peculiarity, read_labels
from lungnb.formats.labels import EXPORT_AGAIN, doubt_of
from lungnb.formats.pixels import is_like_mask
from lungnb.formats.rasters import IMAGE_SUFFIXES, RASTER_FORMATS
from lungnb.masks import LUNG_SHARE, Mask, count_regions, is_outline
from lungnb.settings import SPLITS, Settings, counted

FINDING_COLUMNS = ("file", "severity", "what", "advice")
SEVERITIES = ("error", "warning", "note")
# Limits of a mask, as shares of the image unless something else is said
_FULL_MASK_SHARE = 0.95
_INVERTED_SHARE = 0.5  # an inverted mask covers more than this of the image and of its edge
_MAX_EDGE_SHARE = 0.15  # of the image's edge; lungs touch less, the air around a body touches more
_MIN_HALF_SHARE = 0.05  # of the mask, in the left or the right half of the image
_MAX_REGIONS = 3
_BOX_SHARE = 0.98  # of the rectangles around the regions of a mask; lungs fill less of theirs
_RIM_SHARE = 0.04  # of the longer side: width of the rim with which the lungs' brightness is compared
_HOLE_SHARE = 0.008  # of the mask: a hole in it that is as dark as lung; airways are smaller
_HOLE_CONTRAST = 0.3  # such a hole is no brighter than this share of the way from the lungs to their surroundings
_LARGE_HOLE_SHARE = 0.1  # of the mask: a hole in it, however bright; vessels are smaller
# Pixels of a mask file whose value is not near a label: JPEG makes some, soft borders more, and a picture most
_MAX_GREY_SHARE, _MAX_SOFT_SHARE = 0.05, 0.2
_MIN_CONTRAST = 2  # standard deviation of an image's greys
_MIN_SPLIT_PATIENTS = 5  # with fewer, the scores of a split mean little
_MAX_CLASS_FOLDERS, _MIN_CLASS_IMAGES = 5, 10  # at most so many folders, at least so many images in each: classes
_MIN_PATIENT_FOLDERS, _MIN_PATIENT_IMAGES = 3, 2  # at least so many folders, and images in each: patients

_PATIENT_BEGINNING = r"^(\D*\d+)"  # what may name the patient in the names of images
_BEGINNING = re.compile(rf"{_PATIENT_BEGINNING}(?=[-_ ])")
_FOLD_FOLDER = re.compile(r"(cv|folds?)[-_ ]?\d+", re.IGNORECASE)

_KEEP_SPLITS = "to keep these splits, list id and split of each image in a CSV, and set split_file"
_SHARPEN = "look at it in the gallery; if its outline is wrong, save lungs as 255 and everything else as 0"
_MEND = "mend it, then run this again"
_LOOK = "look at it in the gallery; mend it, or take both files out"
_MAX_PATIENT_SHARE = 0.6  # of the images
_OF_GROUPS = "splits are dealt by the more frequent one; in scores, each image counts in its own group"
_TORN = {  # columns of which a patient has one value, and the severity, what and the advice if there are several
    "split": ("warning", "images in the splits {}: scores will be too high", "move the patient to one split"),
    "group": ("note", f"the groups {{}}: {_OF_GROUPS}", "check that this is meant"),
    "sex": ("warning", "the sexes {}: one of them is wrong", "write one sex in all rows of the patient"),
}
_SMALL_GROUP = "add patients, or do not report scores of this group"
_ADVICE = {  # by what a reason begins with
    "no mask of this name": "add its mask, or rename one of the two",
    "no image of this name": "add its image, or rename one of the two",
    "another organ's": "none needed",
    PREDICTED: "none needed",
    DERIVED: "if it was not made from that image, rename one of the two",
    CHANNELS: "none needed, if the first channel is the CT or the film; otherwise rename the channels",
}


def check_dataset(settings: Settings, progress: bool = True) -> pd.DataFrame:
    """Prepare and check a data set; return a table with one row per finding, empty if nothing is wrong.

    Severities: `error` if a file was left out or would spoil training, `warning` if a person should look at it, `note`
    if it was converted. Raises what `prepare_dataset` raises.
    """
    prepare_dataset(settings, progress)
    prepared = open_prepared(settings)
    manifest, raw = prepared.manifest, raw_folder(settings.dataset)
    source = find_source(settings.dataset)
    mask_values = settings.mask_values or source.mask_values
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        work = pool.map(lambda row: _check_pair(row, prepared, raw, mask_values), manifest.to_dict("records"))
        checked = list(tqdm(work, "Checking", len(manifest), unit="pair", file=sys.stdout, disable=not progress))
    findings = _left_out(prepared.excluded) + prepared.notes
    findings += [finding for of_pair, _ in checked for finding in of_pair]
    findings += _small_splits(manifest)
    if source.kind == "own" and not settings.patient_file and not settings.patient_pattern:
        findings += _doubtful_patients(manifest)
    if source.kind == "own" and not settings.split_file and not settings.folds:
        findings += _unused_splits(manifest)
    findings += _shared_masks(manifest)
    findings += _torn_patients(manifest)
    findings += _large_patient(manifest)
    findings += [(MANIFEST, "warning", what, _SMALL_GROUP) for what in prepared.small_groups()]
    findings += _copies(manifest, stack([image for _, image in checked]))
    findings.sort(key=lambda finding: SEVERITIES.index(finding[1]))
    return pd.DataFrame(findings, columns=FINDING_COLUMNS)


def _left_out(excluded: pd.DataFrame) -> list[Finding]:
    """Return a finding for each file that preparation left out."""
    findings = []
    for file, reason in excluded.to_numpy():
        severity = "warning" if reason.startswith(("no mask", "no image", "not in the", DERIVED)) else "error"
        advice = next((advice for start, advice in _ADVICE.items() if reason.startswith(start)), _MEND)
        severity = "note" if advice.startswith("none needed") else severity
        findings.append((file, severity, f"left out: {reason.removeprefix(f'{file}: ')}", advice))
    return findings


def _check_pair(
    row: ManifestRow, prepared: Prepared, raw: Path, mask_values: tuple[int, ...] | None
) -> tuple[list[Finding], Fingerprints]:
    """Return the findings of one pair, and its image's fingerprints."""
    image, mask = prepared.pair(row)
    sources = [row["source_image"], *row["source_mask"].split(";")]
    files = [source for source in sources if Path(source).suffix.lower() in IMAGE_SUFFIXES and (raw / source).is_file()]
    notes = ((file, peculiarity(raw / file)) for file in files)
    findings = [(file, "note", what, NONE_NEEDED) for file, what in notes if what]
    values = []
    if mask_values is None and all(Path(source).suffix.lower() in RASTER_FORMATS for source in sources[1:]):
        values = [read_labels(raw / file) for file in sources[1:]]
    grey = max((meant.grey_share for _, meant in values), default=0.0)
    is_swapped = grey > _MAX_GREY_SHARE and is_like_mask(image)
    if is_swapped or grey > _MAX_SOFT_SHARE:
        what = "image and mask may be swapped" if is_swapped else f"not a mask: {grey:.0%} of it is grey"
        findings.append((row["source_mask"], "error", what, "put images into images/ and masks into masks/"))
    elif image.std() < _MIN_CONTRAST:
        findings.append((row["source_image"], "error", "the image is of one grey", "take it out"))
    else:
        if grey > _MAX_GREY_SHARE:
            what = f"the mask has soft borders ({grey:.0%} of it is grey): lung is what is brighter than half"
            findings.append((row["source_mask"], "warning", what, _SHARPEN))
        findings += [(row["source_mask"], *judgement) for judgement in judge_mask(image, mask)]
        for file, (areas, meant) in zip(files[1:], values, strict=bool(values)):
            findings += [(file, *judgement) for judgement in _judge_labels(image, areas)]
            if doubt := doubt_of(Path(file), meant):
                findings.append((file, "warning", doubt, EXPORT_AGAIN))
    return findings, fingerprint(image)


def judge_mask(image: np.ndarray, mask: Mask) -> list[tuple[str, str, str]]:
    """Return severity, problem and advice for each problem that rules find in a mask.

    The image is uint8 and the mask bool, both `(height, width)`.

    Example:
        >>> image, mask = np.full((64, 64), 90, np.uint8), np.zeros((64, 64), bool)
        >>> judge_mask(image, mask)[0][1]
        'the mask is empty'
    """
    area = mask.mean()
    if not area:
        return [("warning", "the mask is empty", "right for a slice without lung; otherwise " + _LOOK)]
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean()
    if area > _FULL_MASK_SHARE:
        return [("error", "the mask covers everything", _LOOK)]
    if area > _INVERTED_SHARE and edge > _INVERTED_SHARE:
        return [("error", "the mask seems to be inverted: it covers the edge, not the middle", "invert it")]
    if edge > _MAX_EDGE_SHARE:
        return [("error", f"the mask touches {edge:.0%} of the image's edge, as air around a body does", _LOOK)]
    problems = []
    if not LUNG_SHARE[0] <= area <= LUNG_SHARE[1]:
        problems.append(f"the mask covers {area:.1%} of the image")
    left = mask[:, : mask.shape[1] // 2].sum() / mask.sum()
    if not _MIN_HALF_SHARE <= left <= 1 - _MIN_HALF_SHARE:
        problems.append("the mask is in one half of the picture: a lung may be missing")
    regions = count_regions(mask)
    if regions > _MAX_REGIONS:
        problems.append(f"the mask has {regions} regions; lungs have two")
    found = ndimage.find_objects(ndimage.label(mask)[0])
    boxes = sum(np.prod([side.stop - side.start for side in box]) for box in found)
    if mask.sum() > _BOX_SHARE * boxes:
        problems.append("the mask consists of rectangles, as boxes around lungs do")
    judgements = [("warning", problem, _LOOK) for problem in problems]
    lung_grey, rim_grey = _greys(image, mask)
    if lung_grey > rim_grey:
        judgements.append(("warning", "the mask is brighter than its surroundings", "invert the image, or " + _LOOK))
    holes, _ = ndimage.label(ndimage.binary_fill_holes(mask) & ~mask)
    sizes = np.bincount(holes.ravel())[1:] / mask.sum()
    if sizes.sum() > 1 and is_outline(mask):
        return [*judgements, ("warning", "the mask is an outline: what it encloses is not marked", "fill it")]
    for number in np.flatnonzero(sizes > _HOLE_SHARE) + 1:
        is_dark = image[holes == number].mean() < lung_grey + _HOLE_CONTRAST * (rim_grey - lung_grey)
        if is_dark or sizes[number - 1] > _LARGE_HOLE_SHARE:
            judgements.append(("warning", f"the mask has a hole of {sizes[number - 1]:.1%} of its area", _LOOK))
    return judgements


def _judge_labels(image: np.ndarray, areas: dict[str, Mask]) -> list[tuple[str, str, str]]:
    """Return a judgement for each label or colour that is brighter than its surroundings, if other ones are not."""
    resized = {name: np.asarray(Image.fromarray(area).resize(image.shape[::-1])) for name, area in areas.items()}
    greys = {name: _greys(image, area) for name, area in resized.items() if area.any()}
    bright = [name for name, (own, around) in greys.items() if own > around]
    advice = "if it is not lung, name those of lung in mask_values, or save the lungs as 1 and everything else as 0"
    bright = bright if len(bright) < len(greys) else []
    return [("warning", f"{name} is brighter than its surroundings", advice) for name in bright]


def _greys(image: np.ndarray, mask: Mask) -> tuple[float, float]:
    """Return the mean grey of a mask, which is not empty, and that of a rim around it; 255 if it has none."""
    rim = ndimage.binary_dilation(mask, iterations=max(round(_RIM_SHARE * max(mask.shape)), 1))
    rim &= ~ndimage.binary_fill_holes(mask)
    return float(image[mask].mean()), float(image[rim].mean()) if rim.any() else 255.0


def _small_splits(manifest: pd.DataFrame) -> list[Finding]:
    """Return a finding for each split with very few patients."""
    patients = manifest.groupby("split")["patient"].nunique()
    what = "{} in the {} split: scores on so few say next to nothing"
    return [
        (MANIFEST, "warning", what.format(counted(count, "patient"), split), "add images, or set folds=5")
        for split, count in patients.items()
        if split != "train" and count < _MIN_SPLIT_PATIENTS
    ]


def _torn_patients(manifest: pd.DataFrame) -> list[Finding]:
    """Return a finding for each patient with several splits, groups or sexes.

    A split file or folders may tear a patient apart, and rows of a patient file may disagree.
    """
    if "sex" in manifest:  # F, f and female are one
        manifest = manifest.assign(sex=manifest["sex"].str.strip().str[:1].str.upper())
    findings = []
    for column in [column for column in _TORN if column in manifest]:
        names = manifest[manifest[column] != ""].groupby("patient")[column].unique()
        for patient, several in names[names.map(len) > 1].items():
            severity, what, advice = _TORN[column]
            listed = " and ".join(sorted(several, key=SPLITS.index if column == "split" else str))
            findings.append((MANIFEST, severity, f"patient {patient} has {what.format(listed)}", advice))
    return findings


def _large_patient(manifest: pd.DataFrame) -> list[Finding]:
    """Return a finding if one patient has most of the images."""
    counts = manifest["patient"].value_counts()
    if len(counts) < len(SPLITS) or counts.iloc[0] <= _MAX_PATIENT_SHARE * len(manifest):
        return []
    what = f"patient {counts.index[0]} has {counts.iloc[0]} of {len(manifest)} images"
    if manifest.loc[manifest["patient"] == counts.index[0], "split"].nunique() == 1:
        what += ": one split is mostly theirs"
    return [(MANIFEST, "warning", what, "add patients, or leave out some of these images")]


def _doubtful_patients(manifest: pd.DataFrame) -> list[Finding]:
    """Return a finding if folders that are not patients may count as patients, or the other way round.

    The names of images may also begin with what may be a patient, such as `P7` in `P7_day2`.
    """
    if not manifest["source_image"].is_unique:  # slices of volumes
        return []
    repeated = repeated_folders(map(Path, manifest["source_image"]))
    places = manifest["source_image"].map(lambda file: without_studies_of(Path(file), repeated).parent)
    folder_of = places.map(str)
    images, patients, folders = len(manifest), manifest["patient"].nunique(), folder_of.nunique()
    least = _MIN_CLASS_IMAGES if folder_of.str.contains(r"\d").all() else _MIN_PATIENT_IMAGES
    if 1 < folders == patients <= _MAX_CLASS_FOLDERS and images >= least * patients:
        what = f"each of the {folders} folders of images is taken for a patient"
        return [(folder_of.iloc[0], "warning", what, "if each image is a patient, set patient_pattern='(.+)'")]
    if patients < images:
        return []
    severity = "warning" if images < _MIN_CLASS_IMAGES * folders else "note"
    if folders >= _MIN_PATIENT_FOLDERS and images >= _MIN_PATIENT_IMAGES * folders:
        what = f"images lie in {folders} folders, and each image is taken for a patient"
        below = "/[^/]+" * (len(Path(manifest["source_image"].iloc[0]).parts) - len(places.iloc[0].parts))
        advice = f"if each folder is a patient, set patient_pattern='([^/]+){below}$'"
        return [(folder_of.iloc[0], severity, what, advice)]
    return _shared_beginnings(manifest["source_image"])


def _shared_beginnings(sources: pd.Series) -> list[Finding]:
    """Return a finding if most names of images begin alike with a number, as those of one patient may."""
    beginnings = sources.map(lambda file: _BEGINNING.match(Path(file).stem)).dropna().map(lambda match: match[0])
    counts = beginnings.value_counts()
    several = counts[counts > 1]
    if len(several) < _MIN_PATIENT_FOLDERS or several.sum() < len(sources) / 2:
        return []
    first = several.index[0]
    what = f"{counts[first]} names of images begin with {first}, and each image is taken for a patient"
    severity = "warning" if len(sources) < _MIN_CLASS_IMAGES * len(counts) else "note"
    advice = f"if this is the patient, set patient_pattern='{_PATIENT_BEGINNING}'"
    return [(sources[beginnings[beginnings == first].index[0]], severity, what, advice)]


def _unused_splits(manifest: pd.DataFrame) -> list[Finding]:
    """Return a finding if folders are named after splits or folds, and do not count as such."""
    folders = [*dict.fromkeys(Path(file).parent for file in manifest["source_image"])]
    splits = {folder: {*map(split_of, folder.parts)} - {""} for folder in folders}
    named = [folder for folder in folders if splits[folder]]
    others = [folder for folder in folders if not splits[folder]]
    if named and (others or not any("train" in split for split in splits.values())):
        missing = f"{others[0]} is not" if others else "none after train"
        what = f"is named after a split, and {missing}: these folders are not used, and patients were dealt to splits"
        return [(str(named[0]), "warning", what, _KEEP_SPLITS)]
    folds = dict.fromkeys(part for folder in folders for part in folder.parts if _FOLD_FOLDER.fullmatch(part))
    if len(folds) > 1 and not named:
        what = f"{' and '.join([*folds][:2])} seem to be folds: they do not count, and patients were dealt to splits"
        return [(str(folders[0]), "warning", what, _KEEP_SPLITS)]
    return []


def _shared_masks(manifest: pd.DataFrame) -> list[Finding]:
    """Return a finding for each image that has the masks of an earlier one, as an overlay or an edited copy may."""
    pairs = manifest[["source_image", "source_mask"]].drop_duplicates()
    advice = "if it is an overlay, a prediction or an edited copy, take it out"
    first_of: dict[str, str] = {}
    findings: list[Finding] = []
    for image, mask in pairs.to_numpy():
        if (first := first_of.setdefault(mask, image)) != image:
            findings.append((image, "warning", f"has the same mask as {first}", advice))
    return findings


def _copies(manifest: pd.DataFrame, images: Fingerprints) -> list[Finding]:
    """Return a finding for each image that looks like an earlier one of another patient."""
    names = manifest["source_image"].to_numpy()
    pairs = find_copies(images, manifest["patient"].to_numpy())  # because images of one patient may be alike
    return [
        (names[later], "warning", f"looks like a copy of {names[first]}", "keep one, or make both one patient's")
        for first, later in pairs[["first", "second"]].sort_values(["second", "first"]).to_numpy()
    ]
