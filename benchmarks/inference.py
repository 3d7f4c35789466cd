"""How fast networks segment, by engine: `python benchmarks/inference.py`.

Measures the median milliseconds of one image at a time: of a slice of 256x256 from array to cleaned mask, and of two
networks alone, the shipped one (128x128) and one of the same architecture for 256x256. Measures files a second of
`segment_files` on 512x512 PNGs, with reading and writing, and the seconds until the first mask in a fresh process. Run
it on a machine that does nothing else.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from measure import apart, bars, write

from lungnb.engines.engines import ENGINES, PACKAGES, Engine, installed, load_model
from lungnb.engines.export import open_network
from lungnb.evaluation.speed import median_seconds, milliseconds
from lungnb.formats.images import write_png
from lungnb.formats.pixels import to_grey
from lungnb.masks import LUNG_THRESHOLD, clean_mask
from lungnb.phantoms.make import make_phantom
from lungnb.segmentation.batch import segment_files
from lungnb.segmentation.inference import predict
from lungnb.settings import SHIPPED

PREDICT = "model.predict"
FIRST = "import sys, lungnb; lungnb.segment(sys.argv[1], engine=sys.argv[2])"


def latencies(engine: str, larger: str, rounds: int) -> dict[str, object]:
    """Return an engine's milliseconds: from a slice of 256x256 to its cleaned mask, and of two networks alone."""
    shipped, large = (opened(file, engine) for file in (SHIPPED, larger))
    grey = to_grey(make_phantom(0, kind="ct").image)
    return {
        "engine": shipped.name,
        "ms_slice": 1000 * median_seconds(lambda: clean_mask(predict(shipped, grey) > LUNG_THRESHOLD), rounds),
        "ms_network_128": float(np.median(milliseconds(shipped, rounds))),
        "ms_network_256": float(np.median(milliseconds(large, rounds))),
    }


def opened(file: str | Path, engine: str) -> Engine:
    """Open a model file with an engine, or with Keras's `model.predict`."""
    if engine != PREDICT:
        return open_network(file, engine)
    model = load_model(file)
    return Engine(PREDICT, model.input_shape[1], lambda batch: model.predict(batch, verbose=0))


def files_a_second(films: Path, count: int, engine: str, rounds: int) -> float:
    """Return how many files of a folder `segment_files` segments in a second: the median, without the first run."""
    seconds = []
    for _ in range(rounds + 1):
        with tempfile.TemporaryDirectory() as out:
            started = time.perf_counter()
            segment_files(films, out, progress=False, engine=engine)
            seconds.append(time.perf_counter() - started)
    return count / statistics.median(seconds[1:])


def first_mask(film: Path, engine: str, rounds: int) -> float:
    """Return the median seconds in which a fresh process segments one file."""
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", FIRST, str(film), engine], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def main() -> None:
    """Print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=50, help="of latencies; a tenth of it of the rest")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    engines, few = [name for name in ENGINES if installed(name)], max(options.rounds // 10, 1)
    packages = ["tensorflow", *(PACKAGES[name] for name in engines)]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LUNGNB_CACHE"] = str(Path(folder, "cache"))  # as for a new user of lungnb
        films = Path(folder, "films")
        for index in range(options.files):
            write_png(films / f"{index:04}.png", make_phantom(index, size=512).image)
        larger = Path(folder, "unet256.keras")
        from lungnb.networks.models import build_model

        build_model("compact_unet", size=256, depth=5, weights="phantom").save(larger)
        # Each in a fresh process, because the waiting threads of one engine disturb the next.
        arguments = {"larger": str(larger), "rounds": options.rounds}
        times = [apart(latencies, engine=name, **arguments) for name in (PREDICT, *engines)]
        rows = [
            {
                "engine": name,
                "files_a_second_512": files_a_second(films, options.files, name, few),
                "first_mask_s": first_mask(films / "0000.png", name, few),
            }
            for name in engines
        ]
    latency = pd.DataFrame(times)[["engine", "ms_slice", "ms_network_128", "ms_network_256"]]
    whole = pd.DataFrame(rows)
    titles = {"ms_slice": "ms a slice, 256x256", "ms_network_128": "ms, network, 128x128"}
    titles |= {"ms_network_256": "ms, network, 256x256"}
    write(latency, "inference", options.out, bars(latency, ["engine"], titles), *packages)
    titles = {"files_a_second_512": "files of 512x512 a second", "first_mask_s": "s to the first mask"}
    write(whole, "segment", options.out, bars(whole, ["engine"], titles), *packages)


if __name__ == "__main__":
    main()
