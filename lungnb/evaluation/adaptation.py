"""Adapt a network to the masks of one reader: train it further on a few corrected images, and estimate the benefit."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from lungnb import __version__
from lungnb.artefacts import CARD, EARLIER, ESTIMATE, ESTIMATE_CHART, MODEL, PLAN, RUN, given_path
from lungnb.datasets.reading import ReadOptions
from lungnb.engines.engines import engine_of, load_model, model_file
from lungnb.evaluation.film_doubts import doubts_of
from lungnb.evaluation.films import Film, digest_of_films, read_films
from lungnb.files import (
    NotWritten,
    locked,
    move_aside,
    need,
    read_json,
    remove,
    remove_leftovers,
    remove_made,
    writable,
    write_json,
    written,
)
from lungnb.formats.opening import digest_of_file
from lungnb.formats.tables import read_table, write_table
from lungnb.masks import LUNG_THRESHOLD, Mask, clean_mask
from lungnb.messages import print_lines, printable
from lungnb.metrics import dice
from lungnb.networks import backend
from lungnb.networks.backend import keras
from lungnb.networks.chest_output import has_chest
from lungnb.networks.examples import Examples, examples_of
from lungnb.networks.records import git_commit, trained_window
from lungnb.networks.tuning import RECIPE, fine_tune, share_for, steps_for
from lungnb.segmentation.inference import is_negative, predict
from lungnb.settings import SHIPPED, counted

MIN_PATIENTS_TO_ESTIMATE = 3  # with fewer, a network of the estimate would be adapted to one patient
_FOLDS = 3  # of the estimate
_FALL = 0.02  # of Dice, in the estimate; the mask of a film that loses more seems to follow other rules
_MAX_NAMED = 5  # films in one sentence
_ADAPTED = "adapted.keras"  # the adapted network, if the estimate says that it is worse
_WRITTEN = (MODEL, _ADAPTED, RUN, ESTIMATE, ESTIMATE_CHART, CARD)


class Adaptation(NamedTuple):
    """The results of `adapt`: the network to use, the images, and the estimate of the benefit."""

    file: Path  # the network to use: `model.keras` in the folder
    images: int
    left_out: list[tuple[str, str]]  # files that were not used, with the reasons
    estimate: pd.DataFrame | None  # one row per image: `id`, `patient`, Dice `before` and `after`
    sentence: str  # what the estimate says


def adapt_network(
    folder: str | Path, out: str | Path, model: str | Path | None = None, labels: Sequence[int] | None = None,
    patient_pattern: str | None = None, estimate: bool = True, progress: bool = True,
) -> Adaptation:  # fmt: skip
    """Train a network further, and write it into `out`, as `lungnb.adapt` does, but draw no chart of the estimate."""
    if not backend.HAS_TENSORFLOW:
        raise RuntimeError("lungnb adapt needs TensorFlow: install it, and set KERAS_BACKEND=tensorflow.")
    folder, start = given_path(folder, "the folder of the images"), model_file(model)
    out = given_path(out, "the folder for the network").absolute()
    if not need(folder, "make it, with images/ and masks/ in it,").is_dir():
        raise ValueError(f"{folder}: is a file. Name the folder with images/ and masks/ in it.")
    if out.resolve().is_relative_to(folder.resolve()) or out.is_file():
        where = "is a file" if out.is_file() else "lies in the folder of the images"
        raise ValueError(f"{out}: {where}. Name another folder for the network.")
    if start.parent == out.resolve():
        raise ValueError(f"{out}: holds the network to start from. Name another folder for the adapted one.")
    window = trained_window(start.with_name(RUN))
    options = ReadOptions(window, mask_values=tuple(labels) if labels else None)
    films, left_out = read_films(folder, options, patient_pattern)
    network = load_model(start)
    predictions = [_mask_of(network, film) for film in films]
    before = [float(dice(film.mask, mask)) for film, mask in zip(films, predictions, strict=True)]
    if progress:
        print_lines(*(f"{file}: {reason}" for file, reason in left_out), *doubts_of(films, predictions))
    plan = {"start": digest_of_file(start), "images": digest_of_films(films), **RECIPE}
    with locked(out), writable(out), backend.free_graphs():
        remove_leftovers(out)
        _set_aside(out, plan, progress)
        if not _is_done(out, plan):
            _train(out, plan, films, network, window, progress)
        estimate = estimate or (out / ESTIMATE).is_file()
        table = _estimate(out, films, before, network, progress) if estimate else None
        sentence = _sentence(table, len({film.patient for film in films}), estimate)
        adapted = MODEL
        if table is not None and _is_worse(table):
            _keep_start(out, start)
            adapted = _ADAPTED
            sentence += f" So {MODEL} is the network from before, and {_ADAPTED} the adapted one."
        with written(out / CARD) as file:
            file.write_text(_card(folder, start, films, sentence, adapted), encoding="utf-8")
        remove(out / "training")
    if progress:
        print_lines(sentence)
    return Adaptation(out / MODEL, len(films), left_out, table, sentence)


def dice_of_film(network: keras.Model, film: Film) -> float:
    """Return the Dice of a network's cleaned mask of a film."""
    return float(dice(film.mask, _mask_of(network, film)))


def _mask_of(network: keras.Model, film: Film) -> Mask:
    return clean_mask(predict(engine_of(network), film.image) > LUNG_THRESHOLD)


def _is_done(out: Path, plan: dict[str, object]) -> bool:
    return read_json(out / RUN).get("adaptation") == plan and (out / MODEL).is_file()


def _set_aside(out: Path, plan: dict[str, object], progress: bool) -> None:
    """Move another adapted network away, with all that is in its folder, by one rename.

    Raises NotWritten if the folder holds a file that would be replaced, and is not that of an adapted network.
    """
    is_ours = read_json(out / RUN).get("adaptation") or {*plan} <= {*read_json(out / PLAN)}
    if not is_ours and (other := next((name for name in _WRITTEN if os.path.lexists(out / name)), None)):
        raise NotWritten(f"{out}: holds {other}, which `lungnb adapt` did not write. Name another folder.")
    if read_json(out / PLAN) != plan:
        remove_made(out / "training", Path(PLAN).name)
    if _is_done(out, plan) or not (out / MODEL).exists():
        return
    place = move_aside(out, out.parent / EARLIER)
    if progress:
        print_lines(f"The network that was adapted before, to other images, is now in {place}.")


def _train(
    out: Path, plan: dict[str, object], films: list[Film], network: keras.Model,
    window: tuple[float, float] | None, progress: bool,
) -> None:  # fmt: skip
    """Write `model.keras`, and then `run.json`, which says that the network is whole."""
    write_json(out / PLAN, plan)
    title = f"Adapting to {counted(len(films), 'image')}"
    tuned = fine_tune(network, _examples(films, network), out / "training" / "network", title, progress=progress)
    with written(out / MODEL) as file:
        tuned.save(file)
    settings = {"image_size": network.input_shape[1], "window": list(window) if window else None}
    run = {"plan": {"model": network.name, "settings": settings, "data": plan["images"], "weights": plan["start"]}}
    run |= {"adaptation": plan, "parameters": tuned.count_params(), "versions": {"lungnb": __version__}}
    write_json(out / RUN, run | {"git_commit": git_commit()})


def _examples(films: list[Film], network: keras.Model) -> Examples:
    """Return the films as the network sees them: with dark lungs, if `predict` inverts negatives for it."""
    is_inverted = [has_chest(network) and is_negative(film.image, film.mask) for film in films]
    images = [255 - film.image if inverted else film.image for film, inverted in zip(films, is_inverted, strict=True)]
    return examples_of(zip(images, (film.mask for film in films), strict=True), network.input_shape[1])


def _estimate(
    out: Path, films: list[Film], before: list[float], network: keras.Model, progress: bool
) -> pd.DataFrame | None:
    """Return the Dice of each film before and after, adapted to the films of other patients; None for few patients."""
    if (out / ESTIMATE).is_file():
        return read_table(out / ESTIMATE)
    patients = sorted({film.patient for film in films})
    if len(patients) < MIN_PATIENTS_TO_ESTIMATE:
        return None
    rows = []
    for fold in range(_FOLDS):
        tested = set(patients[fold::_FOLDS])
        others = [film for film in films if film.patient not in tested]
        place, title = out / "training" / f"fold_{fold + 1}", f"Estimate, part {fold + 1} of {_FOLDS}"
        tuned = fine_tune(network, _examples(others, network), place, title, progress=progress)
        rows += [
            (film.id, film.patient, score, dice_of_film(tuned, film))
            for film, score in zip(films, before, strict=True)
            if film.patient in tested
        ]
    table = pd.DataFrame(rows, columns=["id", "patient", "before", "after"])
    write_table(table, out / ESTIMATE)
    return table


def _sentence(table: pd.DataFrame | None, patients: int, is_asked: bool) -> str:
    """Return what the estimate says, or why there is none."""
    if table is None:
        these = f"these are of {counted(patients, 'patient')}"
        few = f"The benefit was not estimated: it takes images of {MIN_PATIENTS_TO_ESTIMATE} patients, and {these}."
        return few if is_asked else "The benefit was not estimated."
    means = table.groupby("patient")[["before", "after"]].mean()
    before, after, gains = means["before"].mean(), means["after"].mean(), (means["after"] > means["before"]).sum()
    return (
        f"Estimated on {counted(len(means), 'patient')}, each by a network adapted to the others: Dice {before:.3f} "
        f"before, {after:.3f} after; {gains} of them improve. With so few patients, this is only a hint."
    ) + _say_rules(table)


def _is_worse(table: pd.DataFrame) -> bool:
    return bool((table["after"] - table["before"]).groupby(table["patient"]).mean().mean() < 0)


def _say_rules(table: pd.DataFrame) -> str:
    """Return a sentence that names the images whose masks seem to follow other rules than the rest, or nothing."""
    falls = table.assign(fall=table["before"] - table["after"]).query("fall > @_FALL").nlargest(len(table), "fall")
    if falls.empty:
        return ""
    named, more = ", ".join(map(_code, falls["id"][:_MAX_NAMED])), len(falls) - _MAX_NAMED
    return (
        f" Adapted to the others, the network became worse by more than {_FALL:g} on {named}"
        f"{f' and {more} more' if more > 0 else ''}. Check that all masks follow the same rules: some readers include "
        "the lung behind the heart, and others leave it out."
    )


def _keep_start(out: Path, start: Path) -> None:
    """Make `model.keras` the network from before, and keep the adapted one beside it."""
    if digest_of_file(out / MODEL) != digest_of_file(start):  # otherwise an earlier run did it
        for source, name in ((out / MODEL, _ADAPTED), (start, MODEL)):
            with written(out / name) as file:
                shutil.copyfile(source, file)


def _card(folder: Path, start: Path, films: list[Film], sentence: str, adapted: str) -> str:
    """Return the model card of an adapted network, which is in the file `adapted`."""
    origin = "the network that comes with lungnb" if start.resolve() == SHIPPED.resolve() else _code(start.name)
    patients, place = counted(len({film.patient for film in films}), "patient"), _code(folder.resolve().name)
    return f"""# A network adapted to the masks of one reader

`{adapted}` is {origin}, trained further on {counted(len(films), "image")} of {patients} from the folder
{place}. `lungnb segment film.png --out masks --model` with the path of this folder uses `{MODEL}`.

**How.** {steps_for(len(films))} steps of {RECIPE["batch_size"]} augmented images by Adam. The learning rate falls from
{RECIPE["learning_rate"]:g} to 0, and no image was set aside.
`{adapted}` lies {share_for(len(films)):.0%} of the way from the old weights to the new ones:
{RECIPE["share_of_one"]:.0%} after one image, which may be unlike the others, and up to
{RECIPE["share"]:.0%} from {RECIPE["few_images"]} on. These figures were chosen on films of the Montgomery set only.

**Benefit.** {sentence}

**Where the data came from.** The weights are derived from the images and masks in that folder. Whoever may not pass on
these images should ask before passing on the network. It may be worse on images of another kind.

**Not a medical device.** For research and teaching. Look at each mask.

Images: {", ".join(_code(film.id) for film in films)}
"""


def _code(name: object) -> str:
    """Return a name as code in Markdown, which shows it as it is: no link, picture or HTML."""
    return "`" + printable(name).replace("`", "'") + "`"
