"""Which patient an image is of, and which split it belongs to: from names, folders, a table, or a published split."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from lungnb.artefacts import raw_folder
from lungnb.datasets.pairing import Pair
from lungnb.files import need, text_name, unescape
from lungnb.formats.opening import Refused, open_file
from lungnb.settings import SPLITS, Settings

_SALT = "lungnb/450/"  # of 3,000 tried, the one whose shares come nearest to 70/15/15 on the catalogue's small sets
MAX_TABLE_BYTES = 50_000_000  # of a table of patients or splits; a million images take some 30
Unlisted = list[tuple[str, str]]  # files left out, each with why


def assign_patients(pairs: list[Pair], settings: Settings) -> tuple[list[Pair], Unlisted]:
    """Return the pairs with the patients of `settings.patient_file`, where there is one, and the images not in it.

    The file is a CSV with the columns `id` (an image's name, with or without its ending) and `patient`; a manifest is
    one too. Raises FileNotFoundError or ValueError for another file.
    """
    return _assigned(pairs, settings.patient_file, "patient")


def assign_splits(pairs: list[Pair], settings: Settings) -> tuple[list[Pair], Unlisted]:
    """Return the pairs with their splits, and the images not listed.

    The splits are those of `settings.split_file`; else, where every image lies in a folder called after a split, those
    of the folders; else by patient. The file is a CSV with the columns `id` and `split`, such as another's
    `manifest.csv`. Raises FileNotFoundError or ValueError for another file, ValueError for fewer patients than splits.
    """
    if settings.split_file:
        return _assigned(pairs, str(split_path(settings)), "split", SPLITS)
    if all(pair.split for pair in pairs) and any(pair.split == "train" for pair in pairs) and not settings.folds:
        return _filled(pairs, settings), []
    split = _folds_of if settings.folds else _splits_of
    patients = split({pair.patient for pair in pairs}, settings)
    return [dataclasses.replace(pair, split=patients[pair.patient]) for pair in pairs], []


def split_of(patient: str, fractions: tuple[float, float, float]) -> str:
    """Return the split a patient belongs to: a matter of the name alone, so it stays when other images come or go.

    For the same reason one patient's images land in the same split in every data set that holds them.

    Example:
        >>> {patient: split_of(patient, (0.7, 0.15, 0.15)) for patient in ("patient_2", "patient_3", "patient_6")}
        {'patient_2': 'train', 'patient_3': 'test', 'patient_6': 'validation'}
    """
    train, validation, _ = fractions
    place = _place(patient)
    return "train" if place < train else "validation" if place < train + validation else "test"


def _filled(pairs: list[Pair], settings: Settings) -> list[Pair]:
    """Return pairs with the splits of their folders; one without a folder takes its share of training's patients."""
    learning = sorted({pair.patient for pair in pairs if pair.split == "train"}, key=_place)
    moved: dict[str, str] = {}
    for split, fraction in zip(SPLITS[1:], settings.split_fractions[1:], strict=True):
        if fraction and not any(pair.split == split for pair in pairs):
            count = max(round(fraction * len(learning)), 1)
            moved |= dict.fromkeys(learning[len(moved) : len(moved) + count], split)
    if len(moved) >= len(learning):
        raise ValueError(
            f"{settings.dataset}: {len(learning)} patients in the folder for training are too few to give some of "
            "them to a split that has no folder."
        )
    return [
        dataclasses.replace(pair, split=moved.get(pair.patient, "train")) if pair.split == "train" else pair
        for pair in pairs
    ]


def _folds_of(names: set[str], settings: Settings) -> dict[str, str]:
    """Return the split of each patient in one fold; over all folds, each is tested once.

    Patients are dealt out in the order of their places, so that folds are of one size; which fold is a patient's may
    change when others come. Validation takes the share of the rest that `split_fractions` gives it beside training.
    """
    if len(names) < 3 * settings.folds:
        raise ValueError(
            f"{settings.dataset}: {settings.folds} folds need three patients each, and {len(names)} are few."
        )
    dealt = sorted(names, key=_place)
    rest = [name for number, name in enumerate(dealt) if number % settings.folds != settings.fold - 1]
    train, validation, _ = settings.split_fractions
    chosen = sorted(rest, key=lambda name: _place(f"{name}/fold"))[
        : max(round(len(rest) * validation / (train + validation)), 1)
    ]
    return dict.fromkeys(names, "test") | dict.fromkeys(rest, "train") | dict.fromkeys(chosen, "validation")


def split_path(settings: Settings) -> Path:
    """Return the path of the split file: of that name in `lungnb/splits`, in the raw folder, or the reader's own."""
    published = Path(__file__).parent / "splits" / f"{settings.split_file}.csv"
    own = raw_folder(settings.dataset) / settings.split_file
    return next((path for path in (published, own) if path.exists()), Path(settings.split_file))


def _assigned(
    pairs: list[Pair], file: str | None, field: str, allowed: Collection[str] | None = None
) -> tuple[list[Pair], Unlisted]:
    """Return the pairs with `field` as a CSV says by image file or id, and the images that it does not list."""
    if not file:
        return pairs, []
    table = _read_table(Path(file), field)
    if allowed and not set(table[field]) <= set(allowed):
        raise ValueError(f"{file}: {field} must be one of {', '.join(allowed)}.")
    twice = table.groupby("id")[field].nunique()
    if (twice > 1).any():
        raise ValueError(f"{file}: {twice.idxmax()} has more than one {field}; leave one of its rows.")
    is_manifest = "source_image" in table  # in which each slice of a volume has an id of its own
    values = table[field].map(lambda cell: text_name(unescape(cell))) if is_manifest else table[field]
    cells = [*zip(table["id"], values, strict=True)]
    cells += zip(table["source_image"], values, strict=True) if is_manifest else []
    # A cell stands for the name as it is, else for the name that lungnb encodes so.
    listed = {unescape(name): value for name, value in cells} | dict(cells)
    found, unlisted = [], []
    for pair in pairs:
        names = (pair.image.as_posix(), pair.id, pair.image.name)
        value = next((listed[name] for name in names if name in listed), None)
        if value is None:
            unlisted.append((str(pair.image), f"not in the {field} file"))
        else:
            found.append(dataclasses.replace(pair, **{field: value}))
    return found, unlisted


def read_small(file: Path) -> bytes:
    """Return the content of a table that a user names; raise Refused for one that is too large, or for a device."""
    with open_file(file) as opened:
        content = opened.read(MAX_TABLE_BYTES + 1)
    if len(content) > MAX_TABLE_BYTES:
        raise Refused(f"{file}: has more than {MAX_TABLE_BYTES:,} bytes. Leave in it only the columns that are needed.")
    return content


def _read_table(file: Path, field: str) -> pd.DataFrame:
    """Return a CSV with the columns `id` and `field`, all of it text; "NA" is a name like any other."""
    need(file, f"put the {field} file there")
    try:
        text = io.StringIO(read_small(file).decode("utf-8-sig"))
        table = pd.read_csv(text, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (UnicodeDecodeError, pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise ValueError(f"{file}: cannot be read as a CSV in UTF-8 ({str(error).strip()}).") from error
    table = table.rename(columns=str.strip)
    if not {"id", field} <= set(table):
        found = ", ".join(table)
        raise ValueError(f"{file}: needs the columns id and {field}, parted by a comma; it has {found}.")
    if (table[field] == "").any():
        raise ValueError(f"{file}: {field} is empty for {table['id'][table[field] == ''].iloc[0]}.")
    return table


def _splits_of(names: set[str], settings: Settings) -> dict[str, str]:
    """Return the split of each patient; none is left empty that has a share."""
    fractions = settings.split_fractions
    patients = {patient: split_of(patient, fractions) for patient in sorted(names)}
    wanted = [split for split, fraction in zip(SPLITS, fractions, strict=True) if fraction]
    if len(patients) < len(wanted):
        raise ValueError(
            f"{settings.dataset}: {len(patients)} patients cannot make the splits {', '.join(wanted)}; "
            "patient_pattern says how names tell patients apart."
        )
    # A set of few patients may leave a split empty: it gets, from the largest, the patient nearest to its own range.
    for split, middle in zip(SPLITS, np.cumsum(fractions) - np.array(fractions) / 2, strict=True):
        if split in wanted and split not in patients.values():
            sizes = pd.Series(patients).value_counts()
            donors = [patient for patient, other in patients.items() if other == sizes.idxmax()]
            patients[min(donors, key=lambda patient: abs(_place(patient) - middle))] = split
    return patients


def _place(patient: str) -> float:
    """Return a patient's place between 0 and 1, evenly spread and the same on every machine."""
    return int(hashlib.sha256(f"{_SALT}{patient}".encode()).hexdigest()[:12], 16) / 16**12
