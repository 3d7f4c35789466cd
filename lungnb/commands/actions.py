"""Run each verb of the command line with the given options. A function returns the exit status; None means 0."""

import argparse
import json
import os
import shlex
import sys
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path

# The packages import their modules when a name is used, so that each verb imports only what it needs.
from lungnb import datasets, engines, evaluation, networks, page, report, segmentation
from lungnb.artefacts import EXCLUDED, SEGMENTED
from lungnb.messages import print_lines
from lungnb.presets import RECIPES, make_settings, parse_changes, recipes
from lungnb.settings import Settings, counted

_MAX_SEEDS = 999
_ALTERNATIVES = (  # options that name the same thing in two ways
    ("dataset", "named_dataset", "a data set"),
    ("profile", "recipe", "a profile or a recipe"),
)


def run_download(options: argparse.Namespace) -> None:
    """Download a data set, or list the catalogue."""
    if options.dataset is None:
        print_lines(*datasets.catalogue().to_string(index=False).split("\n"))
    else:
        print_lines(f"{options.dataset} is in {datasets.download(options.dataset)}")
        print_lines(datasets.find_source(options.dataset).note)


def run_recipes(_: argparse.Namespace) -> None:
    """List the recipes."""
    for name, recipe in recipes().iterrows():
        training = "{loss}, {optimizer} {learning_rate:g}, batch {batch_size}, up to {epochs} epochs".format(**recipe)
        size = f"{recipe['dataset']} at {recipe['image_size']} px"
        print_lines(name, f"    {recipe['about']}.", f"    {size}; {recipe['models']}; {training}")


def run_prepare(options: argparse.Namespace) -> None:
    """Prepare a data set, and print what it holds."""
    settings = _settings(options)
    manifest = datasets.prepare_dataset(settings)
    prepared = datasets.open_prepared(settings)
    excluded, notes = prepared.excluded, prepared.notes
    print_lines(f"{len(manifest)} pairs in {settings.prepared}:", *prepared.sizes().to_string(index=False).split("\n"))
    if prepared.news:
        print_lines(prepared.news)
    for what in prepared.small_groups():
        print_lines(f"{what[0].upper()}{what[1:]}.")
    if len(excluded):
        print_lines(f"{len(excluded)} files left out, listed in {settings.prepared / EXCLUDED}.")
    for what, count in Counter(what for _, _, what, _ in notes).most_common():
        print_lines(f"{counted(count, 'file')}: {what}.")


def run_check(options: argparse.Namespace) -> int:
    """Check a data set, and print each finding and what to do next."""
    settings = _settings(options)
    findings, mismatches = datasets.check_dataset(settings), evaluation.find_mismatches(settings)
    print_lines(*datasets.open_prepared(settings).sizes().to_string(index=False).split("\n"))
    with_error = findings.loc[findings["severity"] == "error", "file"]
    rows = [*findings.to_numpy(), *mismatches.loc[~mismatches["file"].isin(with_error), findings.columns].to_numpy()]
    for file, severity, what, advice in rows:
        if severity == "note":
            continue
        problem = what if what.endswith("?") else f"{what};"
        print_lines(f"{severity}: {file}: {problem} {advice}.")
    counts = Counter(severity for _, severity, _, _ in rows)
    print_lines(", ".join(counted(counts[name], name) for name in ("error", "warning", "note")))
    kind = "--recipe" if settings.profile in RECIPES else "--profile"
    system = [kind, settings.profile] if settings.profile != "quick" else []
    changes = [part for change in options.set for part in ("--set", change)]
    same = shlex.join([settings.dataset, *system, *changes])
    if counts["error"]:
        print_lines(f"Next: mend the files with errors, or take them out, then run `lungnb check {same}` again.")
        return 1
    look = "look at the files with warnings, then " if counts["warning"] else ""
    print_lines(f"Next: {look}run `lungnb train {same}`.")
    return 0


def run_train(options: argparse.Namespace) -> None:
    """Prepare a data set, and train models on it."""
    settings = _settings(options)
    datasets.prepare_dataset(settings)
    networks.fetch_weights(settings)
    for name in _models(options, settings):
        history = networks.train(settings, name)
        evaluation.choose_temperature(settings, name)
        best_dice = history["val_dice"].iloc[int(history["val_loss"].argmin())]
        epochs = counted(len(history), "epoch")
        print_lines(f"{name}: validation Dice {best_dice:.4f} after {epochs}; {settings.results / name}")


def run_evaluate(options: argparse.Namespace) -> None:
    """Score trained models, and print what the scores support."""
    settings = _settings(options)
    names = _models(options, settings)
    for name in names:
        evaluation.evaluate(settings, name)
    table = evaluation.compare(settings, names).T.to_string(float_format="{:.4f}".format)
    print_lines(*table.split("\n"), *evaluation.verdict(settings, names).split("\n"))
    print_lines(*evaluation.other_settings(settings, names))


def run_segment(options: argparse.Namespace) -> int:
    """Segment images."""
    outputs = segmentation.Options(
        options.overlay, options.cutout, options.probability, options.dicom_seg, options.upright
    )
    if options.ray:
        file = str(Path(options.out) / "segmentation.parquet")
        if options.json:
            raise ValueError(f"--json cannot be used with --ray, which writes the table in parts: read {file}.")
        total = segmentation.segment_on_cluster(
            options.paths, options.out, options.ray, options.model, outputs, engine=options.engine
        )
        return _say_segmented(options, file, total)
    with redirect_stdout(sys.stderr if options.json else sys.stdout):  # with --json, standard output is for JSON only
        table = segmentation.segment_files(
            options.paths, options.out, options.model, **outputs._asdict(), engine=options.engine
        )
        errors, failed, review = table["error"].dropna(), sum(table["status"] == "failed"), sum(table["review"] != "")
        print_lines(*(f"lungnb: {error}" for error in errors), file=sys.stderr)
        kept = table["note"].str.endswith(segmentation.KEPT).sum() if "note" in table else 0
        total = Counter(images=len(table), failed=failed, incomplete=len(errors) - failed, review=review, kept=kept)
        total["others"] = len({file.name for file in Path(options.out).glob("*_mask.*")} - {*table["mask"].dropna()})
        status = _say_segmented(options, str(Path(options.out) / SEGMENTED), total)
    if options.json:  # a missing value is null, and a byte of a file name that is not UTF-8 a lone surrogate
        rows = table.astype(object).where(table.notna(), None).to_dict("records")
        print_lines(json.dumps(rows, allow_nan=False))
    return status


def _say_segmented(options: argparse.Namespace, table: str, total: Counter[str]) -> int:
    """Print how many images were segmented, by which network, and how many need a review; return the exit status."""
    network = segmentation.network_name(options.model)
    done = total["images"] - total["failed"]
    print_lines(f"{done} of {total['images']} images segmented by the network {network}; see {table}")
    if total["incomplete"]:
        print_lines(f"{total['incomplete']} of them lack an output that was asked for: see its column error")
    if total["review"]:
        print_lines(f"{total['review']} of them should be looked at: see its column review")
    if total["kept"]:
        print_lines(f"{counted(total['kept'], 'mask')} changed after lungnb wrote it: kept, see its column note")
    if total["others"]:
        print_lines(
            f"{counted(total['others'], 'more mask')} there, of images not named now. To list all, name all at once."
        )
    return 1 if total["failed"] or total["incomplete"] else 0


def run_adapt(options: argparse.Namespace) -> None:
    """Train a network further on corrected masks."""
    labels = _whole_numbers(options.labels, "--labels") if options.labels else None
    done = report.adapt(options.folder, options.out, options.model, labels, options.patient_pattern, options.estimate)
    out = done.file.parent
    masks = shlex.quote(f"masks-{out.resolve().name}")  # because `masks` may hold masks of the network from before
    print_lines(
        f"The network is in {out}. Next: `lungnb segment IMAGES --out {masks} --model {shlex.quote(str(out))}`."
    )


def run_export(options: argparse.Namespace) -> None:
    """Export a model, and print how well its masks agree with those of Keras."""
    print_lines(f"Exporting to {options.format} ...")
    file = engines.export_model(options.model, options.format, options.out, options.half)
    print_lines(f"{file}: {file.stat().st_size / 1e6:.1f} MB")
    for engine, parity in engines.parities(file).items():
        print_lines(
            f"    {engine}: Dice with the masks of Keras {parity.mean_dice:.4f}, at worst {parity.worst_dice:.4f}"
        )


def run_page(options: argparse.Namespace) -> None:
    """Write the page for browsers."""
    file = page.write_page(options.out)
    print_lines(f"{file}: {file.stat().st_size / 1e6:.1f} MB. Open it in a browser; nothing leaves the computer.")


def run_report(options: argparse.Namespace) -> None:
    """Run the notebooks, and write the report."""
    seeds, settings = _seeds(options.seeds), _settings(options)
    changes = parse_changes(options.set)
    print_lines(report.run_series(settings.dataset, settings.profile, options.series == "all", changes, seeds))


def run_score(options: argparse.Namespace) -> int:
    """Score masks of any program."""
    labels = _labels_by_name(options.labels or [])
    truth_labels = _whole_numbers(options.truth_labels, "--truth-labels") if options.truth_labels else None
    chosen = evaluation.ScoreOptions(
        labels, truth_labels, options.images, options.patients, options.patient_pattern, options.pixel_mm
    )
    done = report.score_report(options.truth, options.masks, chosen, options.out)
    print_lines(*(f"lungnb: {line}" for line in done.scoring.problem_lines()), file=sys.stderr)
    coverage = done.scoring.coverage
    print_lines(*coverage.to_string(index=False).split("\n"), *done.verdict.split("\n"), done.page)
    is_whole = len(coverage) == len(options.masks) and coverage["scored"].all() and not coverage["unusable"].any()
    return 0 if is_whole else 1


def _labels_by_name(texts: list[str]) -> dict[str, list[int]] | list[int] | None:
    """Return the labels of lung that `--labels` gives: for all folders, or by the name of a folder."""
    pairs = [text.rpartition("=") for text in texts]
    if not any(name for name, _, _ in pairs):
        if len(texts) > 1:
            raise ValueError("--labels is given twice for all folders: give all labels at once, such as 1,2.")
        return _whole_numbers(texts[0], "--labels") if texts else None
    if nameless := next((text for name, _, text in pairs if not name), None):
        raise ValueError(
            f"--labels {nameless} is for all folders, and another --labels for one: name a folder in each."
        )
    named: dict[str, list[int]] = {}
    for name, _, text in pairs:
        if name in named:
            raise ValueError(f"--labels is given twice for {name}: give all its labels at once, such as {name}=1,2.")
        named[name] = _whole_numbers(text, "--labels")
    return named


def _whole_numbers(text: str, option: str) -> list[int]:
    """Return whole numbers that are separated by commas."""
    if not all(part.strip().isascii() and part.strip().isdigit() for part in text.split(",")):
        raise ValueError(f"{option} must be whole numbers, such as 1,2, not {text!r}.")
    return [int(part) for part in text.split(",")]


def _seeds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_SEEDS)) and int(text)):
        raise ValueError(f"--seeds, or LUNGNB_SEEDS, must be a whole number from 1 to {_MAX_SEEDS}, not {text!r}.")
    return int(text)


def run_runs(options: argparse.Namespace) -> None:
    """List the runs of a data set, and remove those that are named."""
    settings = _settings(options)
    evaluation.remove_runs(settings, options.remove)
    runs = evaluation.list_runs(settings)
    print_lines(*runs.to_string(index=False).split("\n") if len(runs) else (f"{settings.results}: no runs yet.",))


def run_notebooks(options: argparse.Namespace) -> None:
    """Copy the series of notebooks."""
    first = report.copy_notebooks(options.folder)
    folder = shlex.quote(str(first.parents[1]))
    print_lines(
        f"The notebooks are in {first.parent}. Next: `jupyter lab {folder}`, and open notebooks/{first.name} there."
    )


def run_publish(options: argparse.Namespace) -> None:
    """Copy what may be published."""
    settings = _settings(options)
    print_lines(report.publish(settings, options.out), *evaluation.other_settings(settings, settings.models))


def _models(options: argparse.Namespace, settings: Settings) -> list[str]:
    """Return the models that `--model` names, each once, or else those of the settings."""
    return [*dict.fromkeys(options.model or settings.models)]


def _settings(options: argparse.Namespace) -> Settings:
    for one, other, what in _ALTERNATIVES:
        names = {getattr(options, one), getattr(options, other)} - {None}
        if len(names) > 1:
            raise ValueError(f"the command takes {what}, not both {' and '.join(sorted(names))}: name one of them.")
    datasets = (options.dataset, options.named_dataset, os.environ.get("LUNGNB_DATASET") or None)
    dataset = next((name for name in datasets if name is not None), None)  # an empty name is refused later
    profile = options.recipe or options.profile or os.environ.get("LUNGNB_PROFILE") or "quick"
    return make_settings(dataset, profile, **parse_changes(options.set))
