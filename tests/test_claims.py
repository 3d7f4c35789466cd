"""The figures of the README and of docs/ are those of the tables in results/published, rounded as they are quoted.

`helpers/claims.py` has each quoted text with the values of its numbers, in their order. In the section Results of the
README and on the pages of docs/results, except speed.md, each number is in a claim or in `EXCEPTIONS`, which say why.
"""

import re

import numpy as np
import pytest

from helpers.claims import CLAIMS
from helpers.paths import ROOT
from helpers.published import (
    BMP,
    CT,
    FOLDS_TESTS,
    FULL_PAIRS,
    MISMATCH,
    NETWORKS_TESTS,
    ONCE,
    REPEATED,
    WRONG,
    table,
)
from lungnb.evaluation.differences import paired_tests

NUMBER = re.compile(r"(?<![\w.-])\d+(?:,\d{3})*(?:\.\d+)?(?!\w)")
LINK = re.compile(r"\]\([^)]*\)")


def text_of(page):
    """Return a page's text in one line, without the targets of links and the parts that are made from tables."""
    text = re.sub(r"<!-- generated: .*? -->|(?s:```.*?```)", "", page.read_text(encoding="utf-8"))
    return LINK.sub("]", " ".join(text.split()))


PAGES = {page.relative_to(ROOT).as_posix(): text_of(page) for page in (ROOT / "docs").rglob("*.md")}
README = text_of(ROOT / "README.md")
ALL = [README, *PAGES.values()]
RESULTS = [README.split("## Results")[1].split("## Limits")[0]] + [
    text for name, text in PAGES.items() if name.startswith("docs/results/") and not name.endswith("speed.md")
]
EXCEPTIONS = {  # texts with numbers that no published table holds: patterns, and why
    r"A failure on one of 20 patients": "an example",
    r"95 % intervals?": "the level of the intervals",
    r"\(?128x128, 8 filters, (40|12) epochs": "settings",
    r"256x256, 16 filters, 50 epochs, the published split of Gaal 2020 \(96/14/28\)": "settings",
    r"seed 1, 2 CPU cores": "settings",
    r"Compact U-Net, 16 filters, depth 5": "settings",
    r"has 8 filters": "settings",
    r"at 512 px \(76/13": "settings",
    r"window -125 to 275 HU": "settings",
    r"of up to 20 epochs": "settings",
    r"`folds=5`": "a setting",
    r"`SEEDS=3`": "a command",
    r"with seeds 1 to 3": "settings",
    r"Seeds 2 and 3 gave": "settings",
    r"for 1,000 more steps on 4,000 drawings with all additions, and on 4,000 without": "settings",
    r"The third had 0.968, 0.955, 0.968 and 0.970 on .*? 0.971, and the first, .*? 0.969 and 0.971": "of others",
    r"The first three trainings had a Dice of 0.975 to 0.978": "of earlier trainings",
    r"lost 0.001 unchanged and .*? and 0.002 .*? lost 0.001 .*? under 0.9 \(0.897; with .*? 0.907\)": "of others",
    r"raised from 2 to 2.5, because": "settings",
    r"network, and rounded from 0.207 to 0.2. .*? gives 0.226. With 0.2, it": "settings",
    r"Each training has 1,000 steps": "a setting",
    r"steps of training on few images were raised from 200 to 1,000": "a setting",
    r"raised from 200 after the test scores of 200 steps": "a setting",
    r"notebook [01]\d": "the name of a notebook",
    r"slices of finding-lungs-in-ct-data are under 0.9": "the limit that the heading of the table names",
    r"\| under 0.9 \|": "a heading",
    r"a Dice of 0.982 for a U-Net at 256 px on the same split": "published by others",
    r"lung-segmentation-2d 0.972 in five folds": "published by others",
    r"a published split \(96/14/28\)": "published by others",
    r"Dice 0.982, the same split \(deepdraw, U-Net at 256 px\)": "published by others",
    r"Dice 0.961, IoU 0.927: 704 pairs, one split, 512 px": "published by others",
    r"F1 0.966 \(U-Net\) to 0.983 \(R2U-Net\) on the same set \(Alom 2018\)": "published by others",
    r"accuracy 99.6 %, loss 0.01 for": "published by others",
    r", 256 px": "settings",
}


def quoted(number):
    """Return a number as it is quoted, and its number of decimals."""
    plain = number.replace(",", "")
    return plain, len(plain.partition(".")[2])


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.text[:40])
def test_a_page_quotes_the_table(claim):
    text = LINK.sub("]", claim.text)
    assert sum(page.count(text) for page in ALL) >= 1, "this text must be in the README or on a page of docs"
    numbers = NUMBER.findall(claim.text)
    assert len(numbers) == len(claim.values)
    for number, value in zip(numbers, claim.values, strict=True):
        plain, decimals = quoted(number)
        assert f"{value:.{decimals}f}" == plain


def test_no_number_of_the_results_is_without_a_claim():
    section = " ".join(RESULTS)
    for text in sorted((LINK.sub("]", claim.text) for claim in CLAIMS), key=len, reverse=True):
        section = section.replace(text, " ")
    unused = []
    for pattern in EXCEPTIONS:
        section, count = re.subn(pattern, " ", section)
        unused += [] if count else [pattern]
    around = [section[max(match.start() - 40, 0) : match.end() + 40] for match in NUMBER.finditer(section)]
    assert not around, "numbers without a claim"
    assert not unused, "exceptions that match nothing"


def test_claims_in_words():
    """The slices under 0.9 have wrong masks, and all masks of films that are shifted by 5 % are found."""
    assert {*CT.index[CT < 0.9]} == {*WRONG} and {*BMP.index[BMP < 0.9]} == {*WRONG} & {*BMP.index}
    assert (
        "Three slices of finding-lungs-in-ct-data are under 0.9" in PAGES["docs/results/shipped.md"] and len(WRONG) == 3
    )
    shares = MISMATCH.loc["shenzhen", "share_listed"]
    assert len(shares.filter(like="shifted 5 %")) == 4 and (shares.filter(like="shifted 5 %") == 1).all()


def test_rounding_is_as_quoted():
    assert quoted("1,945,233") == ("1945233", 0) and quoted("0.970") == ("0.970", 3)
    assert NUMBER.findall("R2U-Net 0.970 (0.966 to 1,234), 5 % of `a1`, 256x256, 97/20/21") == [
        "0.970", "0.966", "1,234", "5", "97", "20", "21"
    ]  # fmt: skip


def test_no_network_is_better_than_another_in_five_folds():
    assert "The verdict on the last three: no relevant difference" in README
    assert (FOLDS_TESTS["conclusion"] == "no relevant difference").all() and len(FOLDS_TESTS) == 3
    assert (paired_tests(ONCE)["conclusion"] == "no relevant difference").all() and len(REPEATED) == 6


def test_which_networks_differ_on_montgomery():
    of_compact = NETWORKS_TESTS["conclusion"].xs("compact_unet", level="second")
    assert {*of_compact.index[of_compact == "first is better"]} == {"unet", "resunet", "attention_unet"}
    rest = NETWORKS_TESTS["conclusion"].drop("compact_unet", level="second")
    is_of_r2unet = [("r2unet" in pair) and pair != ("r2unet", "transunet") for pair in rest.index]
    assert {*rest[is_of_r2unet]} == {"undecided"} and of_compact["transunet"] == "undecided"
    assert {*rest[~np.array(is_of_r2unet)]} == {"no relevant difference"} == {*FULL_PAIRS["conclusion"]}


def test_two_seeds_of_two_sections_are_the_same_trainings():
    scores = table("montgomery-seeds/all_scores.csv", ["seed", "model", "id"])["dice"].sort_index()
    for seed in (2, 3):
        for name in ("unet", "resunet", "r2unet"):
            other = table(f"networks/networks/montgomery.seed{seed}/{name}/scores.csv", "id")["dice"]
            assert other.sort_index().equals(scores.loc[seed, name])
