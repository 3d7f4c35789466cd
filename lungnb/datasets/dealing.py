"""Deal patients to splits and folds: exact sizes, and the same shares of every group in each."""

import hashlib
from collections import Counter
from collections.abc import Mapping

from lungnb.metrics import ROUNDING
from lungnb.settings import SPLITS, counted

_SALT = "lungnb/450/"  # decides the order of patients; another one would change all splits
_MIN_FOLD_PATIENTS = 3  # per fold


def deal_splits(
    group_of: Mapping[str, str], fractions: tuple[float, ...], earlier: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the split of each patient; `group_of` has the group of each, empty if it is unknown.

    Patients in `earlier` keep their split from there. The sizes are those of `split_sizes`, or as near to them as the
    earlier splits allow. Each group is divided in the same shares, except for rounding. The order of the patients
    depends on their names only, so that all machines deal alike. If no patient could be given to a split that has a
    share, the earlier splits do not count.

    Raises ValueError for fewer patients than splits.

    Example:
        >>> groups = {f"patient {number}": "sick" if number < 8 else "well" for number in range(20)}
        >>> splits = deal_splits(groups, (0.7, 0.15, 0.15))
        >>> [[*splits.values()].count(split) for split in SPLITS]
        [14, 3, 3]
    """
    targets = split_sizes(len(group_of), fractions)
    splits = {patient: split for patient, split in (earlier or {}).items() if patient in group_of}
    room = _room(Counter(splits.values()), targets, len(group_of) - len(splits))
    if any(target and not room[split] and split not in splits.values() for split, target in targets.items()):
        splits, room = {}, dict(targets)
    excess = dict.fromkeys(SPLITS, 0.0)  # patients by which each split is ahead, over all groups so far
    for group in sorted(set(group_of.values())):
        members = sorted((patient for patient, other in group_of.items() if other == group), key=place)
        counts = Counter(splits[patient] for patient in members if patient in splits)
        for split, fraction in zip(SPLITS, fractions, strict=True):
            excess[split] += counts[split] - fraction * len(members)
        fresh = [patient for patient in members if patient not in splits]
        dealt = dict.fromkeys(SPLITS, 0)
        for _ in fresh:
            split = min((split for split in SPLITS if room[split]), key=lambda split: excess[split])
            dealt[split], room[split], excess[split] = dealt[split] + 1, room[split] - 1, excess[split] + 1
        splits |= zip(fresh, (split for split in SPLITS for _ in range(dealt[split])), strict=True)
    return {patient: splits[patient] for patient in group_of}


def split_sizes(count: int, fractions: tuple[float, ...]) -> dict[str, int]:
    """Return how many of `count` patients each split gets, by the largest remainder; at least one if it has a share.

    Raises ValueError for fewer patients than splits.

    Example:
        >>> split_sizes(138, (0.7, 0.15, 0.15))
        {'train': 96, 'validation': 21, 'test': 21}
    """
    needed = [split for split, fraction in zip(SPLITS, fractions, strict=True) if fraction]
    if count < len(needed):
        raise ValueError(
            f"{counted(count, 'patient')} cannot make the splits {', '.join(needed)}; add patients, or set "
            "patient_pattern so that it finds the patient in each name."
        )
    quotas = {split: fraction * count for split, fraction in zip(SPLITS, fractions, strict=True)}
    sizes = {split: max(int(quotas[split] + ROUNDING), int(split in needed)) for split in SPLITS}
    while sum(sizes.values()) != count:
        step = 1 if sum(sizes.values()) < count else -1
        # A split shrinks only if it keeps a patient, and only splits with a share grow.
        able = [split for split in needed if step > 0 or sizes[split] > 1]
        sizes[max(able, key=lambda split: step * (quotas[split] - sizes[split]))] += step
    return sizes


def deal_folds(group_of: Mapping[str, str], folds: int, fold: int, fractions: tuple[float, ...]) -> dict[str, str]:
    """Return the split of each patient in one fold. Each patient is in the test split of exactly one fold.

    The sizes of folds differ by one patient at most, and their shares of each group are nearly the same, because
    patients are dealt in turn, group by group. If patients are added or removed, other patients may change their fold.
    Training and validation share the rest in the ratio of their fractions. Raises ValueError for fewer than three
    patients per fold.
    """
    if len(group_of) < _MIN_FOLD_PATIENTS * folds:
        raise ValueError(f"{folds} folds need three patients each, and {len(group_of)} are too few; set fewer folds.")
    in_order = sorted(group_of, key=lambda patient: (group_of[patient], place(patient)))
    rest = {name: group_of[name] for number, name in enumerate(in_order) if number % folds != fold - 1}
    train, validation, _ = fractions
    return dict.fromkeys(group_of, "test") | deal_splits(
        rest, (train / (train + validation), validation / (train + validation), 0.0)
    )


def place(patient: str) -> float:
    """Return a number from 0 to 1 for a patient, evenly distributed and the same on every machine."""
    return int(hashlib.sha256(f"{_SALT}{patient}".encode()).hexdigest()[:12], 16) / 16**12


def _room(counts: Mapping[str, int], targets: Mapping[str, int], new: int) -> dict[str, int]:
    """Return how many of the `new` patients each split gets: those furthest below their target first."""
    room = dict.fromkeys(SPLITS, 0)
    for _ in range(new):
        able = [split for split in SPLITS if targets[split]]
        room[max(able, key=lambda split: targets[split] - counts[split] - room[split])] += 1
    return room
