"""lungnb's networks beside those of other frameworks, in one run: `python benchmarks/frameworks.py`.

Training: images a second of a step on a batch. Inference: milliseconds an image, one at a time and in batches. Both
also as ratios to lungnb, with the peak memory of the candidate's own process, and with the limit of the processor at
its measured rate of multiply-accumulates. Rounds alternate. `candidates.py` has the networks. `scripts.csv` counts the
lines of the scripts in `benchmarks/peers`, which do the same job with each framework. Frameworks that are missing are
left out, and a sentence says how to install them.
"""

import argparse
import ast
from collections.abc import Iterable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from candidates import CANDIDATES
from measure import apart, bars, matrix_rate, write

import lungnb
from lungnb.evaluation.speed import median_seconds
from lungnb.settings import TITLES

SCRIPTS = Path(__file__).parent / "peers"
NETWORKS = ("unet", "resunet", "r2unet")
TITLES_OF_BARS = {
    "train_images_s": "training, images/s",
    "infer_ms": "inference, ms/image",
    "infer_batch_ms": "in batches, ms/image",
    "memory_mb": "peak memory, MB",
}


def missing_packages(frameworks: Iterable[str]) -> list[str]:
    """Return the packages that these frameworks need and that are not installed, as pip names them."""
    needed = dict.fromkeys(package for framework in frameworks for package in CANDIDATES[framework].packages)
    return [package for package in needed if find_spec(package.replace("-", "_")) is None]


def say_missing(frameworks: list[str]) -> str:
    """Return a sentence that says which frameworks cannot be measured, and how to install them; empty if all can."""
    absent = [framework for framework in frameworks if missing_packages([framework])]
    packages = " ".join(missing_packages(absent))
    return f"Not installed: {'; '.join(absent)}. To measure them too, run: pip install {packages}" if absent else ""


def batch(size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images and masks of noise, (count, size, size, 1): their values do not change the time."""
    images = np.random.default_rng(0).random((count, size, size, 1), np.float32)
    return images, (images > 0.5).astype(np.float32)


def measure(framework: str, network: str, size: int, count: int, rounds: int) -> dict[str, Any]:
    """Return the speed of a network of a framework, its trainable parameters and its multiply-accumulates."""
    opened = CANDIDATES[framework].open(network, *batch(size, count))
    return {
        "parameters": opened.parameters,
        "multiplications": opened.multiplications,
        "train_images_s": count / median_seconds(opened.step, rounds),
        "infer_ms": 1000 * median_seconds(lambda: opened.predict(1), 3 * rounds),
        "infer_batch_ms": 1000 * median_seconds(lambda: opened.predict(count), rounds) / count,
    }


def code_lines(script: Path) -> int:
    """Return how many lines of a Python file hold code: not blank, no comment, no docstring."""
    text = script.read_text(encoding="utf-8")
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, documented) and ast.get_docstring(node) is not None
        for line in range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)
    }
    lines = enumerate(map(str.strip, text.splitlines()), 1)
    return sum(bool(line) and not line.startswith("#") and number not in docstrings for number, line in lines)


def versions(framework: str) -> str:
    """Return a framework's packages with their versions."""
    names = CANDIDATES[framework].packages
    return ", ".join(f"{name} {lungnb.__version__ if name == 'lungnb' else version(name)}" for name in names)


def scripts(frameworks: list[str]) -> pd.DataFrame:
    """Return one row per script of `benchmarks/peers`: framework, script, lines of code, versions."""
    rows = {
        CANDIDATES[name].script: {"framework": name.partition(",")[0], "versions": versions(name)}
        for name in frameworks
    }
    table = pd.DataFrame(
        [row | {"script": script, "lines": code_lines(SCRIPTS / script)} for script, row in rows.items()]
    )
    return table[["framework", "script", "lines", "versions"]]


def medians(rows: list[dict[str, Any]], macs_per_s: float) -> pd.DataFrame:
    """Return one row per network and framework: medians over rounds, ratios to lungnb, limits of the processor."""
    keys = ["network", "framework"]
    table = pd.DataFrame(rows).groupby(keys, sort=False).median(numeric_only=True).drop(columns="rounds").reset_index()
    ours = table[table["framework"] == "lungnb"].set_index("network")
    by_network = table["network"].map
    table["train_ratio"] = table["train_images_s"] / by_network(ours["train_images_s"])
    for infer in ("infer", "infer_batch"):
        table[f"{infer}_ratio"] = by_network(ours[f"{infer}_ms"]) / table[f"{infer}_ms"]
    table["limit_infer_ms"] = 1000 * table["multiplications"] / macs_per_s
    table["limit_train_images_s"] = macs_per_s / (3 * table["multiplications"])  # forward, and twice as much back
    table["version"] = table["framework"].map(versions)
    return table.assign(network=by_network(TITLES)).sort_values("network", key=lambda names: names.map(_place))


def _place(title: str) -> int:
    return [TITLES[network] for network in NETWORKS].index(title)


def main() -> None:
    """Measure, in rounds, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256, help="px")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=6, help="timed in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    if said := say_missing([*CANDIDATES]):
        print(said)
    present = [framework for framework in CANDIDATES if not missing_packages([framework])]
    sizes = {"size": options.size, "count": options.batch, "rounds": options.steps}
    rows = [
        apart(measure, framework=framework, network=network, **sizes)
        for _ in range(options.rounds)
        for network in options.networks
        for framework in present
        if network in CANDIDATES[framework].networks
    ]
    rate = matrix_rate()
    table = medians(rows, rate)
    packages = [name for framework in present for name in CANDIDATES[framework].packages if name != "lungnb"]
    chart = bars(table, ["network", "framework"], TITLES_OF_BARS)
    write(table, "frameworks", options.out, chart, "keras", "tensorflow", *dict.fromkeys(packages))
    write(scripts(present), "scripts", options.out, None)
    print(f"float32 matrix product: {rate / 1e9:.0f} G multiply-accumulates a second")


if __name__ == "__main__":
    main()
