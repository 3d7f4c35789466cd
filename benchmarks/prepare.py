"""How long preparation takes beside Pillow's own encoding of the same files: `python benchmarks/prepare.py`.

Makes phantom pairs as BMP, prepares them, and has Pillow re-encode the same files as PNG, one after another and on all
cores; the rounds alternate, and the ratios are of the medians.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
from measure import bars, write
from PIL import Image

from lungnb.datasets.prepare import prepare_dataset
from lungnb.files import remove
from lungnb.phantoms.make import write_phantoms
from lungnb.presets import make_settings


def encode(file: Path, out: Path) -> None:
    """Encode one file as PNG with Pillow."""
    with Image.open(file) as image:
        image.save(out / f"{file.parent.name}_{file.stem}.png")


def main() -> None:
    """Print seconds and ratios, and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--size", type=int, default=512, help="px")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {"lungnb": [], "Pillow, all cores": [], "Pillow, one core": []}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LUNGNB_HOME"] = folder
        raw = Path(folder, "raw")
        write_phantoms(raw, options.pairs, size=options.size)
        files = sorted(raw.rglob("*.bmp"))
        settings = make_settings(f"{raw}/", patient_pattern=r"(patient_\d+)")
        out = Path(folder, "pillow")
        out.mkdir()
        runs: dict[str, Callable[[], object]] = {
            "lungnb": lambda: prepare_dataset(settings),
            "Pillow, all cores": lambda: list(
                ThreadPoolExecutor(os.cpu_count()).map(encode, files, [out] * len(files))
            ),
            "Pillow, one core": lambda: list(map(encode, files, [out] * len(files))),
        }
        for _ in range(options.rounds):
            remove(settings.prepared)
            for name, run in runs.items():
                started = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - started)
    table = pd.DataFrame([{"what": name, "seconds": statistics.median(times)} for name, times in seconds.items()])
    table = table.assign(ratio=table["seconds"] / table["seconds"][0], pairs=options.pairs, size=options.size)
    title = f"s for {options.pairs} pairs of {options.size}x{options.size}"
    write(table, "prepare", options.out, bars(table, ["what"], {"seconds": title}), "pillow", "numpy")


if __name__ == "__main__":
    main()
