"""Whether memory stays flat in long use: `python benchmarks/endurance.py`, one to two hours.

Segments many files with the command, which is killed in the middle and started again. Trains a small network many times
in one process. Samples of the resident memory are in endurance_files.csv and endurance_trainings.csv.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import psutil

from lungnb.formats.images import write_png
from lungnb.phantoms.make import make_phantom, write_phantoms
from lungnb.settings import Settings


def segment_many(folder: Path, files: int, interval_seconds: float) -> pd.DataFrame:
    """Segment links to a hundred phantoms; return samples of memory and of the number of files done."""
    (folder / "films").mkdir()
    for index in range(min(files, 100)):
        write_png(folder / f"{index}.png", make_phantom(index, size=128).image)
    for index in range(files):
        os.link(folder / f"{index % 100}.png", folder / "films" / f"{index:07}.png")
    command = [sys.executable, "-m", "lungnb", "segment", str(folder / "films"), "--out", str(folder / "masks")]
    rows, journal, begun = [], folder / "masks" / ".segmentation.jsonl", time.monotonic()
    for run in ("killed in the middle", "to the end"):
        process = psutil.Popen(command, stdout=subprocess.DEVNULL)
        while process.poll() is None:
            time.sleep(interval_seconds)
            done = sum(1 for _ in journal.open("rb")) if journal.exists() else 0
            try:
                memory = round(process.memory_info().rss / 1e6)
            except psutil.Error:
                break  # it has ended
            if memory:  # 0 if the process is just ending
                row = {"run": run, "seconds": round(time.monotonic() - begun, 1), "files": max(done - 1, 0)}
                rows.append(row | {"memory_mb": memory})
            if run == "killed in the middle" and done > files / 2:
                process.kill()
        if process.wait() and run == "to the end":
            sys.exit(f"The command ended with {process.returncode}.")
    assert len(list((folder / "masks").glob("*_mask.png"))) == files
    return pd.DataFrame(rows)


def train_often(folder: Path, trainings: int) -> pd.DataFrame:
    """Train a small U-Net many times in this process; return the memory after each training."""
    from lungnb.datasets.prepare import prepare_dataset
    from lungnb.networks.training import train

    os.environ["LUNGNB_HOME"] = str(folder)
    write_phantoms(folder / "data" / "raw" / "films", 40, size=64, progress=False)
    settings = Settings(dataset=str(folder / "data" / "raw" / "films"), image_size=64, filters=8, depth=3, epochs=3)
    prepare_dataset(settings, progress=False)
    rows = []
    for number in range(1, trainings + 1):
        train(settings.replace(seed=number), "unet", progress=False)
        rows.append({"training": number, "memory_mb": round(psutil.Process().memory_info().rss / 1e6)})
        print(f"training {number}: {rows[-1]['memory_mb']} MB", flush=True)
    return pd.DataFrame(rows)


def main() -> None:
    """Run both, print memory at the beginning, in the middle and at the end, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--trainings", type=int, default=20)
    parser.add_argument("--every", type=float, default=10, help="seconds between samples of memory")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder of the tables")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, table in (
            ("trainings", train_often(Path(folder), options.trainings)),
            ("files", segment_many(Path(folder), options.files, options.every)),
        ):
            table.to_csv(options.out / f"endurance_{name}.csv", index=False)
            print(table.iloc[[0, len(table) // 4, len(table) // 2, 3 * len(table) // 4, -1]].to_string(index=False))


if __name__ == "__main__":
    main()
