"""Charts that explain what notebooks 09 to 13 teach, mostly from invented data."""

from __future__ import annotations

from matplotlib.figure import Figure

from lungnb.artefacts import MODEL
from lungnb.datasets.prepared import open_prepared
from lungnb.engines.engines import engine_of, load_model
from lungnb.evaluation.calibration import AUGMENTATIONS, predict_augmented
from lungnb.evaluation.probabilities import calibration_error
from lungnb.evaluation.uncertainty_lesson import confidence_examples
from lungnb.figures.pictures import Cell, outline_grid
from lungnb.figures.theme import COLORS, subplots, themed
from lungnb.masks import LUNG_THRESHOLD
from lungnb.metrics import dice
from lungnb.settings import Settings


@themed
def confidence_chart() -> Figure:
    """Draw the reliability diagrams of three invented networks: over-confident, calibrated, under-confident."""
    figure, axes = subplots(1, 3, figsize=(12, 4.3), sharey=True)
    for axis, (name, table) in zip(axes, confidence_examples().items(), strict=True):
        axis.plot([0, 1], [0, 1], color="0.5", linestyle=":")
        axis.vlines(
            table["probability"], table["probability"], table["observed"], color=COLORS[1], linewidth=4, alpha=0.6
        )
        axis.plot(table["probability"], table["observed"], "o-", color=COLORS[0])
        axis.set(
            title=f"{name}, error {calibration_error(table):.2f}",
            xlabel="probability of lung",
            xlim=(0, 1),
            ylim=(0, 1),
        )
        axis.set_aspect("equal")
    axes[0].set_ylabel("share that is lung")
    return figure


def augmentation_grid(settings: Settings, model_name: str, image_id: str) -> Figure:
    """Draw the changed forms of an image that a network predicts, each with its mask and the disagreement."""
    prepared = open_prepared(settings)
    row = next(row for row in prepared.rows(prepared.scoring_split()) if row["id"] == image_id)
    grey, _ = prepared.pair(row)
    engine = engine_of(load_model(settings.results / model_name / MODEL))
    masks = [probability > LUNG_THRESHOLD for probability in predict_augmented(engine, grey)]
    cells = []
    for (name, (change, undo)), mask in zip(AUGMENTATIONS.items(), masks, strict=True):
        title = name if name == "as it is" else f"{name}, 1 - Dice {1 - dice(masks[0], mask):.3f}"
        # Each change of the place is its own inverse, so that `undo` turns the mask to the changed image.
        cells.append(Cell(title, change(grey), None, undo(mask)))
    return outline_grid(cells, columns=4, inches=2.7)
