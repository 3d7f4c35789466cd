"""Assign images to patients and splits, from names, folders, a table, or a published split."""

from __future__ import annotations

import codecs
import hashlib
import io
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any  # of the field that a table sets

import numpy as np
import pandas as pd

from lungnb.artefacts import raw_folder
from lungnb.datasets.pairing import Excluded, Pair
from lungnb.files import need, text_name, unescape
from lungnb.formats.folders import stem_of
from lungnb.formats.opening import Refused, open_file
from lungnb.settings import SPLITS, Settings

_SALT = "lungnb/450/"  # of 3,000 salts, the one whose shares are nearest to 70/15/15 on the catalogue's small sets
MAX_TABLE_BYTES = 50_000_000  # larger tables of patients or splits are refused; a million images need about 30 MB
_SAVE = "Save it as CSV in UTF-8."
_MIN_FOLD_PATIENTS = 3  # per fold


def assign_patients(pairs: list[Pair], settings: Settings) -> tuple[list[Pair], Excluded]:
    """Return the pairs with the patients in `settings.patient_file`, if it is set, and the images it does not list.

    The file is a CSV with the columns `id` (an image's name, with or without its suffix) and `patient`, such as a
    manifest. Raises FileNotFoundError or ValueError for another file, ValueError for a file that lists no image, or
    whose ids have lost the zeros in front of numbers.
    """
    return _assigned(pairs, Path(settings.patient_file), "patient") if settings.patient_file else (pairs, [])


def assign_splits(pairs: list[Pair], settings: Settings) -> tuple[list[Pair], Excluded]:
    """Return the pairs with their splits, and the images that the split file does not list.

    `settings.split_file` decides first; it is a CSV with the columns `id` and `split`, such as a `manifest.csv`. Next
    come the folders, if each image is in one named after a split. Otherwise patients are split by their names. Raises
    FileNotFoundError or ValueError for another file, ValueError for fewer patients than splits.
    """
    if settings.split_file:
        return _assigned(pairs, split_path(settings), "split", SPLITS)
    if all(pair.split for pair in pairs) and any(pair.split == "train" for pair in pairs) and not settings.folds:
        return _with_missing_splits(pairs, settings), []
    assign = _folds_of if settings.folds else _splits_of
    splits = assign({pair.patient for pair in pairs}, settings)
    return [pair._replace(split=splits[pair.patient]) for pair in pairs], []


def split_of(patient: str, fractions: tuple[float, float, float]) -> str:
    """Return the split of a patient. It depends only on the name, so it is the same in every data set.

    Example:
        >>> {patient: split_of(patient, (0.7, 0.15, 0.15)) for patient in ("patient_2", "patient_3", "patient_6")}
        {'patient_2': 'train', 'patient_3': 'test', 'patient_6': 'validation'}
    """
    train, validation, _ = fractions
    place = _place(patient)
    return "train" if place < train else "validation" if place < train + validation else "test"


def _with_missing_splits(pairs: list[Pair], settings: Settings) -> list[Pair]:
    """Return pairs with the splits of their folders; move some training patients to splits without a folder."""
    patients = sorted({pair.patient for pair in pairs if pair.split == "train"}, key=_place)
    moved: dict[str, str] = {}
    for split, fraction in zip(SPLITS[1:], settings.split_fractions[1:], strict=True):
        if fraction and not any(pair.split == split for pair in pairs):
            count = max(round(fraction * len(patients)), 1)
            moved |= dict.fromkeys(patients[len(moved) : len(moved) + count], split)
    if len(moved) >= len(patients):
        raise ValueError(
            f"{settings.dataset}: {len(patients)} patients in the folder for training are too few to give some of "
            "them to a split that has no folder."
        )
    return [pair._replace(split=moved.get(pair.patient, "train")) if pair.split == "train" else pair for pair in pairs]


def _folds_of(names: set[str], settings: Settings) -> dict[str, str]:
    """Return the split of each patient in one fold. Each patient is in the test split of exactly one fold.

    Folds have the same size, because patients are dealt out in a fixed order; other patients may change a patient's
    fold. Training and validation share the rest in the ratio of their `split_fractions`.
    """
    if len(names) < _MIN_FOLD_PATIENTS * settings.folds:
        raise ValueError(
            f"{settings.dataset}: {settings.folds} folds need three patients each, and {len(names)} are few."
        )
    in_order = sorted(names, key=_place)
    rest = [name for number, name in enumerate(in_order) if number % settings.folds != settings.fold - 1]
    train, validation, _ = settings.split_fractions
    count = max(round(len(rest) * validation / (train + validation)), 1)
    chosen = sorted(rest, key=lambda name: _place(f"{name}/fold"))[:count]
    return dict.fromkeys(names, "test") | dict.fromkeys(rest, "train") | dict.fromkeys(chosen, "validation")


def split_path(settings: Settings) -> Path:
    """Return the path of the split file: a published split, a file in the raw folder, or another path."""
    name = settings.split_file or ""
    published, in_raw = Path(__file__).parent / "splits" / f"{name}.csv", raw_folder(settings.dataset) / name
    return next((path for path in (published, in_raw) if path.exists()), Path(name))


def _assigned(pairs: list[Pair], file: Path, field: str, allowed: tuple[str, ...] = ()) -> tuple[list[Pair], Excluded]:
    """Return the pairs with the value of `field` in a CSV, and the images that the CSV does not list."""
    table = _read_table(file, field)
    if allowed and not set(table[field]) <= set(allowed):
        raise ValueError(f"{file}: {field} must be one of {', '.join(allowed)}.")
    value_counts = table.groupby("id")[field].nunique()
    if (value_counts > 1).any():
        raise ValueError(f"{file}: {value_counts.idxmax()} has more than one {field}; leave one of its rows.")
    is_manifest = "source_image" in table  # where each slice of a volume has its own id
    values = table[field].map(lambda cell: text_name(unescape(cell))) if is_manifest else table[field]
    cells = [*zip(table["id"], values, strict=True)]
    cells += zip(table["source_image"], values, strict=True) if is_manifest else []
    # A cell is a name as it is, or else an encoded name.
    listed = {unescape(name): value for name, value in cells} | dict(cells)
    names_of = {pair.image: (pair.image.as_posix(), pair.id, pair.image.name) for pair in pairs}
    loose = _without_suffix(listed, {name for names in names_of.values() for name in names})
    assigned: list[Pair] = []
    unlisted: Excluded = []
    for pair in pairs:
        value: Any = next(
            (listed[name] for name in names_of[pair.image] if name in listed), loose.get(pair.id.casefold())
        )
        if value is None:
            unlisted.append((str(pair.image), f"not in the {field} file"))
        else:
            assigned.append(pair._replace(**{field: value}))
    _refuse_other_ids(file, [*table["id"]], loose, pairs, assigned)
    return assigned, unlisted


def _without_suffix(listed: dict[str, str], names: set[str]) -> dict[str, str]:
    """Return the values of ids that are no image's name, by the id without folders, suffix, capitals and spaces."""
    values: dict[str, str] = {}
    doubtful: set[str] = set()
    for name in listed.keys() - names:
        short = stem_of(Path(name.strip().replace("\\", "/"))).casefold()
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
        remedy = f"{cause} the names of the images into it. {_SAVE}"
        raise ValueError(f"{file}: {what}: it has {listed}, the images {image}. {remedy}")


def read_small(file: Path) -> bytes:
    """Return the content of a user's table; raise Refused if it is too large, or a device."""
    with open_file(file) as opened:
        content = opened.read(MAX_TABLE_BYTES + 1)
    if len(content) > MAX_TABLE_BYTES:
        raise Refused(f"{file}: has more than {MAX_TABLE_BYTES:,} bytes. Leave in it only the columns that are needed.")
    return content


def _read_table(file: Path, field: str) -> pd.DataFrame:
    """Return a CSV with the columns `id` and `field` as text; "NA" is a name like any other.

    Commas, semicolons or tabs separate the cells. The text is UTF-8, or UTF-16 that says so in its first bytes.
    """
    need(file, f"put the {field} file there")
    text = _text_of(file)
    separator = max(",;\t", key=text.partition("\n")[0].count)
    try:
        table = pd.read_csv(
            io.StringIO(text), sep=separator, dtype=str, keep_default_na=False, skipinitialspace=True, index_col=False
        )
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise ValueError(f"{file}: cannot be read as a table ({str(error).strip()}). {_SAVE}") from error
    headings = [name if name in ("id", field) else name.strip().casefold() for name in table.columns]
    if headings.count("id") != 1 or headings.count(field) != 1:
        columns = ", ".join(table.columns)
        raise ValueError(f"{file}: needs the columns id and {field}, separated by a comma; it has {columns}.")
    table = table.set_axis(headings, axis="columns")
    table = table[(table[["id", field]] != "").any(axis="columns")]  # spreadsheets save empty rows, too
    if "source_image" not in table:  # in a manifest, spaces belong to names
        table[field] = table[field].str.strip()
    if (table[field] == "").any():
        raise ValueError(f"{file}: {field} is empty for {table['id'][table[field] == ''].iloc[0]}.")
    return table


def _text_of(file: Path) -> str:
    """Return the text of a table; raise ValueError for a spreadsheet's own format and for an unknown encoding."""
    content = read_small(file)
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):  # xlsx and ods; xls
        raise ValueError(f"{file}: is a spreadsheet's own format, not a CSV. {_SAVE}")
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: is not in UTF-8, so that its letters are in doubt. {_SAVE}") from error
    if "\0" in text:
        raise ValueError(f"{file}: is not a text in UTF-8. {_SAVE}")
    return re.sub(r"^sep=.\r?\n", "", text)  # which Excel writes for itself


def _splits_of(names: set[str], settings: Settings) -> dict[str, str]:
    """Return the split of each patient; no split with a share stays empty."""
    fractions = settings.split_fractions
    splits = {patient: split_of(patient, fractions) for patient in sorted(names)}
    needed = [split for split, fraction in zip(SPLITS, fractions, strict=True) if fraction]
    if len(splits) < len(needed):
        raise ValueError(
            f"{settings.dataset}: {len(splits)} patients cannot make the splits {', '.join(needed)}; add patients, or "
            "set patient_pattern so that it finds the patient in each name."
        )
    # With few patients a split may be empty. The largest split then gives it the patient nearest to its range.
    for split, middle in zip(SPLITS, np.cumsum(fractions) - np.array(fractions) / 2, strict=True):
        if split in needed and split not in splits.values():
            largest = pd.Series(splits).value_counts().idxmax()
            donors = [patient for patient, other in splits.items() if other == largest]
            splits[min(donors, key=lambda patient: abs(_place(patient) - middle))] = split
    return splits


def _place(patient: str) -> float:
    """Return a number between 0 and 1 for a patient, evenly distributed and the same on every machine."""
    return int(hashlib.sha256(f"{_SALT}{patient}".encode()).hexdigest()[:12], 16) / 16**12
