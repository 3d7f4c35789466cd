"""The verbs of the command line: their arguments, their help and their functions."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, NoReturn

# The packages import their modules when a name is used, so that each verb imports only what it needs.
from lungnb import __version__, datasets, engines, evaluation, figures, networks, report, segmentation
from lungnb.artefacts import EXCLUDED
from lungnb.files import written
from lungnb.messages import printable, say
from lungnb.settings import PROFILES, RECIPES, TITLES, Settings, counted, make_settings, parse_changes, recipes

if TYPE_CHECKING:
    _Verbs = argparse._SubParsersAction["_Parser"]  # noqa: SLF001 (argparse has no public name for it)
_Add = Callable[..., argparse.Action]  # `add_argument` of a verb's parser


def _download(options: argparse.Namespace) -> None:
    if options.dataset is None:
        say(*datasets.catalogue().to_string(index=False).split("\n"))
    else:
        say(f"{options.dataset} is in {datasets.download(options.dataset)}")


def _recipes(_: argparse.Namespace) -> None:
    for name, recipe in recipes().iterrows():
        training = "{loss}, {optimizer} {learning_rate:g}, batch {batch_size}, up to {epochs} epochs".format(**recipe)
        size = f"{recipe['dataset']} at {recipe['image_size']} px"
        say(name, f"    {recipe['about']}.", f"    {size}; {recipe['models']}; {training}")


def _prepare(options: argparse.Namespace) -> None:
    settings = _settings(options)
    manifest = datasets.prepare_dataset(settings)
    prepared = datasets.open_prepared(settings)
    excluded, notes = prepared.excluded, prepared.notes
    say(f"{len(manifest)} pairs in {settings.prepared}:", *prepared.sizes().to_string(index=False).split("\n"))
    if prepared.news:
        say(prepared.news)
    for what in prepared.small_groups():
        say(f"{what[0].upper()}{what[1:]}.")
    if len(excluded):
        say(f"{len(excluded)} files left out, listed in {settings.prepared / EXCLUDED}.")
    for what, count in Counter(what for _, _, what, _ in notes).most_common():
        say(f"{counted(count, 'file')}: {what}.")


def _check(options: argparse.Namespace) -> int:
    settings = _settings(options)
    findings, mismatches = datasets.check_dataset(settings), evaluation.find_mismatches(settings)
    say(*datasets.open_prepared(settings).sizes().to_string(index=False).split("\n"))
    with_error = findings.loc[findings["severity"] == "error", "file"]
    rows = [*findings.to_numpy(), *mismatches.loc[~mismatches["file"].isin(with_error), findings.columns].to_numpy()]
    for file, severity, what, advice in rows:
        if severity == "note":
            continue
        problem = what if what.endswith("?") else f"{what};"
        say(f"{severity}: {file}: {problem} {advice}.")
    counts = Counter(severity for _, severity, _, _ in rows)
    say(", ".join(counted(counts[name], name) for name in ("error", "warning", "note")))
    profile = ["--profile", options.profile] if options.profile != "quick" else []
    system = ["--recipe", options.recipe] if options.recipe else profile
    changes = [part for change in options.set for part in ("--set", change)]
    same = shlex.join([settings.dataset, *system, *changes])
    if counts["error"]:
        say(f"Next: mend the files with errors, or take them out, then run `lungnb check {same}` again.")
        return 1
    look = "look at the files with warnings, then " if counts["warning"] else ""
    say(f"Next: {look}run `lungnb train {same}`.")
    return 0


def _train(options: argparse.Namespace) -> None:
    settings = _settings(options)
    datasets.prepare_dataset(settings)
    networks.fetch_weights(settings)
    for name in options.model or settings.models:
        history = networks.train(settings, name)
        best_dice = history["val_dice"].iloc[int(history["val_loss"].argmin())]
        epochs = counted(len(history), "epoch")
        say(f"{name}: validation Dice {best_dice:.4f} after {epochs}; {settings.results / name}")


def _evaluate(options: argparse.Namespace) -> None:
    settings = _settings(options)
    names = options.model or [*settings.models]
    for name in names:
        evaluation.evaluate(settings, name)
    table = evaluation.compare(settings, names).T.to_string(float_format="{:.4f}".format)
    say(*table.split("\n"), evaluation.verdict(settings, names))


def _segment(options: argparse.Namespace) -> int:
    outputs = segmentation.Options(options.overlay, options.cutout, options.probability, options.dicom_seg)
    if options.ray:
        file = f"{options.out}/segmentation.parquet"
        if options.json:
            raise ValueError(f"--json prints a whole table; with --ray, read {file}.")
        total = segmentation.segment_on_cluster(
            options.paths, options.out, options.ray, options.model, outputs, engine=options.engine
        )
        return _say_segmented(options, file, total["images"], total["failed"], total["incomplete"], total["review"])
    with redirect_stdout(sys.stderr if options.json else sys.stdout):  # with --json, standard output is for JSON only
        table = segmentation.segment_files(options.paths, options.out, options.model, *outputs, engine=options.engine)
        errors, failed = table["error"].dropna(), (table["status"] == "failed").sum()
        say(*(f"lungnb: {error}" for error in errors), file=sys.stderr)
        file = f"{options.out}/segmentation.csv"
        review = (table["review"] != "").sum()
        status = _say_segmented(options, file, len(table), failed, len(errors) - failed, review)
    if options.json:  # a missing value is null, and a byte of a file name that is not UTF-8 a lone surrogate
        rows = table.astype(object).where(table.notna(), None).to_dict("records")
        say(json.dumps(rows, allow_nan=False))
    return status


def _say_segmented(
    options: argparse.Namespace, table: str, images: int, failed: int, incomplete: int, review: int
) -> int:
    """Print how many images were segmented, by which network, and how many need a review; return the exit status."""
    network = segmentation.network_name(options.model)
    say(f"{images - failed} of {images} images segmented by the network {network}; see {table}")
    if incomplete:
        say(f"{incomplete} of them lack an output that was asked for: see its column error")
    if review:
        say(f"{review} of them should be looked at: see its column review")
    return 1 if failed or incomplete else 0


def _adapt(options: argparse.Namespace) -> None:
    labels = _whole_numbers(options.labels, "--labels") if options.labels else None
    adaptation = evaluation.adapt(
        options.folder, options.out, options.model, labels, options.patient_pattern, options.estimate
    )
    out = adaptation.file.parent
    if adaptation.estimate is not None:
        with written(out / "estimate.png") as file:
            figures.adaptation_chart(adaptation.estimate).savefig(file)
    say(f"The network is in {out}. Next: `lungnb segment IMAGES --out masks --model {shlex.quote(str(out))}`.")


def _export(options: argparse.Namespace) -> None:
    say(f"Exporting to {options.format} ...")
    file = engines.export_model(options.model, options.format, options.out, options.half)
    say(f"{file}: {file.stat().st_size / 1e6:.1f} MB")
    for engine, parity in engines.parities(file).items():
        say(f"    {engine}: Dice with the masks of Keras {parity.mean_dice:.4f}, at worst {parity.worst_dice:.4f}")


def _report(options: argparse.Namespace) -> None:
    seeds, settings = _seeds(options.seeds), _settings(options)
    changes = parse_changes(options.set)
    say(report.run_series(settings.dataset, settings.profile, options.series == "all", changes, seeds))


def _score(options: argparse.Namespace) -> int:
    labels = _labels_by_name(options.labels or [])
    truth_labels = _whole_numbers(options.truth_labels, "--truth-labels") if options.truth_labels else None
    chosen = evaluation.ScoreOptions(
        labels, truth_labels, options.images, options.patients, options.patient_pattern, options.pixel_mm
    )
    done = report.score_report(options.truth, options.masks, chosen, options.out)
    say(*(f"lungnb: {line}" for line in done.scoring.problem_lines()), file=sys.stderr)
    coverage = done.scoring.coverage
    say(*coverage.to_string(index=False).split("\n"), done.verdict, done.page)
    is_whole = len(coverage) == len(options.masks) and coverage["scored"].all() and not coverage["unusable"].any()
    return 0 if is_whole else 1


def _labels_by_name(texts: list[str]) -> dict[str, list[int]] | list[int] | None:
    """Return the labels of lung that `--labels` gives: for all folders, or by the name of a folder."""
    pairs = [text.rpartition("=") for text in texts]
    if not any(name for name, _, _ in pairs):
        return _whole_numbers(texts[-1], "--labels") if texts else None
    if nameless := next((text for name, _, text in pairs if not name), None):
        raise ValueError(
            f"--labels {nameless} is for all folders, and another --labels for one: name a folder in each."
        )
    return {name: _whole_numbers(text, "--labels") for name, _, text in pairs}


def _whole_numbers(text: str, option: str) -> list[int]:
    """Return whole numbers that are separated by commas."""
    if not all(part.strip().isascii() and part.strip().isdigit() for part in text.split(",")):
        raise ValueError(f"{option} must be whole numbers, such as 1,2, not {text!r}.")
    return [int(part) for part in text.split(",")]


def _seeds(text: str) -> int:
    """Return the number of seeds that `--seeds` or LUNGNB_SEEDS gives."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise ValueError(f"--seeds, or LUNGNB_SEEDS, must be a whole number of at least 1, not {text!r}.")
    return int(text)


def _runs(options: argparse.Namespace) -> None:
    settings = _settings(options)
    evaluation.remove_runs(settings, options.remove)
    runs = evaluation.list_runs(settings)
    say(*runs.to_string(index=False).split("\n") if len(runs) else (f"{settings.results}: no runs yet.",))


def _publish(options: argparse.Namespace) -> None:
    say(report.publish(_settings(options), options.out))


class _Parser(argparse.ArgumentParser):
    """A parser whose error messages cannot steer the terminal."""

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; the options that it returns hold the verb's function as `run`."""
    parser = _Parser("lungnb", description="Lung segmentation in chest X-rays and CT.")
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    _add_data_verbs(verbs)
    _add_training_verbs(verbs)
    _add_image_verbs(verbs)
    _add_report_verbs(verbs)
    return parser


def _add_data_verbs(verbs: _Verbs) -> None:
    add = _verb(verbs, "download", _download, "download a data set; without a name, list them", "download montgomery")
    add("dataset", nargs="?", help="a name in the catalogue")
    _verb(verbs, "recipes", _recipes, "list the recipes: systems with all their settings", "recipes")
    examples = ("prepare montgomery", "prepare data/mine/ --set split_fractions=0.85,0.15,0")
    _add_settings(_verb(verbs, "prepare", _prepare, "pair, check, split and convert a data set", *examples))
    examples = ("check montgomery", "check data/mine/")
    _add_settings(_verb(verbs, "check", _check, "check a data set and name the files with errors", *examples))


def _add_training_verbs(verbs: _Verbs) -> None:
    examples = ("train montgomery --model unet --profile full", "train --recipe simple-unet --set epochs=20")
    train = _verb(verbs, "train", _train, "train models", *examples)
    evaluate = _verb(verbs, "evaluate", _evaluate, "score trained models on the test split", "evaluate montgomery")
    for add in (train, evaluate):
        _add_settings(add)
        add("--model", action="append", choices=tuple(TITLES), help="can be repeated; default: the settings' models")


def _add_image_verbs(verbs: _Verbs) -> None:
    examples = ("segment chest.png films/ --out masks --overlay", "segment 'scans/**/*.nii.gz' series/ --out masks")
    add = _verb(verbs, "segment", _segment, "write the lung masks of images and volumes", *examples)
    add("paths", nargs="+", help="image files, NIfTI volumes, folders with them or with a DICOM series, patterns")
    add("--out", required=True, help="folder for the masks and segmentation.csv")
    add("--model", help="a model.keras, such as results/montgomery/unet/model.keras; default: the shipped one")
    add("--engine", choices=("auto", *engines.ENGINES), default="auto", help="auto: the first engine that is installed")
    add("--overlay", action="store_true", help="write <stem>_overlay.png, the mask on the image or on nine slices")
    add("--cutout", action="store_true", help="images only: write <stem>_cutout.png, the lungs cropped")
    add("--probability", action="store_true", help="images only: write <stem>_probability.png, 0 to 255")
    add("--dicom-seg", action="store_true", help="write <stem>_seg.dcm, a DICOM Segmentation; it names the patient")
    add("--json", action="store_true", help="print the table as JSON, and everything else on standard error")
    add("--ray", metavar="ADDRESS", help="on a Ray cluster: local (this machine), auto, or host:port; see README.md")
    add = _verb(verbs, "adapt", _adapt, "train a network further on corrected masks", "adapt corrected/ --out mine")
    add("folder", help="folder with at least one image and its mask")
    add("--out", required=True, help="folder for the network")
    add("--model", help="the network to start from, a model.keras or its folder; default: the shipped one")
    add("--labels", metavar="1,2", help="the labels of lung, if the masks show other organs too")
    add("--patient-pattern", metavar="REGEX", help="finds the patient in a name; default: each image is a patient")
    add("--no-estimate", dest="estimate", action="store_false", help="do not estimate the benefit, which takes longer")
    example = "export results/montgomery/unet/model.keras --format onnx --out exported"
    add = _verb(verbs, "export", _export, "export a model for ONNX Runtime or OpenVINO, and check it", example)
    add("model", nargs="?", help="a model.keras; default: the shipped one")
    add("--format", choices=("onnx", "openvino"), default="onnx", help="default: onnx")
    add("--out", default=".", help="folder; default: the current one")
    add("--half", action="store_true", help="store the weights in half precision")


def _add_report_verbs(verbs: _Verbs) -> None:
    _add_score(verbs)
    examples = ("report montgomery --profile full", "report montgomery --seeds 3 --set folds=5")
    add = _verb(verbs, "report", _report, "run the notebooks and write the report", *examples)
    _add_settings(add)
    seeds = os.environ.get("LUNGNB_SEEDS") or "1"
    add("--seeds", default=seeds, help="number of random seeds with which to train every model; default: 1")
    add("--series", choices=("core", "all"), default="core", help="core: up to notebook 07")
    examples = ("runs montgomery", "runs montgomery --remove earlier/unet-1")
    add = _verb(verbs, "runs", _runs, "list the trainings of a data set, also earlier ones", *examples)
    _add_settings(add)
    add("--remove", action="append", default=[], metavar="RUN", help="an earlier run to remove; can be repeated")
    about = "copy the tables, charts and scores of a report, without images, for publication"
    add = _verb(verbs, "publish", _publish, about, "publish --recipe simple-unet")
    _add_settings(add)
    add("--out", help="folder; default: results/published/<recipe>, or <dataset>")


def _add_score(verbs: _Verbs) -> None:
    examples = ("score truth/ masks/ other_masks/", "score truth/ masks/ totalseg/ --labels totalseg=10,11,12,13,14")
    add = _verb(verbs, "score", _score, "score masks of any program against the ground truth", *examples)
    add("truth", help="folder of the ground truth")
    add("masks", nargs="+", help="folders of masks, one a program")
    add("--out", help="folder of the report; default: results/scores/<name of the truth's folder>")
    about = "the labels of lung in label maps; can be repeated, with the name of a folder each"
    add("--labels", action="append", metavar="[NAME=]1,2", help=about)
    add("--truth-labels", metavar="1,2", help="the labels of lung in the ground truth")
    add("--images", help="folder of the images, to draw contours on; also gives the pixel size of DICOM images")
    add("--patients", metavar="CSV", help="table with the columns id and patient, and perhaps group")
    add("--patient-pattern", metavar="REGEX", help="finds the patient in a name; default: each image is a patient")
    add("--pixel-mm", type=float, metavar="MM", help="side of a pixel, if files such as PNG do not tell it")


def _verb(verbs: _Verbs, name: str, run: Callable[..., int | None], about: str, *examples: str) -> _Add:
    """Add a verb and return its `add_argument`."""
    epilog = "examples:\n" + "\n".join(f"  lungnb {example}" for example in examples)
    form = argparse.RawDescriptionHelpFormatter
    sentence = f"{about[0].upper()}{about[1:]}."  # `capitalize` would write the names of products small
    verb = verbs.add_parser(name, help=about, description=sentence, epilog=epilog, formatter_class=form)
    verb.set_defaults(run=run)
    return verb.add_argument


def _add_settings(add: _Add) -> None:
    add("dataset", nargs="?", help="a name in the catalogue, or a folder; default: the recipe's, or phantom")
    add("--dataset", dest="named_dataset", help=argparse.SUPPRESS)  # the same as an option
    add("--profile", choices=PROFILES, default=os.environ.get("LUNGNB_PROFILE") or "quick", help="default: quick")
    add("--recipe", choices=RECIPES, help="a system with all its settings, instead of a profile; see `lungnb recipes`")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting; can be repeated")


def _settings(options: argparse.Namespace) -> Settings:
    datasets = (options.dataset, options.named_dataset, os.environ.get("LUNGNB_DATASET") or None)
    dataset = next((name for name in datasets if name is not None), None)  # an empty name is refused later
    return make_settings(dataset, options.recipe or options.profile, **parse_changes(options.set))
