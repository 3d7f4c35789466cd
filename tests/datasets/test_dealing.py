"""Patients are dealt to splits of exact size, each group in the same shares."""

from collections import Counter

import numpy as np
import pytest

from lungnb.datasets.dealing import deal_folds, deal_splits, split_sizes
from lungnb.settings import SPLITS

SHARES = (0.7, 0.15, 0.15)


def names(count, seed):
    """Draw names as hospitals give them: numbers with a prefix, or random ones."""
    rng = np.random.default_rng(seed)
    prefix = "".join(rng.choice([*"abcdefghij"], 5))
    return [f"{prefix}{n}" if seed % 2 else rng.bytes(5).hex() for n in range(count)]


def cells(splits, group_of):
    return Counter((group_of[patient], split) for patient, split in splits.items())


@pytest.mark.parametrize("shares", [SHARES, (0.85, 0.15, 0.0), (0.5, 0.25, 0.25), (0.98, 0.01, 0.01)])
@pytest.mark.parametrize("count", [3, 7, 20, 140])
def test_sizes_are_exact_whatever_the_names(count, shares):
    for seed in range(50):
        dealt = Counter(deal_splits(dict.fromkeys(names(count, seed), ""), shares).values())
        assert dealt == Counter(split_sizes(count, shares))
    smallest = [share * count for share in shares if share]
    for split, share in zip(SPLITS, shares, strict=True):
        assert dealt[split] >= (share > 0)
        assert abs(dealt[split] - share * count) < 1 or min(smallest) < 1


@pytest.mark.parametrize("groups", [(10, 10), (80, 58), (5, 5, 5, 5), (137, 1), (3,) * 40, (1,) * 20])
def test_each_group_is_divided_in_the_same_shares(groups):
    labels = [f"group {number:02}" for number, count in enumerate(groups) for _ in range(count)]
    for seed in range(20):
        group_of = dict(zip(names(len(labels), seed), labels, strict=True))
        dealt = cells(deal_splits(group_of, SHARES), group_of)
        for number, count in enumerate(groups):
            for split, share in zip(SPLITS, SHARES, strict=True):
                assert abs(dealt[f"group {number:02}", split] - share * count) < 1.5


def test_added_patients_move_no_other_and_sizes_stay_exact():
    rng = np.random.default_rng(0)
    for seed in range(30):
        everyone = dict(zip(names(140, seed), rng.choice(["sick", "well"], 140), strict=True))
        splits = {}
        for count in (4, 20, 21, 22, 60, 140):
            group_of = dict([*everyone.items()][:count])
            earlier, splits = splits, deal_splits(group_of, SHARES, splits)
            assert {patient: splits[patient] for patient in earlier} == earlier
            target = split_sizes(count, SHARES)
            assert all(abs(Counter(splits.values())[split] - target[split]) <= 1 for split in SPLITS)
        dealt = cells(splits, group_of)
        for group, number in Counter(group_of.values()).items():
            for split, share in zip(SPLITS, SHARES, strict=True):
                assert abs(dealt[group, split] - share * number) <= 2.5


def test_the_order_of_patients_decides_nothing():
    group_of = dict(zip(names(60, 1), ["sick", "well"] * 30, strict=True))
    assert deal_splits(dict(reversed(group_of.items())), SHARES) == deal_splits(group_of, SHARES)


def test_these_patients_are_dealt_alike_by_every_version_and_machine():
    """Otherwise published results could not be repeated."""
    group_of = {f"patient {number}": "" for number in range(14)}
    splits = deal_splits(group_of, SHARES)
    dealt = {split: [int(name.split()[1]) for name in group_of if splits[name] == split] for split in SPLITS}
    assert dealt == {"train": [1, 4, 5, 6, 8, 9, 10, 11, 12, 13], "validation": [0, 3], "test": [2, 7]}
    splits = deal_folds(group_of, 3, 1, SHARES)
    assert [int(name.split()[1]) for name in group_of if splits[name] == "test"] == [2, 5, 6, 11, 12]


def test_folds_have_the_same_shares_of_each_group():
    group_of = dict(zip(names(138, 2), ["well"] * 80 + ["sick"] * 58, strict=True))
    tested = Counter()
    for fold in range(1, 6):
        splits = deal_folds(group_of, 5, fold, SHARES)
        dealt = cells(splits, group_of)
        tested.update(patient for patient, split in splits.items() if split == "test")
        assert abs(dealt["sick", "test"] - 58 / 5) < 1 and abs(dealt["well", "test"] - 80 / 5) < 1
        assert Counter(splits.values())["validation"] in (19, 20)  # 15 of 85 of the others
        assert abs(dealt["sick", "validation"] - 58 * 0.8 * 15 / 85) < 1.5
    assert set(tested.values()) == {1} and len(tested) == 138


def test_too_few_patients_are_an_error():
    with pytest.raises(ValueError, match="2 patients cannot make the splits train, validation, test; add patients"):
        split_sizes(2, SHARES)
    with pytest.raises(ValueError, match="5 folds need three patients each, and 14 are too few"):
        deal_folds(dict.fromkeys(names(14, 1), ""), 5, 1, SHARES)
