"""The benchmark of frameworks: what it says about missing packages, how it counts, and what each script does."""

import importlib
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import publish_steps
from helpers.paths import ROOT
from lungnb.formats.images import write_png
from lungnb.phantoms.make import make_phantom

BENCHMARKS = ROOT / "benchmarks"
NAMES = (
    "lungnb", "PyTorch", "keras-unet-collection", "segmentation_models.pytorch, ResNet-18",
    "segmentation_models.pytorch, MobileNetV2", "MONAI",
)  # fmt: skip


@pytest.fixture
def frameworks(monkeypatch):
    """The benchmark; its folder is last in the path, because it has files with the names of packages."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(BENCHMARKS)])
    return importlib.import_module("frameworks")


@pytest.fixture
def present(frameworks):
    """Call with a framework's name: the candidate, or a skipped test where a package is missing."""

    def candidate(name):
        if missing := frameworks.missing_packages([name]):
            pytest.skip(f"needs pip install {' '.join(missing)}")
        return frameworks.CANDIDATES[name]

    return candidate


def test_a_sentence_says_what_to_install(frameworks, monkeypatch):
    missing = {"monai", "segmentation_models_pytorch", "tf_keras"}
    monkeypatch.setattr(frameworks, "find_spec", lambda name: None if name in missing else name)
    assert frameworks.say_missing(["lungnb", "PyTorch", "MONAI", *NAMES[2:4]]) == (
        "Not installed: MONAI; keras-unet-collection; segmentation_models.pytorch, ResNet-18. "
        "To measure them too, run: pip install monai tf-keras segmentation-models-pytorch"
    )
    assert frameworks.say_missing(["lungnb", "PyTorch"]) == ""


def test_the_benchmark_measures_what_is_there(frameworks, monkeypatch, tmp_path, capsys):
    """Two invented frameworks, one of them missing: the other is measured, and the tables are written."""
    monkeypatch.setattr(frameworks, "find_spec", lambda name: name if name == "lungnb" else None)
    speeds = iter([4.0, 2.0, 3.0])  # images a second, in three rounds
    measured = {"parameters": 5, "multiplications": 2e9, "infer_ms": 8.0, "infer_batch_ms": 4.0, "memory_mb": 100}
    monkeypatch.setattr(
        frameworks, "apart", lambda _, **arguments: arguments | measured | {"train_images_s": next(speeds)}
    )
    monkeypatch.setattr(frameworks, "matrix_rate", lambda: 1e9)
    monkeypatch.setattr(sys, "argv", ["frameworks.py", "--networks", "unet", "--out", str(tmp_path)])
    frameworks.main()
    assert "pip install torch keras-unet-collection tf-keras" in capsys.readouterr().out
    (row,) = frameworks.pd.read_csv(tmp_path / "frameworks.csv").to_dict("records")
    assert (row["network"], row["framework"], row["train_images_s"], row["train_ratio"]) == ("U-Net", "lungnb", 3, 1)
    assert row["limit_infer_ms"] == 2000 and row["limit_train_images_s"] == 1 / 6
    assert row["version"] == f"lungnb {frameworks.lungnb.__version__}"
    (row,) = frameworks.pd.read_csv(tmp_path / "scripts.csv").to_dict("records")
    assert row["script"] == "train_lungnb.py" and row["lines"] == 7


def test_ratios_are_to_lungnb_on_the_same_network(frameworks, monkeypatch):
    monkeypatch.setattr(frameworks, "versions", str.upper)
    same = {"rounds": 1, "multiplications": 1e9, "infer_batch_ms": 1.0}
    rows = [
        same | {"network": network, "framework": framework, "train_images_s": speed, "infer_ms": time}
        for network, framework, speed, time in (
            ("unet", "lungnb", 8.0, 10.0), ("resunet", "lungnb", 4.0, 20.0),
            ("unet", "PyTorch", 4.0, 5.0), ("resunet", "PyTorch", 1.0, 40.0),
        )
    ]  # fmt: skip
    table = frameworks.medians(rows, 1e9).set_index(["network", "framework"])
    assert table.index.get_level_values(0).tolist() == ["U-Net", "U-Net", "ResUNet", "ResUNet"]
    assert table["train_ratio"].tolist() == [1, 0.5, 1, 0.25]
    assert table["infer_ratio"].tolist() == [1, 2, 1, 0.5]
    assert table.loc[("U-Net", "PyTorch"), "version"] == "PYTORCH"


def test_lines_of_code_leave_out_comments_docstrings_and_blank_lines(frameworks, tmp_path):
    text = '"""Of\ntwo."""\n\n# a comment\nimport os  # counts\n\ndef f():\n    """One."""\n    return """a\nb"""\n'
    (tmp_path / "script.py").write_text(text)
    assert frameworks.code_lines(tmp_path / "script.py") == 4


def test_each_framework_has_a_script(frameworks):
    assert tuple(frameworks.CANDIDATES) == NAMES
    scripts = {candidate.script for candidate in frameworks.CANDIDATES.values()}
    assert scripts == {file.name for file in frameworks.SCRIPTS.glob("*.py")}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_candidate_trains_and_predicts(frameworks, present, name):
    """Its loss on one batch falls. The masks are a threshold of the images, so that a few steps suffice."""
    candidate = present(name)
    code = f"""
import sys; sys.path.append({str(BENCHMARKS)!r})
import numpy as np, frameworks
images, masks = frameworks.batch(32, 2)
opened = frameworks.CANDIDATES[{name!r}].open({candidate.networks[0]!r}, images, masks)
losses = [float(opened.step()) for _ in range(30)]
print("losses", losses[0], losses[-1])
print("shape", np.asarray(opened.predict(1)).shape, np.asarray(opened.predict(2)).shape)
print("size", opened.parameters, opened.multiplications)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=environment()
    )
    assert result.returncode == 0, result.stderr[-2000:]
    said = {line.split()[0]: line for line in result.stdout.splitlines() if line}
    assert said["shape"].count("32, 32") == 2
    first, last = map(float, said["losses"].split()[1:])
    assert last < 0.8 * first
    parameters, multiplications = map(int, said["size"].split()[1:])
    if name in ("lungnb", "PyTorch"):  # the same layers, counted by two programs
        assert (parameters, multiplications) == (1_942_289, 47_087_616)
    else:
        assert parameters > 1_900_000 and math.log10(multiplications) > 7


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if "ResNet" not in name])
def test_a_script_trains_saves_and_predicts(frameworks, present, name, tmp_path):
    script = frameworks.SCRIPTS / present(name).script
    for number in range(8):
        phantom = make_phantom(number, size=64)
        write_png(tmp_path / "set" / "images" / f"case_{number}.png", phantom.image)
        write_png(tmp_path / "set" / "masks" / f"case_{number}.png", phantom.mask)
    write_png(tmp_path / "film.png", make_phantom(9, size=64).image[:, :48])
    command = [sys.executable, script, "set", "film.png", "mask.png", "1"]
    variables = environment() | {"LUNGNB_HOME": str(tmp_path)}
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500, env=variables)
    assert result.returncode == 0, result.stderr[-2000:]
    mask = np.asarray(Image.open(tmp_path / "mask.png"))
    assert mask.shape == (64, 48) and {*np.unique(mask)} <= {0, 255}
    assert [*tmp_path.glob("model*"), *tmp_path.rglob("model.keras")]


def environment():
    """Return this process's variables, with the project in the path of modules and one thread for each process."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
    return os.environ | threads | {"PYTHONPATH": str(ROOT)}


def test_the_step_that_publishes_needs_every_framework(frameworks):
    needed = {package for candidate in frameworks.CANDIDATES.values() for package in candidate.packages}
    assert {*publish_steps.FRAMEWORKS} == {package.replace("-", "_") for package in needed} - {"lungnb"}
