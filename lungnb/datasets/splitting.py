"""Assign images to patients, groups and splits, from names, folders, a table, or a published split."""

import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from lungnb.artefacts import raw_folder
from lungnb.datasets.dealing import deal_folds, deal_splits
from lungnb.datasets.file_names import CHANNEL
from lungnb.datasets.pairing import Excluded, Pair
from lungnb.datasets.pixel_sizes import PIXEL_SIZE, with_pixel_sizes
from lungnb.datasets.user_tables import SAVE_AS_CSV, TRAITS, read_user_table
from lungnb.files import text_name
from lungnb.formats.folders import stem_of
from lungnb.formats.tables import unescape
from lungnb.settings import SPLITS, Settings

# What some lists have at the end of ids: nnU-Net's channel, or the decimal that spreadsheets give to whole numbers
_ENDING = re.compile(rf"{CHANNEL.pattern}|(?<=\d)\.0$")
Table = dict[str, tuple[Any, ...]]  # the values of the fields that a table sets, by id


def assign_patients(pairs: list[Pair], patient_file: str | Path | None) -> tuple[list[Pair], Excluded]:
    """Return the pairs with the patients in `patient_file`, if there is one, and the images that it does not list.

    The file is a CSV with the columns `id` (an image's name, with or without its suffix) and `patient`, such as a
    manifest. It may also have the columns `group`, `sex` and `age`, and the pixel size of files that do not state it
    (`with_pixel_sizes`). Their cells may be empty. The pixel sizes in a manifest are not used, because they are those
    of prepared images. Raises FileNotFoundError without the file, ValueError if it has another form, lists no image, or
    has ids that lost the zeros in front of numbers.
    """
    if not patient_file:
        return pairs, []
    file = Path(patient_file)
    table, more = read_user_table(file, "patient"), [*TRAITS]
    if not _is_manifest(table):
        table, more = with_pixel_sizes(table, file), [*TRAITS, PIXEL_SIZE]
    return _assigned(pairs, file, table, ["patient", *(name for name in more if name in table)])


def assign_splits(
    pairs: list[Pair], settings: Settings, earlier: Mapping[str, str] | None = None
) -> tuple[list[Pair], Excluded]:
    """Return the pairs with their splits, and the images that the split file does not list.

    `settings.split_file` decides first; it is a CSV with the columns `id` and `split`, such as a `manifest.csv`, and
    a warning says that a column `patient` is not used. Next come the folders, if each image is in one named after a
    split; a split without a folder gets patients of the training folder. Otherwise patients are dealt to the splits
    group by group; those in `earlier` keep the split that they have there. Raises FileNotFoundError without the file,
    ValueError if it has another form, or for fewer patients than splits.
    """
    if settings.split_file:
        file = split_path(settings.split_file, settings.dataset)
        table = read_user_table(file, "split")
        if unknown := sorted({*table["split"]} - {*SPLITS}):
            raise ValueError(f"{file}: split must be one of {', '.join(SPLITS)}, not {unknown[0]!r}.")
        if "patient" in table and not _is_manifest(table) and not settings.patient_file:
            what = f"{file}: its column patient is not used; to use it, set patient_file to this file, too."
            warnings.warn(what, stacklevel=2)
        return _assigned(pairs, file, table, ["split"])
    group_of = groups_of_patients((pair.patient, pair.group) for pair in pairs)
    try:
        if has_split_folders(pairs) and not settings.folds:
            return _with_missing_splits(pairs, settings.split_fractions), []
        if settings.folds:
            splits = deal_folds(group_of, settings.folds, settings.fold, settings.split_fractions)
        else:
            splits = deal_splits(group_of, settings.split_fractions, earlier)
    except ValueError as error:
        raise ValueError(f"{settings.dataset}: {error}") from error
    return [pair._replace(split=splits[pair.patient]) for pair in pairs], []


def has_split_folders(pairs: list[Pair]) -> bool:
    """Return whether the folders of all images are named after splits, and some of them after `train`."""
    splits = {pair.split for pair in pairs}
    return "" not in splits and "train" in splits


def groups_of_patients(rows: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the group of each patient from rows of patient and group: the most frequent one of the patient's images.

    Example:
        >>> groups_of_patients([("a", "sick"), ("a", "sick"), ("a", ""), ("b", "")])
        {'a': 'sick', 'b': ''}
    """
    counts: dict[str, Counter[str]] = {}
    for patient, group in rows:
        counts.setdefault(patient, Counter())[group] += 1
    return {patient: max(sorted(of), key=lambda group: of[group]) for patient, of in counts.items()}


def _with_missing_splits(pairs: list[Pair], split_fractions: tuple[float, ...]) -> list[Pair]:
    """Return pairs with the splits of their folders; deal some training patients to splits without a folder."""
    there = {pair.split for pair in pairs}
    shares = zip(SPLITS, split_fractions, strict=True)
    missing = {split: share for split, share in shares if share and split not in there}
    if not missing:
        return pairs
    group_of = groups_of_patients((pair.patient, pair.group) for pair in pairs if pair.split == "train")
    if len(group_of) <= len(missing):
        raise ValueError(
            f"{len(group_of)} patients in the folder for training are too few to give some of them to a split that has "
            "no folder."
        )
    train = 1 - sum(missing.values())
    splits = deal_splits(group_of, (train, *(missing.get(split, 0.0) for split in SPLITS[1:])))
    return [pair._replace(split=splits[pair.patient]) if pair.split == "train" else pair for pair in pairs]


def split_path(split_file: str, dataset: str) -> Path:
    """Return the path of the split file: a published split, a file in the raw folder, or another path."""
    published, in_raw = Path(__file__).parent / "splits" / f"{split_file}.csv", raw_folder(dataset) / split_file
    return next((path for path in (published, in_raw) if path.exists()), Path(split_file))


def _is_manifest(table: pd.DataFrame) -> bool:
    return "source_image" in table


def _assigned(pairs: list[Pair], file: Path, table: pd.DataFrame, fields: list[str]) -> tuple[list[Pair], Excluded]:
    """Return the pairs with the fields that the table in a file sets, and the images that it does not list.

    Raises ValueError if it gives an id two values of one field, or as `_refuse_other_ids` says.
    """
    for name in fields:
        value_counts = table.groupby("id")[name].nunique()
        if (value_counts > 1).any():
            raise ValueError(f"{file}: {value_counts.idxmax()} has more than one {name}; keep one of its rows only.")
    listed = _values_by_id(table, fields)
    names_of = {
        pair.image: [unicodedata.normalize("NFC", name) for name in (pair.image.as_posix(), pair.id, pair.image.name)]
        for pair in pairs
    }
    loose = _by_short_name(listed, {name for names in names_of.values() for name in names})
    bare = _by_short_name(loose, set(), _ENDING)
    assigned: list[Pair] = []
    unlisted: Excluded = []
    for pair in pairs:
        short = pair.id.casefold()
        values = next((listed[name] for name in names_of[pair.image] if name in listed), loose.get(short))
        values = values or bare.get(CHANNEL.sub("", short))
        if values is None:
            unlisted.append((str(pair.image), f"not in the {fields[0]} file"))
        else:
            assigned.append(pair._replace(**dict(zip(fields, values, strict=True))))
    _refuse_other_ids(file, [*table["id"]], loose, pairs, assigned)
    return assigned, unlisted


def _values_by_id(table: pd.DataFrame, fields: list[str]) -> Table:
    """Return the values of the fields by id; in a manifest, each slice of a volume has an id, and the volume a name."""
    is_manifest = _is_manifest(table)
    rows = [*table[fields].itertuples(index=False, name=None)]
    rows = [tuple(text_name(unescape(cell)) for cell in row) for row in rows] if is_manifest else rows
    cells = [*zip(table["id"], rows, strict=True)]
    cells += zip(table["source_image"], rows, strict=True) if is_manifest else []
    # A cell is a name as it is, or else an encoded name.
    return {unescape(name): values for name, values in cells} | dict(cells)


def _by_short_name(listed: Table, names: set[str], ending: re.Pattern[str] | None = None) -> Table:
    """Return the values of ids that no image has as its name, by the id without folders, suffix, capitals and spaces.

    The short name also lacks an `ending`. Ids of one short name with different values are left out.
    """
    values: Table = {}
    doubtful: set[str] = set()
    for name in listed.keys() - names:
        short = stem_of(Path(name.strip().replace("\\", "/"))).casefold()
        short = ending.sub("", short) if ending else short
        if values.setdefault(short, listed[name]) != listed[name]:
            doubtful.add(short)
    return {short: value for short, value in values.items() if short not in doubtful}


def _refuse_other_ids(
    file: Path, ids: list[str], loose: Collection[str], pairs: list[Pair], assigned: list[Pair]
) -> None:
    """Raise ValueError if a table lists no image, or lists images without the zeros in front of their numbers."""
    missing = {pair.id for pair in pairs} - {pair.id for pair in assigned}
    short_of = {name: re.sub(r"(?<!\d)0+(?=\d)", "", name).casefold() for name in sorted(missing)}
    lost = [(short, name) for name, short in short_of.items() if short in loose]
    if lost or (missing and not assigned):
        what = "some of its ids are no images" if assigned else "none of its ids is an image"
        listed, image = lost[0] if lost else (ids[0] if ids else "no row", pairs[0].id)
        cause = "A spreadsheet drops zeros in front: format the column id as text, and write" if lost else "Write"
        remedy = f"{cause} the names of the images into it. {SAVE_AS_CSV}"
        raise ValueError(f"{file}: {what}: it has {listed}, the images {image}. {remedy}")
