"""The part of the report for reviewers: the tables and charts of a finished run, in order, with few words."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd

from lungnb.artefacts import CLAIM, COMPARISON, GROUPS, MANIFEST, RUN, VOLUMES
from lungnb.datasets.prepared import Prepared, open_prepared
from lungnb.files import read_table
from lungnb.masks import LUNG_THRESHOLD
from lungnb.metrics import FAILED_DICE
from lungnb.networks.records import RunRecord, settings_of
from lungnb.networks.training import read_run
from lungnb.report.parts import html_section, html_table, picture
from lungnb.settings import SPLITS, Settings, title_of


class ReportSection(NamedTuple):
    """A section of the report."""

    title: str
    text: str  # how to read it
    files: tuple[str, ...]  # of the comparison, by the beginnings of their names


# In the order of the CLAIM checklist's methods and results.
SECTIONS = (
    ReportSection(
        "Scores",
        "Means over patients, of masks as `segment` gives them; raw_ is before they are cleaned. dice_low and dice_high"
        " bound the 95 % interval of the mean Dice. Distances are medians and quartiles in the unit of the table, % of "
        f"the longer image side if the pixel spacing is unknown. Failed masks have a Dice below {FAILED_DICE:g}.",
        (COMPARISON,),
    ),
    ReportSection(
        "Groups of patients",
        "Mean Dice with its 95 % interval over patients. A group of one patient has no interval.", (GROUPS,),
    ),
    ReportSection("Whole volumes", "All slices from apex to base, in 3-D; distances in mm.", (VOLUMES,)),
    ReportSection(
        "Which is better",
        "The mean over patients of the difference of Dice, first minus second, with its intervals and its test; p_holm "
        "is corrected for the number of pairs. One training of each network: it is about these trained networks only.",
        ("paired_tests.csv",),
    ),
    ReportSection(
        "Patients, seeds, folds",
        "What would change with others; and the tests again, which now count how trainings differ between seeds or "
        "folds.", ("variation.csv", "paired_tests_again.csv", "seeds.csv"),
    ),
    ReportSection(
        "How scores are spread", "A point is an image, a diamond the mean over patients.",
        ("scores.png", "distances.png"),
    ),
    ReportSection(
        "Area of the lungs", "Found against true, with the mean gap and the limits of agreement.", ("bland_altman.png",)
    ),
    ReportSection(
        "Where they fail", "The worst images of each network, nine at most: true outline and found.", ("worst_",)
    ),
    ReportSection("How they learned", "The dot marks the epoch that was kept.", ("learning_curves.png",)),
    ReportSection("What they cost", "Up and to the left is better.", ("score_against_cost.png",)),
    ReportSection(
        "Are probabilities true",
        "Pixels near the true border. Points below the line are of too much lung, those above of too little. The "
        "temperature corrects the probabilities; it was chosen on the validation images and changes no mask.",
        ("reliability.png", "calibration.csv", "usefulness.csv"),
    ),
    ReportSection(
        "What drawn images teach",
        "The network that lungnb ships, which has seen no patient; and trained on a few real images.",
        ("zero_patient.csv", "changed.csv", "leave_one_out.csv", "few_shot_chart.png"),
    ),
    ReportSection(
        "Other data sets", "Trained on rows, tested on columns.", ("generalisation_chart.png", "generalisation.csv")
    ),
)  # fmt: skip


def review_sections(settings: Settings) -> str:
    """Return the part for reviewers as self-contained HTML, without the sections that have no files."""
    folder, parts = settings.comparison, []
    if (settings.prepared / MANIFEST).exists():
        text = "What was found, what was left out and why, and how the rest was split."
        parts.append(html_section("Data", text, data_flow(open_prepared(settings))))
    for title, text, names in SECTIONS:
        files = [file for name in names for file in sorted(folder.glob(f"{name}*"))]
        shown = [picture(file) if file.suffix == ".png" else html_table(read_table(file)) for file in files]
        escaped = [html.escape(file.name) for file in files]
        links = ", ".join(f'<a href="comparison/{name}">{name}</a>' for name in escaped)
        if files:
            parts.append(f"<h2>{title}</h2><p>{text} <small>{links}</small></p>{''.join(shown)}")
    if (folder / COMPARISON).exists():
        trained = [name for name in settings.models if (settings.results / name / RUN).exists()]
        choices = fixed_before_test([read_run(settings, name) for name in trained])
        parts.append(html_section("Fixed before the test images were read", "", choices))
    if (folder / CLAIM).exists():
        claim = read_table(folder / CLAIM)
        parts.append(html_section("CLAIM checklist", "Filled in as far as a run can; the rest is the author's.", claim))
    return "\n".join(parts)


def data_flow(prepared: Prepared) -> pd.DataFrame:
    """Return how many images and patients of a data set are used, left out (by reason), and in each split."""
    manifest, reasons = prepared.manifest, prepared.excluded["reason"]
    reasons = reasons.str.replace(r"(?s) \(the nearest is .+\)$", "", regex=True)
    reasons = reasons.map(lambda text: text.rpartition(": ")[2])
    shapes = r"(?s)mask .+ is \d+x\d+, its image \d+x\d+"
    reasons = reasons.str.replace(shapes, "of another shape than its image", regex=True)
    rows: list[tuple[str, int, int | None]] = [("used", len(manifest), manifest["patient"].nunique())]
    rows += [(f"left out, {reason}", count, None) for reason, count in reasons.value_counts().items()]
    for split in SPLITS:
        images = manifest[manifest["split"] == split]
        rows += [(f"... {split}", len(images), images["patient"].nunique())] if len(images) else []
    return pd.DataFrame(rows, columns=["step", "images", "patients"]).astype({"patients": "Int64"})


def fixed_before_test(runs: Iterable[RunRecord]) -> pd.DataFrame:
    """Return the choices made without the test images: settings, epoch, versions, machine; a column a training."""
    columns = {}
    for run in runs:
        trained = settings_of(run)
        columns[title_of(run["plan"]["model"])] = {
            "epoch, by validation loss": f"{run['best_epoch']} of {run['epochs']}",
            "threshold": f"{LUNG_THRESHOLD:g}", "clean-up of masks": "two largest regions, holes filled",
            "loss": trained.loss,
            "learning rate": f"{trained.learning_rate:g}, {trained.schedule}", "batch": trained.batch_size,
            "input": f"{trained.image_size} px", "filters, depth": f"{trained.filters}, {trained.depth}",
            "seed": run["seed"], "commit": (run.get("git_commit") or "unknown")[:12], "machine": run["device"],
        } | dict(run["versions"])  # fmt: skip
    return pd.DataFrame(columns).rename_axis("setting").reset_index()
