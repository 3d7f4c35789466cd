"""How fast networks segment, by engine: `python benchmarks/inference.py`.

Milliseconds, one image at a time, the median: of a slice of 256x256 from array to cleaned mask, and of the network
alone, the one that comes with lungnb (128x128) and one of the same architecture for 256x256; files a second of
`segment_files` on 512x512 PNGs, reading and writing included; seconds until the first mask in a fresh process. Run it
on a machine that does nothing else.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from measure import bars, write

from lungnb.engines import ENGINES, PACKAGES, THRESHOLD, Engine, installed, load_model
from lungnb.export import open_network
from lungnb.images import to_grey, write_png
from lungnb.inference import clean_mask, predict
from lungnb.phantom import make_phantom
from lungnb.segmentation import segment_files
from lungnb.settings import SHIPPED
from lungnb.speed import median_seconds, milliseconds

FIRST = "import sys, lungnb; lungnb.segment(sys.argv[1], engine=sys.argv[2])"


def opened(file: Path, names: list[str]) -> list[Engine]:
    """Return a model file in Keras's own way, `model.predict`, and in each of the engines."""
    model = load_model(file)
    own = Engine("model.predict", model.input_shape, lambda batch: model.predict(batch, verbose=0))
    return [own, *(open_network(file, name) for name in names)]


def latencies(file: Path, names: list[str], rounds: int) -> dict[str, float]:
    """Return the milliseconds that the network of a file takes for an image, by engine."""
    return {each.name: milliseconds(each, each.input_shape[1], rounds) for each in opened(file, names)}


def slice_latencies(file: Path, names: list[str], rounds: int) -> dict[str, float]:
    """Return the milliseconds from a slice of 256x256 to its cleaned mask, by engine."""
    grey = to_grey(make_phantom(0, kind="ct").image)
    engines = opened(file, names)
    return {
        each.name: 1000 * median_seconds(lambda each=each: clean_mask(predict(each, grey) > THRESHOLD), rounds)
        for each in engines
    }


def files_a_second(films: Path, count: int, engine: str, rounds: int) -> float:
    """Return how many files of a folder `segment_files` segments in a second: the median, the first run left out."""
    seconds = []
    for _ in range(rounds + 1):
        with tempfile.TemporaryDirectory() as out:
            started = time.perf_counter()
            segment_files(films, out, progress=False, engine=engine)
            seconds.append(time.perf_counter() - started)
    return count / statistics.median(seconds[1:])


def first_mask(film: Path, engine: str, rounds: int) -> float:
    """Return the seconds, the median, in which a fresh process segments one file."""
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
        os.environ["LUNGNB_CACHE"] = str(Path(folder, "cache"))  # as for a reader who has not used lungnb before
        films = Path(folder, "films")
        for index in range(options.files):
            write_png(films / f"{index:04}.png", make_phantom(index, size=512).image)
        larger = Path(folder, "unet256.keras")
        from lungnb.models import build_model

        build_model("compact_unet", size=256, depth=5, weights="phantom").save(larger)
        times = {
            "slice": slice_latencies(SHIPPED, engines, options.rounds),
            "network_128": latencies(SHIPPED, engines, options.rounds),
            "network_256": latencies(larger, engines, options.rounds),
        }
        rows = [
            {
                "engine": name,
                "files_a_second_512": files_a_second(films, options.files, name, few),
                "first_mask_s": first_mask(films / "0000.png", name, few),
            }
            for name in engines
        ]
    latency = pd.DataFrame(times).add_prefix("ms_").rename_axis("engine").reset_index()
    whole = pd.DataFrame(rows)
    titles = {"ms_slice": "ms a slice, 256x256", "ms_network_128": "ms, network, 128x128"}
    titles |= {"ms_network_256": "ms, network, 256x256"}
    write(latency, "inference", options.out, bars(latency, ["engine"], titles), *packages)
    titles = {"files_a_second_512": "files of 512x512 a second", "first_mask_s": "s to the first mask"}
    write(whole, "segment", options.out, bars(whole, ["engine"], titles), *packages)


if __name__ == "__main__":
    main()
