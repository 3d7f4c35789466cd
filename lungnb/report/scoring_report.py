"""Score folders of masks, and write the tables, the charts and one page about them."""

import html
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lungnb import __version__
from lungnb.artefacts import COMPARISON, DIFFERENCES, GROUPS, PAIRED_TESTS, REPORT, SCORES, VERDICT, given_path, home
from lungnb.evaluation.conclusions import verdict_on_masks
from lungnb.evaluation.differences import paired_tests
from lungnb.evaluation.external import ScoreOptions, Scoring, score_folders
from lungnb.evaluation.readable_tables import TEST_COLUMNS
from lungnb.evaluation.scoring import comparison_table, group_scores
from lungnb.evaluation.statistics import pooled_counts
from lungnb.figures import difference_chart, plots
from lungnb.figures.pictures import Cell, outline_grid
from lungnb.files import NotWritten, refuse_foreign, written
from lungnb.formats.images import is_volume, read_picture, read_volume
from lungnb.formats.opening import digest_of_file
from lungnb.formats.pixels import to_grey
from lungnb.formats.tables import write_table
from lungnb.masks import Grey, Mask
from lungnb.messages import printable
from lungnb.report.parts import html_section, picture, verdict_html, write_html
from lungnb.report.publishing import PICTURE_DPI
from lungnb.settings import EQUIVALENCE_MARGIN, counted, title_of

_WORST = 9  # masks of each program that are drawn
_MAX_PROBLEMS = 100  # rows on the page; the table has all
_MAX_SIDE = 1024  # px; larger masks are drawn with fewer pixels, because contours take time
_GREY = 110  # of the background if there are no images, 0 to 255: both contours stand out from it
_FILES = (  # of a report, as patterns
    REPORT, VERDICT, SCORES, COMPARISON, GROUPS, DIFFERENCES, "coverage.csv", "missing.csv", "problems.csv",
    PAIRED_TESTS, "scores.png", "distances.png", "bland_altman.png", "confusion.png", "worst_*.png",
)  # fmt: skip
_NO_COMPARISON = "No image has masks of all programs, so the programs are not compared."
AS_GIVEN = (
    "Masks are scored as they are given. The networks of lungnb are scored cleaned in other reports: the two largest "
    "regions, with their holes filled."
)
ABOUT_MASKS = (
    "All programs are compared on the {images} of which each has a mask. A missing mask is not scored: it is counted "
    "here, and the image is left out for all programs. A mask of another size than the ground truth is not resized: it "
    "is unusable. A program without a mask that can be scored is not compared."
)
ABOUT_SCORES = (
    "Scores are means over patients, and distances are medians with quartiles over images. Distances are in percent of "
    "the longest side if the pixel spacing is unknown."
)
ABOUT_TESTS = (
    "The mean over patients of the difference of Dice, with its test. p is corrected after Holm for the number of "
    "pairs. In the chart, a true difference within the grey band is too small to matter. If an interval contains 0, "
    "the difference may be chance."
)


class ScoringReport(NamedTuple):
    """The results of `score_report`: the page, the verdict, and the scores."""

    page: Path
    verdict: str
    scoring: Scoring


def score_report(
    truth: str | Path, masks: Sequence[str | Path], options: ScoreOptions | None = None,
    out: str | Path | None = None, progress: bool = True,
) -> ScoringReport:  # fmt: skip
    """Score folders of masks as `lungnb.score` does, and write tables, charts and `report.html` into `out`.

    By default, `out` is results/scores/ with the name of the folder of the ground truth. A report that is there is
    replaced. Raises NotWritten if `out` holds other files or lies among the masks, and errors as `lungnb.score`.
    """
    name = given_path(truth, "the path of the ground truth").resolve().name
    usual = home() / "results" / "scores" / name
    folder = usual if out is None else given_path(out, "the folder of the report").resolve()
    for given in (truth, *masks):
        if given_path(given, "the path of a folder").resolve() in (folder, *folder.parents):
            raise NotWritten(f"{folder}: lies among the masks in {given}. Name another folder with --out.")
    refuse_foreign(folder, SCORES)
    _refuse_other_files(folder)
    scoring = score_folders(truth, masks, options, progress)
    verdict = verdict_on_masks(scoring.compared, printable(name)) if len(scoring.compared) else _NO_COMPARISON
    with written(folder, SCORES) as new:
        new.mkdir()
        (new / VERDICT).write_text(verdict + "\n", encoding="utf-8")
        tables = _tables(scoring)
        for file, table in tables.items():
            write_table(table, new / file)
        with plt.rc_context({"text.parse_math": False}):  # because names of folders may hold $
            for file, figure in _charts(scoring, tables):
                figure.savefig(new / file, dpi=PICTURE_DPI)
        filled = {"TITLE": html.escape(f"Lung masks scored against {name}")}
        chosen = (options or ScoreOptions())._asdict().items()
        given = ", ".join(f"{key.replace('_', ' ')}={value}" for key, value in chosen if value)
        made = f"<p>Made by lungnb {__version__}, options: {html.escape(printable(given or 'none'))}. {SCORES} has the "
        made += f"SHA-256 {digest_of_file(new / SCORES)}.</p>"
        sections = [*_sections(scoring, verdict_html(verdict) + made, tables, new)]
        filled["LINKS"] = "\n".join(f'<li><a href="#{_anchor(title)}">{title}</a></li>' for title, _ in sections)
        filled["BODY"] = "\n".join(f'<section id="{_anchor(title)}">{body}</section>' for title, body in sections)
        write_html(new / REPORT, "scoring.html", filled)
    return ScoringReport(folder / REPORT, verdict, scoring)


def _refuse_other_files(folder: Path) -> None:
    """Raise NotWritten for a folder that holds more than a report, because a new report replaces the whole folder.

    Such folders are those of trained networks, which have scores too, and reports to which masks or notes were added.
    """
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not entry.name.startswith(".") and not (entry.is_file() and any(map(entry.match, _FILES))):
            raise NotWritten(
                f"{folder}: holds {entry.name}, which is not part of such a report and would be lost. Move it away, or "
                "name another folder with --out."
            )


def _tables(scoring: Scoring) -> dict[str, pd.DataFrame]:
    """Return the tables by their files; those of the comparison are about images of which all programs have a mask."""
    tables = {SCORES: scoring.table, "coverage.csv": scoring.coverage}
    tables |= {"missing.csv": scoring.missing, "problems.csv": scoring.problems}
    if len(compared := scoring.compared):
        tables[COMPARISON] = comparison_table(compared).reset_index()
        if compared["model"].nunique() > 1:
            tables[PAIRED_TESTS] = paired_tests(compared)
        if len(groups := group_scores(compared)):
            tables[GROUPS] = groups.reset_index()
    return tables


def _charts(scoring: Scoring, tables: dict[str, pd.DataFrame]) -> Iterator[tuple[str, Figure]]:
    """Yield each chart with the name of its file."""
    table = scoring.compared
    if not len(table):
        return
    yield "scores.png", plots.score_boxes(table)
    yield "distances.png", plots.distance_boxes(table)
    if PAIRED_TESTS in tables:
        yield DIFFERENCES, difference_chart(tables[PAIRED_TESTS], EQUIVALENCE_MARGIN)
    yield "bland_altman.png", plots.bland_altman(table)
    by_model = table.groupby("model", sort=False)
    yield "confusion.png", plots.confusion_matrices({str(name): pooled_counts(rows) for name, rows in by_model})
    for number, (name, rows) in enumerate(by_model, 1):
        worst = rows.nsmallest(_WORST, "dice")
        cells = [_cell(scoring, str(name), row["id"], row["dice"]) for _, row in worst.iterrows()]
        title = f"{title_of(str(name))}, the worst {len(worst)} of {counted(len(rows), 'image')}"
        yield f"worst_{number}_{_anchor(str(name))}.png", outline_grid(cells, title=title)


def _cell(scoring: Scoring, program: str, image: str, dice: float) -> Cell:
    """Return an image with both masks; of a volume, the slice on which they differ most."""
    sets = scoring.sets
    sets_of = (sets.truth, next(each for each in sets.programs if each.name == program))
    truth, mask = (sets.read(each, image).mask for each in sets_of)
    title, index = f"{image}, Dice {dice:.3f}", None
    if truth.ndim == 3:
        index = int((truth ^ mask).sum(axis=(1, 2)).argmax())
        truth, mask, title = truth[index], mask[index], f"{title}, slice {index}"
    grey = _grey_of(sets.image(image), truth, index)
    step = (slice(None, None, -(-max(truth.shape) // _MAX_SIDE)),) * 2
    return Cell(title, grey[step], truth[step], mask[step])


def _grey_of(file: Path | None, mask: Mask, index: int | None) -> Grey:
    """Return the image of a mask, or a grey one if it was not given, cannot be read, or has another size."""
    plain = np.full(mask.shape, _GREY, np.uint8)
    if file is None or is_volume(file) != (index is not None):
        return plain
    try:
        picture = read_picture(file) if index is None else None
        grey = picture.turn.upright(picture.grey) if picture else to_grey(read_volume(file).hounsfield[index])
    except (ValueError, IndexError):
        return plain
    return grey if grey.shape == mask.shape else plain


def _sections(
    scoring: Scoring, summary: str, tables: dict[str, pd.DataFrame], folder: Path
) -> Iterator[tuple[str, str]]:
    """Yield the title and the HTML of each section that has something to show."""
    yield "Summary", f"<h2>Summary</h2>{summary}<p>{AS_GIVEN}</p>"
    images = counted(scoring.compared["id"].nunique(), "image")
    yield "Masks", html_section("Masks", ABOUT_MASKS.format(images=images), scoring.coverage)
    if COMPARISON in tables:
        yield from _comparison_sections(tables, folder)
    if len(problems := scoring.problems):
        yield "Problems", html_section("Problems", "The file problems.csv has all.", problems.head(_MAX_PROBLEMS))


def _comparison_sections(tables: dict[str, pd.DataFrame], folder: Path) -> Iterator[tuple[str, str]]:
    yield "Scores", html_section("Scores", ABOUT_SCORES, tables[COMPARISON])
    if PAIRED_TESTS in tables:
        body = html_section("Which is better", ABOUT_TESTS, tables[PAIRED_TESTS], TEST_COLUMNS)
        yield "Which is better", body + picture(folder / DIFFERENCES)
    if GROUPS in tables:
        yield "Groups of patients", html_section("Groups of patients", "Mean Dice.", tables[GROUPS])
    charts = {
        "How scores are spread": ("A point is an image, a diamond the mean over patients.", "scores.png distances.png"),
        "Area of the lungs": ("Prediction minus ground truth, with the limits of agreement.", "bland_altman.png"),
        "Pixels": ("All pixels of all images together, as shares of their class.", "confusion.png"),
        "Where they fail": ("The worst images of each program.", "worst_*.png"),
    }
    for title, (text, patterns) in charts.items():
        shown = "".join(picture(file) for pattern in patterns.split() for file in sorted(folder.glob(pattern)))
        yield title, f"<h2>{title}</h2><p>{text}</p>{shown}"


def _anchor(text: str) -> str:
    """Return a text as a word for file names and links.

    >>> _anchor("Which is better")
    'which_is_better'
    """
    return re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_").lower()[:60]
