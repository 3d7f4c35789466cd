"""What `lungnb adapt` delivers: `python benchmarks/adapt_delivered.py DATASET ... [--images 5] [--draws 5]`.

`adapt.py` scores adapted networks. Here, the whole of `lungnb.adapt` runs, with its estimate, on a folder of images
with masks. If the estimate falls, `model.keras` is the network from before. The draws, and the images that are scored,
are those of `adapt.py`. Each row is written when it is measured. The same command continues, and repeats no row.
"""

import tempfile
import time
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from adapt import draw_places, films_of, mean_dice, parser_of
from measure import record
from PIL import Image
from tqdm import tqdm

import lungnb
from lungnb.engines.engines import load_model
from lungnb.evaluation.adaptation import dice_of_film
from lungnb.evaluation.films import Film
from lungnb.networks.backend import free_graphs

KEYS = ["dataset", "images", "draw"]


def write_pairs(films: list[Film], folder: Path) -> None:
    """Write images and masks as `adapt` reads them."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for film in films:
        Image.fromarray(film.image).save(folder / "images" / f"{film.id}.png")
        Image.fromarray(np.uint8(film.mask) * 255).save(folder / "masks" / f"{film.id}.png")


def measure(chosen: list[Film], others: list[Film]) -> dict[str, object]:
    """Return the estimate of `adapt`, the network that it keeps, the mean Dice of other films, and the seconds."""
    with tempfile.TemporaryDirectory() as folder, free_graphs():
        pairs, out = Path(folder, "pairs"), Path(folder, "network")
        write_pairs(chosen, pairs)
        started = time.perf_counter()
        result = lungnb.adapt(pairs, out, progress=False)
        seconds = time.perf_counter() - started
        adapted = out / "adapted.keras"  # there only if the estimate says that it is worse
        kept = "before" if adapted.exists() else "adapted"
        networks = {"adapted": load_model(adapted if adapted.exists() else result.file), "after": load_model(out)}
        means = {name: mean_dice(network, others) for name, network in networks.items()}
    estimate = result.estimate.groupby("patient")[["before", "after"]].mean().mean()
    row = {"estimate_before": estimate["before"], "estimate_after": estimate["after"], "kept": kept}
    return row | means | {"seconds": round(seconds, 1)}


def main() -> None:
    """Write the table after each row, and print the means."""
    parser = parser_of(__doc__, 5)
    parser.add_argument("--images", type=int, default=5, help="number of images, at least 3")
    options = parser.parse_args()
    file, network = options.out / "delivered.csv", load_model()
    rows = pd.read_csv(file).to_dict("records") if file.exists() else []
    sets = dict(films_of(name, options.without) for name in options.datasets)
    before = cache(lambda title, place: dice_of_film(network, sets[title][place]))
    for (title, films), draw in tqdm([*product(sets.items(), range(options.draws))]):
        key = title, options.images, draw
        if key in [tuple(row[name] for name in KEYS) for row in rows]:
            continue
        chosen, others = draw_places([film.patient for film in films], options.images, draw, options.tested)
        row = {"before": float(np.mean([before(title, place) for place in others])), "tested": len(others)}
        row |= measure([films[place] for place in chosen], [films[place] for place in others])
        rows.append(dict(zip(KEYS, key, strict=True)) | row)
        record(pd.DataFrame(rows), "delivered", options.out, None, "keras", "tensorflow")
    means = pd.DataFrame(rows).groupby(KEYS[:2], sort=False)[["before", "adapted", "after", "seconds"]]
    print(means.agg(["mean", "min"]).round(4).to_string())


if __name__ == "__main__":
    main()
