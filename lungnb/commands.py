"""The verbs of the command line: their arguments, their help, and what each does."""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, NoReturn

from lungnb import __version__
from lungnb.artefacts import EXCLUDED
from lungnb.engines.engines import ENGINES
from lungnb.messages import printable, say
from lungnb.settings import (
    PROFILES,
    RECIPES,
    TITLES,
    Settings,
    changes_everywhere,
    counted,
    make_settings,
    parse_changes,
)

if TYPE_CHECKING:
    import pandas as pd

MODEL_NAMES = tuple(TITLES)


def _download(options: argparse.Namespace) -> None:
    from lungnb.datasets.fetch import download
    from lungnb.datasets.sources import catalogue

    if options.dataset is None:
        say(*catalogue().to_string(index=False).split("\n"))
    else:
        say(f"{options.dataset} is in {download(options.dataset)}")


def _recipes(options: argparse.Namespace) -> None:
    from lungnb.settings import recipes

    for name, recipe in recipes().iterrows():
        training = "{loss}, {optimizer} {learning_rate:g}, batch {batch_size}, up to {epochs} epochs".format(**recipe)
        size = f"{recipe['dataset']} at {recipe['image_size']} px"
        say(name, f"    {recipe['about']}.", f"    {size}; {recipe['models']}; {training}")


def _prepare(options: argparse.Namespace) -> None:
    from lungnb.datasets.prepare import prepare_dataset
    from lungnb.datasets.prepared import open_prepared

    settings = _settings(options)
    manifest = prepare_dataset(settings)
    excluded = open_prepared(settings).excluded
    counts = ", ".join(f"{count} {split}" for split, count in manifest["split"].value_counts().items())
    say(f"{len(manifest)} pairs in {settings.prepared}: {counts}.")
    if len(excluded):
        say(f"{len(excluded)} files left out, listed in {settings.prepared / EXCLUDED}.")


def _check(options: argparse.Namespace) -> int:
    from lungnb.datasets.check import check_dataset

    findings = check_dataset(_settings(options))
    for row in findings[findings["severity"] != "note"].itertuples():
        what = row.what if row.what.endswith("?") else f"{row.what};"
        say(f"{row.severity}: {row.file}: {what} {row.advice}.")
    counts = findings["severity"].value_counts()
    say(", ".join(counted(counts.get(name, 0), name) for name in ("error", "warning", "note")))
    return 1 if counts.get("error") else 0


def _train(options: argparse.Namespace) -> None:
    from lungnb.networks.pretraining import fetch_weights
    from lungnb.networks.training import train

    settings = _settings(options)
    fetch_weights(settings)
    for name in options.model or settings.models:
        history = train(settings, name)
        best = history.loc[history["val_loss"].idxmin()]
        epochs = counted(len(history), "epoch")
        say(f"{name}: validation Dice {best['val_dice']:.4f} after {epochs}; {settings.results / name}")


def _evaluate(options: argparse.Namespace) -> None:
    from lungnb.evaluation.conclusions import verdict
    from lungnb.evaluation.evaluation import compare, evaluate

    settings = _settings(options)
    names = options.model or [*settings.models]
    for name in names:
        evaluate(settings, name)
    table = compare(settings, names).T.to_string(float_format="{:.4f}".format)
    say(*table.split("\n"), verdict(settings, names))


def _segment(options: argparse.Namespace) -> int:
    if options.ray:
        return _segment_on_cluster(options)
    from lungnb.segmentation.batch import segment_files

    written = (options.overlay, options.cutout, options.probability, options.dicom_seg)
    with redirect_stdout(sys.stderr if options.json else sys.stdout):  # because only the JSON is for standard output
        table = segment_files(options.paths, options.out, options.model, *written, engine=options.engine)
        failed = table[table["status"] == "failed"]
        say(*(f"lungnb: {error}" for error in failed["error"]), file=sys.stderr)
        say(f"{len(table) - len(failed)} of {len(table)} images segmented; see {options.out}/segmentation.csv")
        if review := (table["review"] != "").sum():
            say(f"{review} of them should be looked at: see its column review")
    if options.json:
        say(_as_json(table))
    return 1 if len(failed) else 0


def _as_json(table: pd.DataFrame) -> str:
    """Return a table as JSON, a list of rows; a missing value is null.

    Not by pandas, which refuses file names that are not UTF-8; here such a byte is a lone surrogate, as in Python.
    """
    return json.dumps(table.astype(object).where(table.notna(), None).to_dict("records"), allow_nan=False)


def _segment_on_cluster(options: argparse.Namespace) -> int:
    from lungnb.segmentation.cluster import segment_on_cluster
    from lungnb.segmentation.listing import TABLE, Options

    if options.json:
        raise ValueError(f"--json prints a whole table; with --ray, read {options.out}/{TABLE}.")
    wanted = Options(options.overlay, options.cutout, options.probability, options.dicom_seg)
    total = segment_on_cluster(options.paths, options.out, options.ray, options.model, wanted, engine=options.engine)
    say(f"{total['images'] - total['failed']} of {total['images']} images segmented; see {options.out}/{TABLE}")
    if total["review"]:
        say(f"{total['review']} of them should be looked at: see its column review")
    return 1 if total["failed"] else 0


def _export(options: argparse.Namespace) -> None:
    from lungnb.engines.export import export_model
    from lungnb.engines.parity import parities

    say(f"Exporting to {options.format} ...")
    file = export_model(options.model, options.format, options.out, options.half)
    say(f"{file}: {file.stat().st_size / 1e6:.1f} MB")
    for engine, parity in parities(file).items():
        say(f"    {engine}: Dice with the masks of Keras {parity.mean_dice:.4f}, at worst {parity.worst_dice:.4f}")


def _report(options: argparse.Namespace) -> None:
    from lungnb.report.series import run_series

    seeds, settings = _seeds(options.seeds), _settings(options)
    changes = changes_everywhere() | parse_changes(options.set)
    say(run_series(settings.dataset, settings.profile, options.series == "all", changes, seeds))


def _seeds(text: str) -> int:
    """Return the number of seeds that `--seeds` or LUNGNB_SEEDS gives."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise ValueError(f"--seeds, or LUNGNB_SEEDS, must be a whole number of at least 1, not {text!r}.")
    return int(text)


def _publish(options: argparse.Namespace) -> None:
    from lungnb.report.publishing import publish

    say(publish(_settings(options), options.out))


class _Parser(argparse.ArgumentParser):
    """A parser whose errors repeat no argument that would steer the terminal."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and what is wrong, and exit with 2."""
        super().error(printable(message))


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; the options it returns have a function `run` for their verb."""
    parser = _Parser("lungnb", description="Lung segmentation in chest X-rays and CT.")
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    add = _verb(verbs, "download", _download, "bring a data set here; without a name, list them", "download montgomery")
    add("dataset", nargs="?", help="a name of the catalogue")
    _verb(verbs, "recipes", _recipes, "list the recipes: systems with all their settings", "recipes")
    add = _verb(
        verbs, "prepare", _prepare, "pair, check, split and convert a data set", "prepare montgomery",
        "prepare data/mine/ --set split_fractions=0.85,0.15,0",
    )  # fmt: skip
    _add_settings(add)
    add = _verb(
        verbs, "check", _check, "look a data set through: what is wrong, in which file", "check montgomery",
        "check data/mine/",
    )  # fmt: skip
    _add_settings(add)
    add = _verb(
        verbs,
        "train",
        _train,
        "train models",
        "train montgomery --model unet --profile full --set epochs=20",
        "train --recipe simple-unet --set seed=2",
    )
    _add_settings(add)
    add("--model", action="append", choices=MODEL_NAMES, help="again for another; default: those of the settings")
    add = _verb(verbs, "evaluate", _evaluate, "score trained models on the test split", "evaluate montgomery")
    _add_settings(add)
    add("--model", action="append", choices=MODEL_NAMES, help="again for another; default: those of the settings")
    add = _verb(
        verbs,
        "segment",
        _segment,
        "write the lung masks of images and volumes",
        "segment chest.png films/ --out masks --overlay",
        "segment 'scans/**/*.nii.gz' series/ --out masks",
    )
    add("paths", nargs="+", help="image files, NIfTI volumes, folders of them or of a DICOM series, patterns")
    add("--out", required=True, help="folder for the masks and segmentation.csv")
    add("--model", help="a model.keras, as results/montgomery/unet/model.keras; default: the one that lungnb ships")
    add("--engine", choices=("auto", *ENGINES), default="auto", help="what computes; auto: the first that is installed")
    add(
        "--overlay",
        action="store_true",
        help="write <stem>_overlay.png, the mask on the image, or on nine slices",
    )
    add("--cutout", action="store_true", help="of images: write <stem>_cutout.png, the lungs alone, cropped")
    add("--probability", action="store_true", help="of images: write <stem>_probability.png, 0 to 255")
    add("--dicom-seg", action="store_true", help="write <stem>_seg.dcm, a DICOM Segmentation; it names the patient")
    add("--json", action="store_true", help="print the table as JSON, and all else as errors are")
    add("--ray", metavar="ADDRESS", help="on a Ray cluster: local (this machine), auto, or host:port; see README.md")
    add = _verb(
        verbs, "export", _export, "write a trained model for ONNX Runtime or OpenVINO, and check it",
        "export results/montgomery/unet/model.keras --format onnx --out exported",
    )  # fmt: skip
    add("model", nargs="?", help="a model.keras; default: the one that lungnb ships")
    add("--format", choices=("onnx", "openvino"), default="onnx", help="default: onnx")
    add("--out", default=".", help="folder; default: this one")
    add("--half", action="store_true", help="store the weights in half precision")
    add = _verb(
        verbs,
        "report",
        _report,
        "run the notebooks, write the report",
        "report montgomery --profile full",
        "report --recipe simple-unet",
        "report montgomery --seeds 3 --set folds=5",
    )
    _add_settings(add)
    add(
        "--seeds",
        default=os.environ.get("LUNGNB_SEEDS") or "1",
        help="train every model with so many random seeds; default: 1",
    )
    add("--series", choices=("core", "all"), default="core", help="core: up to notebook 07")
    add = _verb(
        verbs, "publish", _publish, "copy tables, charts and scores of a report, no images, to be published",
        "publish --recipe simple-unet",
    )  # fmt: skip
    _add_settings(add)
    add("--out", help="folder; default: results/published/<recipe>, or <dataset>")
    return parser


def _verb(verbs: argparse._SubParsersAction, name: str, run: object, what: str, *examples: str) -> object:
    """Add a verb and return its `add_argument`."""
    epilog = "examples:\n" + "\n".join(f"  lungnb {example}" for example in examples)
    form = argparse.RawDescriptionHelpFormatter
    verb = verbs.add_parser(name, help=what, description=what.capitalize() + ".", epilog=epilog, formatter_class=form)
    verb.set_defaults(run=run)
    return verb.add_argument


def _add_settings(add: object) -> None:
    add("dataset", nargs="?", help="a name of the catalogue or a folder; default: the recipe's, or phantom")
    add("--dataset", dest="named_dataset", help=argparse.SUPPRESS)  # for those who would rather say so
    add("--profile", choices=PROFILES, default=os.environ.get("LUNGNB_PROFILE") or "quick", help="default: quick")
    add("--recipe", choices=RECIPES, help="a system with all its settings, in place of a profile; see `lungnb recipes`")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting; again for another")


def _settings(options: argparse.Namespace) -> Settings:
    given = (options.dataset, options.named_dataset, os.environ.get("LUNGNB_DATASET") or None)
    dataset = next((dataset for dataset in given if dataset is not None), None)  # an empty one is refused
    return make_settings(dataset, options.recipe or options.profile, **parse_changes(options.set))
