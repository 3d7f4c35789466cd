"""List and remove runs (trainings of networks), and say which of them a comparison uses."""

from collections.abc import Sequence
from datetime import datetime

import pandas as pd

from lungnb.artefacts import EARLIER, MODEL, RUN
from lungnb.datasets.origin import refuse_other_origin
from lungnb.datasets.prepared import open_prepared
from lungnb.files import remove
from lungnb.formats.tables import make_table
from lungnb.networks.records import best_dice, plan_of, read_run_file, settings_of
from lungnb.presets import changes_of
from lungnb.settings import Settings, title_of

_COLUMNS = ("run", "model", "trained", "validation_dice", "profile", "changes")
_NO_PART_OF_TRAINING = ("dataset", "profile", "models")  # names; what they stand for is compared
_IN_NOTEBOOKS = ("unet", "resunet", "r2unet")  # the models that notebooks 03 to 05 train


def list_runs(settings: Settings) -> pd.DataFrame:
    """Return the runs in results/<dataset>, one row per run: the latest of each model, then earlier ones.

    `run` is the folder, `trained` is when the weights were saved, and `changes` are the settings that differ from the
    profile. The other columns of an unfinished or damaged run are empty. Raises ValueError if the folder is that of
    another data set of the same name.
    """
    refuse_other_origin(settings.dataset, settings.prepared, settings.results)
    files = [*sorted(settings.results.glob(f"*/{MODEL}")), *sorted(settings.results.glob(f"**/{EARLIER}/*/{MODEL}"))]
    rows = []
    for file in files:
        saved = datetime.fromtimestamp(file.stat().st_mtime)
        row = {"run": file.parent.relative_to(settings.results).as_posix(), "trained": f"{saved:%Y-%m-%d %H:%M}"}
        try:
            run = read_run_file(file.with_name(RUN))
            row["validation_dice"] = f"{best_dice(file.parent):.3f}"
            changes = [change for change in changes_of(settings_of(run)) if not change.startswith("models=")]
            row |= {"model": run["plan"]["model"], "profile": settings_of(run).profile, "changes": "; ".join(changes)}
        except (ValueError, KeyError):  # an unknown profile is a KeyError
            row["changes"] = "unfinished or damaged"
        rows.append(row)
    return make_table(rows, _COLUMNS).fillna("")


def remove_runs(settings: Settings, names: Sequence[str]) -> None:
    """Remove earlier runs by their names in `list_runs`, such as `earlier/unet-1`.

    Raises ValueError, and removes nothing, if one of the names is not that of an earlier run.
    """
    earlier = [run for run in list_runs(settings)["run"] if EARLIER in run.split("/")]
    for name in names:
        if name not in earlier:
            raise ValueError(
                f"{name} is not an earlier run in {settings.results}, so nothing was removed. The earlier runs are: "
                f"{', '.join(earlier) or 'none'}."
            )
    for name in names:
        remove(settings.results / name)


def untrained_models(settings: Settings) -> list[str]:
    """Return the settings' models that must still be trained before they are compared.

    A trained model on the prepared data is ready in two cases: it has its own notebook, or it began with initial
    weights (`weights`) while these settings have none. All other models must be trained with these settings; `train`
    does not repeat a finished training.
    """
    ready = [
        name
        for name in trained(settings, settings.models)
        if name in _IN_NOTEBOOKS
        or (not settings.weights and plan_of(settings.results / name).get("settings", {}).get("weights"))
    ]
    return [name for name in settings.models if name not in ready]


def trained(settings: Settings, model_names: Sequence[str]) -> list[str]:
    """Return the networks that are trained on the prepared data, in the order of `model_names`."""
    digest, folders = open_prepared(settings).digest, {name: settings.results / name for name in model_names}
    done = [name for name, folder in folders.items() if (folder / MODEL).exists() and (folder / RUN).exists()]
    return [name for name in done if plan_of(folders[name]).get("data") == digest]


def other_settings(settings: Settings, model_names: Sequence[str]) -> list[str]:
    """Return a sentence for each trained network whose settings were others than these.

    Its scores are those of the network as it was trained, whatever the settings say now.
    """
    sentences = []
    for name in model_names:
        trained, asked = settings_of(read_run_file(settings.results / name / RUN)).training(), settings.training()
        changed = [key for key in asked if key not in _NO_PART_OF_TRAINING and trained[key] != asked[key]]
        differences = "; ".join(f"{key}={trained[key]}, not {asked[key]}" for key in changed)
        if changed:
            sentences.append(
                f"{name} was trained with {differences}. Its scores are of that training. To train it with the "
                "settings that you gave, run `lungnb train` with them first."
            )
    return sentences


def say_runs(settings: Settings) -> str:
    """Return which runs a comparison of the settings' models uses, and which earlier runs it leaves out, in words."""
    runs = list_runs(settings)
    rows = runs.assign(changes=runs["changes"].mask(runs["changes"] == "", "no changes")).to_dict("records")
    compared = [row for name in settings.models for row in rows if row["run"] == name]
    used = [
        f"{title_of(row['run'])} of {row['trained']} ({row['profile']}, {row['changes']}; validation Dice "
        f"{row['validation_dice']})"
        for row in compared
    ]
    others = [
        f"{row['run']} ({row['validation_dice'] or row['changes']})" for row in rows if EARLIER in row["run"].split("/")
    ]
    left_out = f" Earlier runs, not compared, with their validation Dice: {', '.join(others)}." if others else ""
    return f"Runs compared: {'; '.join(used)}.{left_out}" if used else ""
