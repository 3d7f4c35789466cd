"""The verbs of the command line: their arguments and their help."""

from __future__ import annotations

import argparse
import difflib
import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

from lungnb import __version__, engines
from lungnb.commands import actions
from lungnb.messages import printable
from lungnb.presets import RECIPES
from lungnb.settings import PROFILES, TITLES

_Add = Callable[..., argparse.Action]  # `add_argument` of a verb's parser
_Verb = Callable[..., _Add]  # `_verb` with the parser that it adds to
_Run = Callable[..., int | None]  # a function of `actions`


class _Parser(argparse.ArgumentParser):
    """A parser whose error messages cannot steer the terminal, and in which each verb refuses what it does not know."""

    verbs: Sequence[str] = ()

    def parse_known_args(  # type: ignore[override]  # argparse types it with overloads
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        options, unknown = super().parse_known_args(args, namespace)
        if unknown:  # so that the usage is that of the verb
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return options, unknown

    def error(self, message: str) -> NoReturn:
        if match := re.match(r"argument VERB: invalid choice: (['\"])(.*?)\1", message):
            near = difflib.get_close_matches(match[2].lower(), self.verbs, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            message = f"{match[2]} is no verb.{hint} The first word must be one of {', '.join(self.verbs)}."
        super().error(printable(message))


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line. The attribute `run` of parsed options is the function of the verb."""
    parser = _Parser("lungnb", description="Lung segmentation in chest X-rays and CT.")
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    verb = partial(_verb, verbs.add_parser)
    for add_verbs in (_add_data_verbs, _add_training_verbs, _add_image_verbs, _add_report_verbs):
        add_verbs(verb)
    parser.verbs = [*verbs.choices]
    return parser


def _add_data_verbs(verb: _Verb) -> None:
    add = verb(
        "download", actions.run_download, "download a data set; without a name, list them", "download montgomery"
    )
    add("dataset", nargs="?", type=str, help="a name in the catalogue")
    verb("recipes", actions.run_recipes, "list the recipes: systems with all their settings", "recipes")
    examples = ("prepare montgomery", "prepare data/mine/ --set split_fractions=0.85,0.15,0")
    _add_settings(verb("prepare", actions.run_prepare, "pair, check, split and convert a data set", *examples))
    examples = ("check montgomery", "check data/mine/")
    _add_settings(verb("check", actions.run_check, "check a data set and name the files with errors", *examples))


def _add_training_verbs(verb: _Verb) -> None:
    examples = ("train montgomery --model unet --profile full", "train --recipe simple-unet --set epochs=20")
    train = verb("train", actions.run_train, "train models", *examples)
    evaluate = verb("evaluate", actions.run_evaluate, "score trained models on the test split", "evaluate montgomery")
    about = "can be repeated; default: all models of the setting models"
    for add in (train, evaluate):
        _add_settings(add)
        add("--model", action="append", choices=tuple(TITLES), help=about)


def _add_image_verbs(verb: _Verb) -> None:
    examples = ("segment chest.png films/ --out masks --overlay", "segment 'scans/**/*.nii.gz' series/ --out masks")
    add = verb("segment", actions.run_segment, "write the lung masks of images and volumes", *examples)
    add("paths", nargs="+", help="image files, NIfTI volumes, folders with them or with a DICOM series, patterns")
    add("--out", required=True, help="folder for the masks and segmentation.csv")
    add("--model", help="a model.keras or its folder, such as results/montgomery/unet; default: the shipped one")
    add("--engine", choices=("auto", *engines.ENGINES), default="auto", help="auto: the first engine that is installed")
    add("--overlay", action="store_true", help="write <stem>_overlay.png, the mask on the image or on nine slices")
    add("--cutout", action="store_true", help="images only: write <stem>_cutout.png, the lungs cropped")
    add("--probability", action="store_true", help="images only: write <stem>_probability.png, 0 to 255")
    add("--dicom-seg", action="store_true", help="write <stem>_seg.dcm, a DICOM Segmentation; it names the patient")
    add("--upright", action="store_true", help="also segment films that lie on their side or head")
    add("--json", action="store_true", help="print the table as JSON, and everything else on standard error")
    about = "on a Ray cluster: local (this machine), auto, or host:port; see docs/how-to-cluster.md"
    add("--ray", metavar="ADDRESS", help=about)
    add = verb("adapt", actions.run_adapt, "train a network further on corrected masks", "adapt corrected/ --out mine")
    add("folder", help="folder with at least one image and its mask")
    add("--out", required=True, help="folder for the network")
    add("--model", help="the network to start from, a model.keras or its folder; default: the shipped one")
    add("--labels", metavar="1,2", help="the labels of lung, if the masks show other organs too")
    add("--patient-pattern", metavar="REGEX", help="finds the patient in a name; default: each image is a patient")
    add("--no-estimate", dest="estimate", action="store_false", help="do not estimate the benefit, which takes longer")
    example = "export results/montgomery/unet/model.keras --format onnx --out exported"
    add = verb("export", actions.run_export, "export a model for ONNX Runtime or OpenVINO, and check it", example)
    add("model", nargs="?", help="a model.keras or its folder; default: the shipped one")
    add("--format", choices=("onnx", "openvino"), default="onnx", help="default: onnx")
    add("--out", default=".", help="folder; default: the current one")
    add("--half", action="store_true", help="store the weights in half precision")
    about = "write a page that segments films in a browser, without a server and without a connection"
    add = verb("page", actions.run_page, about, "page lungs.html")
    add("out", help="the file to write, which ends in .html")


def _add_report_verbs(verb: _Verb) -> None:
    _add_score(verb)
    examples = ("report montgomery --profile full", "report montgomery --seeds 3 --set folds=5")
    add = verb("report", actions.run_report, "run the notebooks and write the report", *examples)
    _add_settings(add)
    seeds = os.environ.get("LUNGNB_SEEDS") or "1"
    add("--seeds", default=seeds, help="number of random seeds with which to train every model; default: 1")
    add("--series", choices=("core", "all"), default="core", help="core: up to notebook 07")
    examples = ("runs montgomery", "runs montgomery --remove earlier/unet-1")
    add = verb("runs", actions.run_runs, "list the trainings of a data set, also earlier ones", *examples)
    _add_settings(add)
    add("--remove", action="append", default=[], metavar="RUN", help="an earlier run to remove; can be repeated")
    add = verb("notebooks", actions.run_notebooks, "copy the series of notebooks into a folder", "notebooks lungs")
    add("folder", help="a new folder; data and results of the notebooks go there, too")
    about = "copy the tables, charts and scores of a report, without images, for publication"
    add = verb("publish", actions.run_publish, about, "publish --recipe simple-unet")
    _add_settings(add)
    add("--out", help="folder; default: results/published/<recipe>, or <dataset>")


def _add_score(verb: _Verb) -> None:
    examples = ("score truth/ masks/ other_masks/", "score truth/ masks/ totalseg/ --labels totalseg=10,11,12,13,14")
    add = verb("score", actions.run_score, "score masks of any program against the ground truth", *examples)
    add("truth", help="folder of the ground truth")
    add("masks", nargs="+", help="folders of masks, one per program")
    add("--out", help="folder of the report; default: results/scores/<name of the truth's folder>")
    about = "the labels of lung in label maps; NAME= limits them to one folder; can be repeated"
    add("--labels", action="append", metavar="[NAME=]1,2", help=about)
    add("--truth-labels", metavar="1,2", help="the labels of lung in the ground truth")
    add("--images", help="folder of the images, to draw contours on; also gives the pixel size of DICOM images")
    add("--patients", metavar="CSV", help="table with the columns id and patient, and perhaps group and pixel_mm")
    add("--patient-pattern", metavar="REGEX", help="finds the patient in a name; default: each image is a patient")
    add("--pixel-mm", type=_number, metavar="MM", help="side of a pixel, if files such as PNG do not state it")


def _verb(add_parser: Callable[..., _Parser], name: str, run: _Run, about: str, *examples: str) -> _Add:
    """Add a verb. Return its `add_argument`, which by default refuses empty values."""
    epilog = "examples:\n" + "\n".join(f"  lungnb {example}" for example in examples)
    form = argparse.RawDescriptionHelpFormatter
    sentence = f"{about[0].upper()}{about[1:]}."  # `capitalize` would write the names of products small
    verb = add_parser(name, help=about, description=sentence, epilog=epilog, formatter_class=form)
    verb.set_defaults(run=run)
    verb.register("type", None, _given)  # the type of arguments that name no other
    return verb.add_argument


def _given(text: str) -> str:
    """Return the value of an argument; refuse an empty one, which a variable that is not set leaves."""
    if not text.strip():
        raise argparse.ArgumentTypeError("its value is empty; give one")
    if re.fullmatch(r"[\u2012-\u2015\u2212]+[a-z][a-z-]*", text):  # as word processors write hyphens
        raise argparse.ArgumentTypeError(f"{text!r} begins with a long dash; an option begins with two hyphens: --")
    return text


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be a number, such as 0.5, not {text!r}") from error


def _add_settings(add: _Add) -> None:
    # The settings refuse an empty data set.
    add("dataset", nargs="?", type=str, help="a name in the catalogue, or a folder; default: the recipe's, or phantom")
    add("--dataset", dest="named_dataset", type=str, help=argparse.SUPPRESS)  # the same as an option
    add("--profile", choices=PROFILES, help="default: quick")
    add("--recipe", choices=RECIPES, help="a system with all its settings, instead of a profile; see `lungnb recipes`")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting; can be repeated")
