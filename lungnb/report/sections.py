"""Write the details of the report: the tables and charts of a finished run, with a short text each."""

import html
from collections.abc import Container, Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from lungnb.artefacts import ARTEFACTS, CLAIM, COMPARISON, GROUPS, MANIFEST, PAIRED_TESTS, RUN, UNTRAINED, VOLUMES
from lungnb.datasets.prepared import Prepared, open_prepared
from lungnb.evaluation.readable_tables import MAIN_COLUMNS, TEST_COLUMNS
from lungnb.formats.tables import read_table
from lungnb.masks import LUNG_THRESHOLD
from lungnb.networks.records import RunRecord, settings_of
from lungnb.networks.training import read_run
from lungnb.report.checklist import card_html
from lungnb.report.parts import folded, html_table, picture
from lungnb.settings import SPLITS, Settings, title_of


class ReportSection(NamedTuple):
    """A section of the details of a report."""

    title: str
    text: str  # how to read it
    files: tuple[str, ...]  # of the comparison, as patterns of their names


# In the order of the CLAIM checklist's methods and results.
SECTIONS = (
    ReportSection(
        "More scores",
        "Scores are means over patients, and distances are medians with quartiles over images. Masks are cleaned: the "
        "two largest regions, with their holes filled. The ranking is repeated with patients that are drawn anew, and "
        "the table says how often a network ranks first.",
        (COMPARISON,),
    ),
    ReportSection(
        "Differences in numbers",
        "The mean over patients of the difference of Dice, with its test. p is corrected after Holm for the number of "
        "pairs. With one training of each network, this is about the trained networks only. With the patients "
        "needed, p of one pair is below 0.05 in 80 % of studies if the true difference is the equivalence margin.",
        (PAIRED_TESTS,),
    ),
    ReportSection(
        "Other patients, seeds and folds",
        "SD is the standard deviation: over patients of the Dice of each patient, over seeds and folds of their mean "
        "Dice. Tests over several trainings allow for the differences between trainings.",
        ("variation.csv", "paired_tests_again.csv", "seeds.csv"),
    ),
    ReportSection(
        "Groups of patients",
        "A network can be good on average and poor in one group. A group of one patient has no interval.", (GROUPS,),
    ),
    ReportSection("Whole volumes", "All slices from apex to base, in 3-D. Distances are in mm.", (VOLUMES,)),
    ReportSection(
        "Spread of the scores", "A point is an image, a diamond the mean over patients.",
        ("scores.png", "distances.png"),
    ),
    ReportSection(
        "Pixels", "All pixels of all images together. Background is most of an image, so accuracy flatters.",
        ("confusion_matrices.png", "classification_report.csv"),
    ),
    ReportSection(
        "Area of the lungs",
        "Prediction minus ground truth, in percent of their mean. Dashed lines are the limits of agreement, between "
        "which about 95 % of images lie.",
        ("bland_altman.png",),
    ),
    ReportSection(
        "Training, validation, test", "Loss, IoU and Dice. Curves are over epochs; each point is an image.",
        ("split_panels.png",),
    ),
    ReportSection("Learning curves", "The dot marks the epoch that was kept.", ("learning_curves.png",)),
    ReportSection("Cost", "Up and to the left is better.", ("score_against_cost.png",)),
    ReportSection(
        "Predictions", "The worst image of each network, a middle one and the best.", ("predictions_*.png",)
    ),
    ReportSection("Lowest Dice", "The worst images of each network, nine at most.", ("worst_*.png",)),
    ReportSection("Without training", "The network that comes with lungnb, on the same images.", (UNTRAINED,)),
    ReportSection(
        "Probabilities",
        "Pixels near the border. Below the line, the network predicts too much lung; above it, too little. The "
        "temperature corrects the probabilities. It was chosen on validation images and changes no mask.",
        ("reliability.png", "calibration.csv", "usefulness.csv"),
    ),
    ReportSection(
        "From phantoms to patients",
        "The network that comes with lungnb has learned from phantoms only. The chart shows training on a few real "
        "images.",
        ("zero_patient.csv", "changed.csv", "leave_one_out.csv", "few_shot_chart.png"),
    ),
    ReportSection(
        "Other data sets", "Each network was trained on one data set and tested on others.",
        ("generalisation_chart.png", "generalisation.csv"),
    ),
)  # fmt: skip


def review_sections(settings: Settings, notebooks: Container[str] = ()) -> str:
    """Return the details as folded, self-contained HTML. Leave out sections without files.

    `notebooks` has numbers, such as "09". Leave out the results of these notebooks, because the report shows them.
    """
    folder, parts = settings.comparison, []
    if (settings.prepared / MANIFEST).exists():
        text = "<p>Images that were used, images that were left out and why, and the splits.</p>"
        parts.append(folded("Data", text + html_table(data_flow(open_prepared(settings)))))
    for title, text, patterns in SECTIONS:
        files = [file for pattern in patterns for file in sorted(folder.glob(pattern))]
        if files and notebook_of(files[0].name) not in notebooks:
            links = (f'<a href="comparison/{name}">{name}</a>' for name in (html.escape(file.name) for file in files))
            shown = "".join(map(_shown, files))
            parts.append(folded(title, f"<p>{text} <small>{', '.join(links)}</small></p>{shown}"))
    if (folder / COMPARISON).exists():
        trained = [name for name in settings.models if (settings.results / name / RUN).exists()]
        choices = fixed_before_test([read_run(settings, name) for name in trained])
        parts.append(folded("Choices made before the test images were read", html_table(choices)))
    if cards := [card for name in settings.models if (card := folder / f"card_{name}.txt").exists()]:
        parts.append(folded("Model cards", "".join(card_html(card.read_text(encoding="utf-8")) for card in cards)))
    if (folder / CLAIM).exists():
        text = "<p>Filled in from the records of the run. The author fills in the rest.</p>"
        parts.append(folded("CLAIM checklist", text + html_table(read_table(folder / CLAIM))))
    return "\n".join(parts)


def notebook_of(name: str) -> str:
    """Return the number of the notebook that writes a file of the comparison.

    Example:
        >>> notebook_of("worst_unet.png"), notebook_of("zero_patient.csv")
        ('06', '09')
    """
    return next((each.notebook for each in ARTEFACTS if fnmatchcase(name, each.pattern)), "")


def _shown(file: Path) -> str:
    """Return a chart or a table of the comparison as HTML. Leave the columns of the summary out of the main table."""
    if file.suffix == ".png":
        return picture(file)
    table = read_table(file)
    if file.name == COMPARISON:
        return html_table(table, [str(name) for name in table if name not in MAIN_COLUMNS])
    if file.name.startswith("paired_tests"):
        return html_table(table, (*TEST_COLUMNS, "patients_needed"))
    return html_table(table)


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
    """Return the choices made without the test images: settings, epoch, versions, machine; one column per training."""
    columns = {}
    for run in runs:
        trained = settings_of(run)
        columns[title_of(run["plan"]["model"])] = {
            "epoch with the lowest validation loss": f"{run['best_epoch']} of {run['epochs']}",
            "threshold": f"{LUNG_THRESHOLD:g}", "clean-up of masks": "two largest regions, holes filled",
            "loss": trained.loss,
            "learning rate": f"{trained.learning_rate:g}, {trained.schedule}", "batch": trained.batch_size,
            "input": f"{trained.image_size} px", "filters, depth": f"{trained.filters}, {trained.depth}",
            "seed": run["seed"], "commit": (run.get("git_commit") or "unknown")[:12], "machine": run["device"],
        } | dict(run["versions"])  # fmt: skip
    return pd.DataFrame(columns).rename_axis("setting").reset_index()
