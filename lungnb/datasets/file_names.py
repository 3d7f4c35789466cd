"""What the names of files and folders say: image or mask, its words, its side, its split."""

import re
from itertools import chain
from pathlib import Path
from unicodedata import normalize

from lungnb.formats.folders import stem_of

_WORD = r"(?:lung)?(?:mask|msk|label|seg|segmentation|annotation|gt|ground[-_ ]?truth)s?"  # which names a mask
# SegmentationClass and SegmentationObject: Pascal VOC's, which CVAT and LabelMe export; seg-lungs-LUNA16: LUNA16's
MASK_FOLDER = re.compile(
    r"(?i)mask|(?<![a-z])msk(?![a-z])|label|annot$|^seg[-_ ]lungs?(?![a-z])"
    rf"|^(ann[-_]dir|{_WORD}|segmentation(class(png)?|object))$"
)
_MASK_SUFFIX = re.compile(rf"[-_ .](?i:{_WORD})$|(?<=[a-z0-9])(?:Mask|Label|Seg|Segmentation|GT)s?$")
_MASK_PREFIX = re.compile(rf"^{_WORD}(?=[-_ .\d]|$)", re.IGNORECASE)
IMAGE_FOLDER = re.compile(r"^(image|img|picture|slice)s?(Tr|Ts)?$", re.IGNORECASE)  # imagesTr and imagesTs: nnU-Net's
_PREDICTED_FOLDER = re.compile(r"^(pred|preds|predictions?|infer)(Tr|Ts)?$", re.IGNORECASE)
CHANNEL = re.compile(r"_0000$")  # nnU-Net's first channel, which the name of the mask lacks
OTHER_CHANNEL = re.compile(r"_000[1-9]$")
# Words in names that do not tell one image from another
KIND_WORDS = re.compile(
    rf"{_WORD}|ground|truths?|manual|(image|img|im|picture|slice|scan|volume|film|xray)s?|ct|cxr|chest|dicom"
    r"|orig(inal)?|org|data|jpe?g|png|bmp|tiff?|gif|dcm|nii|gz"
)
_LEFT, _RIGHT = "l|left|leftlung|lungleft", "r|right|rightlung|lungright"
_PARTS = f"lungs?|{_LEFT}|{_RIGHT}|both|upper|middle|lower|lobes?"
LUNG_WORDS = re.compile(f"{KIND_WORDS.pattern}|{_PARTS}")
# Words that even a name without other words does not need
MASK_WORD, MASK_WORDS = re.compile(_WORD), re.compile(f"{_WORD}|{_PARTS}")
_SPLIT_FOLDERS = dict.fromkeys(("train", "training", "trainval", "imagestr"), "train")
_SPLIT_FOLDERS |= dict.fromkeys(("test", "testing", "imagests"), "test")
_SPLIT_FOLDERS |= dict.fromkeys(("val", "valid", "validation", "dev"), "validation")
# What folders of splits may have, too: a number in front or in brackets, a year, a version, a stage, or `set` without a
# blank
_BESIDE_SPLIT = re.compile(
    r"^\d{1,2}[-_. ]+|\(\d+\)$|(19|20)\d\d|[-_ ]?v\d+$|stage[-_ ]?\d+|(?<=[a-z])(data)?sets?$", re.IGNORECASE
)
# Other words that the name of a folder of a split may have
_SET_WORDS = re.compile(f"{KIND_WORDS.pattern}|(data)?set|split|final|full|all|new|lungs?|frames?")
Words = tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]  # what folders and file names tell, as words


def words_of(path: Path, ignored: re.Pattern[str], is_flat: bool = False) -> Words:
    """Return the words in the names of a file's folders and in its own name, in small letters, except `ignored` ones.

    The words of the last folder are also left out at the beginning of the file's name. If `is_flat`, the words of the
    folders are returned as if they stood in the file's name.

    >>> words_of(Path("masks/Case 7/case7_rightLung.png"), LUNG_WORDS)
    ((('case', '7'),), ())
    """
    place = tuple(filter(None, (_words(folder, LUNG_WORDS) for folder in path.parent.parts)))
    name = _words(stem_of(path), ignored)
    if place and name[: len(place[-1])] == place[-1]:
        name = name[len(place[-1]) :]
    return ((), (*chain(*place), *name)) if is_flat else (place, name)


def sides_of(path: Path) -> set[str]:
    """Return which lungs a file or its folders are named after: `left`, `right`, both or none.

    >>> sides_of(Path("left/film.png")), sides_of(Path("film_R.png")), sides_of(Path("film.png"))
    ({'left'}, {'right'}, set())
    """
    words = {word for part in (*path.parent.parts, stem_of(path)) for word in _words(part, MASK_WORD)}
    return {side for side, names in (("left", _LEFT), ("right", _RIGHT)) if words & {*names.split("|")}}


def _words(text: str, ignored: re.Pattern[str]) -> tuple[str, ...]:
    """Return the words and numbers in a name, in small letters, except `ignored` ones."""
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", CHANNEL.sub("", normalize("NFC", text))).casefold()
    return tuple(word for word in re.findall(r"\d+|[^\W\d_]+", text) if not ignored.fullmatch(word))


def is_mask(path: Path) -> bool:
    """Return whether a path in a raw folder is a mask, by the names of its folders and its own."""
    if _MASK_SUFFIX.search(stem_of(path)):
        return True
    # The folder nearest to the file decides: labeled/images/ holds images.
    for folder in reversed(path.parent.parts):
        if IMAGE_FOLDER.match(folder):
            return False
        if MASK_FOLDER.search(folder):
            return True
    return bool(_MASK_PREFIX.search(stem_of(path)))


def is_prediction(path: Path) -> bool:
    """Return whether a path in a raw folder is in a folder named after predictions."""
    return any(map(_PREDICTED_FOLDER.match, path.parent.parts))


def shared_name(path: Path) -> str:
    """Return the name that an image and its masks share, with each umlaut as one character (macOS uses two)."""
    return normalize("NFC", _MASK_SUFFIX.sub("", stem_of(path)))


def split_of(folder: str) -> str:
    """Return the split that a folder is named after, with words such as `images` or `set` or without; "" for others.

    >>> split_of("org_test"), split_of("Training Set"), split_of("val2017"), split_of("test 7"), split_of("no_test")
    ('test', 'train', 'validation', '', '')
    """
    words = _words(_BESIDE_SPLIT.sub(" ", folder), _SET_WORDS)
    return _SPLIT_FOLDERS.get(folder.lower(), _SPLIT_FOLDERS.get(words[0], "") if len(words) == 1 else "")


def split_of_path(image: Path) -> str:
    """Return the split that the first folder named after one tells; "" if there is none."""
    return next(filter(None, map(split_of, image.parts[:-1])), "")


def is_of_lungs(mask: Path, image: Path) -> bool:
    """Return whether a mask's folders, from the first one named after masks, contain the word lung, or its name does.

    Words that the image's name contains too do not count.
    """
    parts = mask.parent.parts
    first = next((number for number, part in enumerate(parts) if MASK_FOLDER.search(part)), 0)
    return "lung" in " ".join(parts[first:]).lower() or "lung" in stem_of(mask).lower().replace(
        shared_name(image).lower(), ""
    )
