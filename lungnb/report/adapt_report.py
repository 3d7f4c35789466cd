"""Adapt a network, and draw the estimate of the benefit beside it."""

from collections.abc import Sequence
from pathlib import Path

from lungnb.artefacts import ESTIMATE_CHART
from lungnb.evaluation.adaptation import Adaptation, adapt_network
from lungnb.figures.charts import adaptation_chart
from lungnb.files import written


def adapt(
    folder: str | Path, out: str | Path, model: str | Path | None = None, labels: Sequence[int] | None = None,
    patient_pattern: str | None = None, estimate: bool = True, progress: bool = True,
) -> Adaptation:  # fmt: skip
    """Train a network further on your own images with masks; write it into `out`.

    `out` gets `model.keras`, `run.json` and a model card, `README.md`. `segment` takes the folder as its model. With
    three patients or more, it also gets `estimate.csv`: the Dice of each image before and after adapting to the images
    of other patients, and `estimate.png`, their chart. If the mean over patients is lower after than before,
    `model.keras` is the network from before. Steps, learning rate and augmentation are fixed
    (`lungnb.networks.tuning`), so no image is set aside.

    An interrupted run continues. A finished one is not repeated. If `out` holds a network that was adapted to other
    images, its folder is moved to `earlier/` beside it.

    Args:
        folder: at least one image with its mask, in any layout that `prepare_dataset` reads. A volume gives up to 16
            slices, evenly spaced over those whose mask has lung.
        out: the folder for the network.
        model: the network to start from, a `model.keras` or a folder with one; None: the one that lungnb ships.
        labels: the labels of lung, if the masks show other organs too.
        patient_pattern: as in the settings; without one, each image is a patient, and so is each volume.
        estimate: estimate the benefit, which takes up to three times as long as adapting.
        progress: show progress bars and messages.

    Raises FileNotFoundError if there is no such folder or network, ValueError if no pair can be used or `out` lies in
    `folder`, RuntimeError if another run is at work in `out`, or if Keras does not compute with TensorFlow.
    """
    done = adapt_network(folder, out, model, labels, patient_pattern, estimate, progress)
    if done.estimate is not None:
        with written(done.file.with_name(ESTIMATE_CHART)) as file:
            adaptation_chart(done.estimate).savefig(file)
    return done
