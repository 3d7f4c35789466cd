"""Fill in the CLAIM checklist and a model card for each model, as far as the records of a run allow.

CLAIM is the Checklist for Artificial Intelligence in Medical Imaging in its update of 2024 (Tejani and others,
https://doi.org/10.1148/ryai.240300); `claim.csv` paraphrases its items. Model cards are after Mitchell and others
(2019), https://arxiv.org/abs/1810.03993; `model_card.md` is the form.
"""

import dataclasses
import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lungnb.datasets.prepared import open_prepared
from lungnb.datasets.sources import find_source
from lungnb.evaluation.evaluation import read_scores
from lungnb.evaluation.statistics import mean_interval, patient_means
from lungnb.networks.records import RunRecord, settings_of
from lungnb.networks.training import read_run
from lungnb.presets import command_of
from lungnb.settings import SPLITS, Settings, counted, title_of

UNKNOWN = "not stated"
_FORMS = Path(__file__).parent


def claim(settings: Settings, model_names: list[str]) -> pd.DataFrame:
    """Return the CLAIM checklist of a finished run, one row per item: section, item, and what is known of the run.

    Items that a run does not record read "not stated". Raises FileNotFoundError if a model is not trained and scored.
    """
    scores, runs = read_scores(settings, model_names), [read_run(settings, name) for name in model_names]
    facts = _facts(settings, scores, runs)
    table = pd.read_csv(_FORMS / "claim.csv", index_col="number").fillna({"statement": UNKNOWN})
    return table.assign(statement=[" ".join(text.format(**facts).split()) for text in table["statement"]])


def model_card(settings: Settings, model_name: str) -> str:
    """Return the card of a trained and scored model as Markdown: what it is, its data, its scores, and its use."""
    scores, run = read_scores(settings, [model_name]), read_run(settings, model_name)
    card = {
        "name": title_of(model_name), "count": run["parameters"], "dice": f"{patient_means(scores).mean():.3f}",
        "interval": _interval(scores), "tenth": patient_means(scores).quantile(0.1),
    }  # fmt: skip
    return (_FORMS / "model_card.md").read_text(encoding="utf-8").format(**_facts(settings, scores, [run]) | card)


def card_html(card: str) -> str:
    """Return a model card as HTML. `card` is Markdown that `model_card` returned."""
    text = html.escape(card.strip(), quote=False)
    for mark, tag in ((r"\*\*", "b"), (r"\*", "i"), ("`", "code")):
        text = re.sub(rf"{mark}(.+?){mark}", rf"<{tag}>\1</{tag}>", text)
    first, _, items = text.partition("\n\n")
    listed = "".join(f"<li>{item}</li>" for item in re.split(r"(?:^|\n)- ", items) if item)
    return f"<p>{first}</p><ul>{listed}</ul>"


def _facts(settings: Settings, scored: pd.DataFrame, runs: Sequence[RunRecord]) -> dict[str, Any]:
    """Return the facts of a run by the names that the forms use, from the scores and the records of its models."""
    prepared = open_prepared(settings)
    manifest, run, trained = prepared.manifest, runs[0], settings_of(runs[0])
    by_model = {title_of(name): scored[scored["model"] == name] for name in scored["model"].unique()}
    worst = scored.iloc[scored["dice"].argmin()]
    source = find_source(settings.dataset)
    is_drawn = source.kind != "own" and not source.files
    facts = {
        "titles": ", ".join(by_model), "excluded": len(prepared.excluded), "images": len(manifest),
        "patients": manifest["patient"].nunique(), "parts": _parts(manifest), "how": _how_split(trained),
        "window": " in a window of {:g} to {:g} HU".format(*trained.window) if trained.window else "",
        "weights": f"Those of {trained.weights}" if trained.weights else f"Random ones, seed {trained.seed}",
        "parameters": "; ".join(f"{title_of(run['plan']['model'])}: {run['parameters']:,} parameters" for run in runs),
        "versions": ", ".join(f"{name} {version}" for name, version in run["versions"].items()),
        "device": run["device"], "split": scored["split"].iloc[0],
        "scored": counted(scored["id"].nunique(), f"{scored['split'].iloc[0]} image"), "level": _level(manifest),
        "truth": "What the images were drawn from." if is_drawn else "The masks that come with the images.",
        "dice": "; ".join(f"{name} {patient_means(scores).mean():.3f}" for name, scores in by_model.items()),
        "intervals": "; ".join(f"{name} {_interval(scores)}" for name, scores in by_model.items()),
        "worst": worst["id"], "worst_dice": worst["dice"], "worst_model": title_of(worst["model"]),
        "command": "; ".join(command_of(settings_of(each), each["plan"]["model"]) for each in runs),
        "commit": run.get("git_commit") or "unknown", "equivalence_margin": settings.equivalence_margin,
    }  # fmt: skip
    return dataclasses.asdict(source) | dataclasses.asdict(trained) | facts


def _parts(manifest: pd.DataFrame) -> str:
    """Return how many images of how many patients each split has."""
    splits = manifest.groupby("split").agg(images=("id", "size"), patients=("patient", "nunique"))
    rows = splits.reindex(SPLITS).dropna().astype(int).itertuples()
    return "; ".join(f"{row.Index}: {row.images} images of {row.patients} patients" for row in rows)


def _level(manifest: pd.DataFrame) -> str:
    """Return a sentence on whether the splits are by patient or by image."""
    count = int((manifest.groupby("patient")["split"].nunique() > 1).sum())
    return f"By image: {counted(count, 'patient')} of several images are in two or more." if count else "By patient."


def _how_split(settings: Settings) -> str:
    if settings.split_file:
        return f"As listed in {Path(settings.split_file).name}"
    if settings.folds:
        return f"Fold {settings.fold} of {settings.folds}, dealt by patient"
    return "By a hash of the patient's name, in shares of {:.0%}, {:.0%} and {:.0%}".format(*settings.split_fractions)


def _interval(scores: pd.DataFrame) -> str:
    low, high = mean_interval(scores, "dice")
    return "unknown, of one patient" if np.isnan(low) else f"{low:.3f} to {high:.3f}"
