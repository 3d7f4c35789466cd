"""The steps of `make publish-all`, the most important first: what each runs, and which folder it fills."""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

from lungnb.artefacts import MODEL_FILES, raw_root


class Step(NamedTuple):
    """A step of `make publish-all`.

    In commands, {out} is the folder whose files are published, {home} the step's own LUNGNB_HOME, and {raw} the folder
    of raw data sets. `minutes` are on two cores: with `basis`, which says where they were measured; without, estimated.
    `shenzhen` in `data` is the part of chest-xray-masks-and-labels whose names begin with CHN.
    """

    name: str
    folder: str  # of results/published
    minutes: float
    basis: str
    data: tuple[str, ...]
    commands: tuple[str, ...]
    files: tuple[tuple[str, str], ...] = ()  # more to publish: a pattern in {home} and a name, see `collect`
    packages: tuple[str, ...] = ()  # that lungnb does not need itself


SMALL = {"image_size": 128, "filters": 8, "epochs": 40}
SMALL_OPTIONS = "--set image_size=128 --set filters=8 --set epochs=40"
FILMS, XRAYS, CT, BMP = "montgomery", "chest-xray-masks-and-labels", "finding-lungs-in-ct-data", "lung-ct-bmp"
REAL = (FILMS, XRAYS, CT, BMP)
FOUR = (FILMS, "shenzhen", CT, BMP)
FRAMEWORKS = ("torch", "keras_unet_collection", "tf_keras", "segmentation_models_pytorch", "monai")
WRONG_MASKS = "ID_0052_Z_0108 ID_0079_Z_0072 ID_0134_Z_0137"  # of CT, see results/published/README.md
_README_PICTURE = (  # of drawn films, so it may be published
    "python -c \"from PIL import Image; Image.open('{home}/results/phantom/comparison/side_by_side.png').convert('RGB')"
    ".save('{out}/side_by_side.jpg', quality=85)\""
)


def lay_shenzhen(home: Path) -> None:
    """Copy the films of Shenzhen that have a mask from the X-rays of Kaggle, into a data set of the step's own."""
    folder = home / "data" / "raw" / "shenzhen"
    for mask in (raw_root() / XRAYS).glob("**/CHN*_mask.png"):
        film = next((raw_root() / XRAYS).glob(f"**/{mask.stem.removesuffix('_mask')}.png"))
        for file, kind in ((film, "CXR_png"), (mask, "masks")):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, folder / kind / file.name)


def _report(options: str, *before_publishing: str, repeats: str = "") -> tuple[str, ...]:
    """Return the commands that run the notebooks and publish the report."""
    return (f"lungnb report {options}{repeats}", *before_publishing, f"lungnb publish {options} --out {{out}}")


def _notebook(name: str, **parameters: str) -> str:
    """Return the command that runs a notebook on Montgomery in the full profile."""
    values = " ".join(f"{key}='{value}'" for key, value in parameters.items())
    return f"python tools/run_notebook.py notebooks/{name}.ipynb {{home}} DATASET={FILMS} PROFILE=full {values}"


def _benchmark(name: str, options: str = "") -> str:
    return f"python benchmarks/{name}.py {options} --out {{out}}"


def _recipe(name: str, minutes: float, basis: str, data: str) -> Step:
    return Step(name, name, minutes, basis, (data,), _report(f"--recipe {name}"))


def _speed(name: str, minutes: float, options: str = "", packages: tuple[str, ...] = ()) -> Step:
    """Return a step that measures speed on drawn images, while nothing else should run."""
    return Step(f"speed-{name}", "benchmarks", minutes, "", (), (_benchmark(name, options),), packages=packages)


def _networks(name: str, minutes: float, basis: str, changes: dict[str, int], networks: str, title: str) -> Step:
    """Return a step that trains networks at an equal budget with three seeds; `title` begins the names of its files."""
    options = " ".join(f"--set {key}={value}" for key, value in changes.items())
    run = _notebook("08_networks", CHANGES=json.dumps(changes), NETWORKS=networks)
    tables, trainings = f"results/{FILMS}/comparison", f"results/{FILMS}.seed*/*"
    files = [(f"{tables}/networks.csv", f"{title}.csv"), (f"{tables}/seeds.csv", f"{title}_seeds.csv")]
    if title == "networks":
        files = [(f"{tables}/*.csv", "{file}"), (f"{tables}/*.png", "{file}")]
    files += [(f"{trainings}/{file}", f"{title}/{{above}}/{{parent}}/{{file}}") for file in MODEL_FILES]
    commands = (f"lungnb prepare {FILMS} --profile full {options}", run)
    return Step(name, "networks", minutes, basis, (FILMS,), commands, tuple(files))


ON_OTHER_MACHINES = {"gpu"}  # folders of results/published that no step fills
STEPS = (
    Step(
        "montgomery-full-folds", "montgomery-full-folds", 180, "", (FILMS,),
        _report(f"{FILMS} --profile full --set folds=5 --set precision=auto"),
    ),
    Step(
        "montgomery", "montgomery", 31, "montgomery/step_montgomery.json, beside other work", (FILMS,),
        _report(f"{FILMS} --profile full --set split_file=montgomery-gaal2020"),
    ),
    _recipe("simple-unet", 48, "simple-unet/run.json", FILMS),
    _recipe("montgomery-three", 133, "montgomery-three/*/run.json", FILMS),
    _recipe("cxr-bce-iou", 25, "cxr-bce-iou/run.json", XRAYS),
    _recipe("ct-hu-pretrained", 30, "ct-hu-pretrained/run.json, and its encoder", CT),
    _recipe("ct-bmp", 70, "ct-bmp/run.json", BMP),
    Step("phantom", "phantom", 5, "docs/results/speed.md", (), (*_report("phantom"), _README_PICTURE)),
    Step(
        "phantom-real", "phantom", 150, "one seed: phantom/step_phantom-real.json, beside other work", FOUR,
        (_notebook("09_phantom", OTHERS=f'["shenzhen", "{CT}", "{BMP}"]', SEEDS="[2, 3, 4]", PHANTOMS="1200"),),
        (
            *(
                (f"results/{FILMS}/comparison/{name}", "{file}")
                for name in ("zero_patient.csv", "changed.csv", "leave_one_out.csv", "few_shot*")
            ),
            ("results/*/pretrained.csv", "pretrained_{parent}.csv"),
        ),
    ),
    Step(
        "phantom-additions", "phantom", 60, "", FOUR,
        (_benchmark("additions", f"lungnb/weights/phantom.keras {' '.join(FOUR)}"),),
    ),
    Step(
        "adapt", "adapt", 150, "", FOUR, (_benchmark("adapt", f"{' '.join(FOUR)} --without {WRONG_MASKS}"),),
    ),
    Step(
        "adapt-delivered", "adapt", 30, "", (FILMS, "shenzhen"),
        (_benchmark("adapt_delivered", f"{FILMS} shenzhen"),),
    ),
    Step(
        "adapt-share", "adapt", 90, "", (FILMS,),
        (
            _benchmark("adapt_share", "--counts 1"),
            _benchmark("adapt_share", "--counts 2 --draws 4 --shares 0.3 0.4625 0.8"),
        ),
    ),
    Step(
        "adapt-order", "adapt", 35, "21 trainings beside other work", (FILMS, "shenzhen"),
        (_benchmark("correction_order", f"{FILMS}=4 shenzhen=3"),),
    ),
    Step(
        "montgomery-folds", "montgomery-folds", 105, "montgomery-folds/step_*.json, beside other work", (FILMS,),
        _report(f"{FILMS} --profile full {SMALL_OPTIONS} --set folds=5 --set precision=auto", repeats=" --seeds 3"),
    ),
    _networks("networks", 23, "networks/step_networks.json, beside other work", SMALL, "", "networks"),
    _networks(
        "networks-compact-16", 4, "networks/step_networks-compact-16.json, beside other work",
        SMALL | {"filters": 16, "depth": 5}, '["compact_unet"]', "compact_unet_16",
    ),
    Step(
        "quick", "quick", 20, "quick/step_quick.json, beside other work", REAL,
        (
            *(command.replace("{out}", f"{{out}}/{name}") for name in REAL for command in _report(name)),
            "python -c \"import pathlib; [chart.unlink() for chart in pathlib.Path('{out}').rglob('*.png')]\"",
        ),
    ),
    Step(
        "generalisation", "montgomery-seeds", 45, "", (FILMS, "shenzhen"),
        _report(
            f"{FILMS} --profile full {SMALL_OPTIONS}", _notebook("13_uncertainty", CHANGES=json.dumps(SMALL)),
            _notebook("10_generalise", CHANGES=json.dumps(SMALL), OTHERS='["shenzhen", "phantom"]'),
            repeats=" --seeds 3",
        ),
    ),
    Step("search", "search", 40, "", (FILMS,), (_benchmark("search", FILMS),)),
    _speed("inference", 10, "--rounds 100 --files 150"),
    _speed("training", 40, "--rounds 2 --images 60"),  # also growth
    _speed("frameworks", 20, "--rounds 1 --steps 4", FRAMEWORKS),
    _speed("cluster", 15, "--films 700 --rounds 1", ("ray",)),
    *(_speed(name, 5) for name in ("prepare", "score", "phantom")),
    Step("review", "review", 3, "measured without preparing", FOUR, (_benchmark("review", " ".join(FOUR)),)),
    Step("mismatch", "mismatch", 3, "measured without preparing", FOUR, (_benchmark("mismatch", " ".join(FOUR)),)),
    Step(
        "wrong-input", "wrong_input", 3, "measured without preparing", FOUR,
        (
            f"lungnb download {BMP}",
            _benchmark(
                "wrong_input",
                f"montgomery='{{raw}}/{FILMS}/*/CXR_png/*.png' shenzhen='{{home}}/data/raw/shenzhen/CXR_png/*.png' "
                f"ct-tiff='{{raw}}/{CT}/2d_images/*.tif' ct-bmp='{{home}}/data/raw/{BMP}/*/images/*.bmp'",
            ),
        ),
    ),
    Step(
        "near-duplicates", "near-duplicates", 30, "", REAL,
        (_benchmark("near_duplicates", "--counts 250 500 1000 4000"),),
    ),
    Step("endurance", "benchmarks", 90, "", (), (_benchmark("endurance"),)),
    Step("coverage", "benchmarks", 20, "", (), (_benchmark("coverage"), _benchmark("type_one_error"))),  # of the above
)  # fmt: skip
