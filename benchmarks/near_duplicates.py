"""Which altered copies of real images are found, and how long it takes: `python benchmarks/near_duplicates.py`.

Alters every image of the real data sets in turn, and looks for its original among all originals. Looks for copies among
different patients too. `MAX_COPY_DISTANCE` was chosen on Montgomery and lung-ct-bmp; Shenzhen and the slices of
finding-lungs-in-ct-data that lung-ct-bmp lacks test it. LUNGNB_RAW must hold the data sets.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from measure import write
from tqdm import tqdm

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # the tests alter images in the same ways
from helpers.alterations import ALTERATIONS, HARDER  # isort: split

from lungnb.datasets import download, open_prepared, prepare_dataset
from lungnb.datasets.copies import MAX_COPY_DISTANCE, Fingerprints, compare_candidates, fingerprint, stack
from lungnb.presets import make_settings
from lungnb.settings import SPLITS

CHOSEN_ON, TESTED_ON = "chosen on", "tested on"
X_RAYS, CT, BMP = "chest-xray-masks-and-labels", "finding-lungs-in-ct-data", "lung-ct-bmp"


def read_images() -> tuple[pd.DataFrame, list[np.ndarray]]:
    """Return a row for each image (`dataset`, `patient`, `part`, empty for copies of other rows), and the images."""
    rows, images = [], []
    for dataset in ("montgomery", BMP, X_RAYS, CT):
        settings = make_settings(dataset)
        download(dataset, progress=False)
        prepare_dataset(settings, progress=False)
        prepared = open_prepared(settings)
        for row in tqdm(prepared.rows(*SPLITS), f"Reading {dataset}", file=sys.stdout):
            rows.append({"dataset": dataset, "patient": row["patient"]})
            images.append(prepared.pair(row)[0])
    table = pd.DataFrame(rows)
    is_first = ~table["patient"].duplicated()  # the catalogue's other sets hold copies of these images
    table["part"] = np.where(table["dataset"].isin(["montgomery", BMP]), CHOSEN_ON, TESTED_ON)
    table.loc[~is_first, "part"] = ""
    return table, images


def recall_table(rows: pd.DataFrame, images: list[np.ndarray], originals: list[Fingerprints]) -> pd.DataFrame:
    """Return a row for each alteration and data set: how many copies are found, and how far they are apart."""
    table = []
    for name, alter in tqdm((ALTERATIONS | HARDER).items(), "Altering", file=sys.stdout):
        altered = [fingerprint(np.ascontiguousarray(alter(image))) for image in images]
        pairs = compare_candidates(stack([*originals, *altered]), np.repeat([0, 1], len(images)))
        is_own = pairs["second"] - pairs["first"] == len(images)
        own = pairs[is_own].set_index("first")["distance"].reindex(range(len(images)), fill_value=1.0)
        false_pairs = pairs[~is_own & (pairs["distance"] <= MAX_COPY_DISTANCE)]
        for (part, dataset), of_set in rows.groupby(["part", "dataset"]):
            distances = own[of_set.index]
            table.append(
                {
                    "part": part,
                    "dataset": dataset,
                    "alteration": name,
                    "images": len(of_set),
                    "recall": (distances <= MAX_COPY_DISTANCE).mean().round(4),
                    "distance_95": distances.quantile(0.95).round(4),
                    "false_pairs": false_pairs["first"].isin(of_set.index).sum(),
                }
            )
    return pd.DataFrame(table)


def patients_table(rows: pd.DataFrame, originals: list[Fingerprints]) -> pd.DataFrame:
    """Return a row for each part: its pairs of different patients, the false ones, and the nearest distances."""
    table = []
    for part, of_part in [*rows.groupby("part"), ("all", rows)]:
        pairs = compare_candidates(stack([originals[index] for index in of_part.index]), of_part["patient"].to_numpy())
        table.append(
            {
                "part": part,
                "images": len(of_part),
                "pairs": len(of_part) * (len(of_part) - 1) // 2,
                "false_pairs": (pairs["distance"] <= MAX_COPY_DISTANCE).sum(),
                "nearest": pairs["distance"].min().round(4),
                "third_nearest": pairs["distance"].sort_values().iloc[2].round(4),
            }
        )
    return pd.DataFrame(table)


def copies_row(rows: pd.DataFrame, originals: list[Fingerprints]) -> pd.DataFrame:
    """Return how many images are found that are in two published data sets, in other sizes and file formats."""
    first = rows.reset_index().groupby("patient")["index"].agg(["first", "last"])
    twice = first[first["first"] != first["last"]]
    pairs = compare_candidates(stack(originals), np.arange(len(rows)))
    found = pairs[pairs["distance"] <= MAX_COPY_DISTANCE]
    known = {(one, other) for one, other in twice.to_numpy()}
    is_known = [pair in known for pair in zip(found["first"], found["second"], strict=True)]
    return pd.DataFrame(
        [{"images_in_two_sets": len(known), "found": sum(is_known), "others": len(found) - sum(is_known)}]
    )


def seconds_table(originals: list[Fingerprints], images: list[np.ndarray], counts: list[int]) -> pd.DataFrame:
    """Return the processor's seconds for several numbers of images; beyond the real ones, they are shifted copies."""
    started = time.process_time()
    for image in images[:200]:
        fingerprint(image)
    each = (time.process_time() - started) / 200
    rng, table = np.random.default_rng(0), []
    for count in counts:
        chosen = [originals[number % len(originals)] for number in range(count)]
        shifts = [int(number >= len(originals)) * rng.integers(1, 5, 2) for number in range(count)]
        many = [
            [np.roll(level, shift * level.shape[1] // 8, (1, 2)) for level in of]
            for of, shift in zip(chosen, shifts, strict=True)
        ]
        prints = stack([Fingerprints(*levels) for levels in many])
        started = time.process_time()
        compare_candidates(prints, np.arange(count))
        comparing = time.process_time() - started
        table.append({"images": count, "fingerprints_s": round(each * count, 2), "comparing_s": round(comparing, 2)})
    return pd.DataFrame(table)


def main() -> None:
    """Print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[250, 500, 1000], help="of images, to measure time")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    rows, images = read_images()
    originals = [fingerprint(image) for image in images]
    single = rows[rows["part"] != ""]
    indices = single.index
    rows_once, images_once = single.reset_index(drop=True), [images[index] for index in indices]
    prints_once = [originals[index] for index in indices]
    packages = ("numpy", "scipy", "pillow", "scikit-image")
    write(seconds_table(originals, images, options.counts), "near_duplicates_seconds", options.out, None, *packages)
    write(patients_table(rows_once, prints_once), "near_duplicates_patients", options.out, None, *packages)
    write(copies_row(rows, originals), "near_duplicates_published", options.out, None, *packages)
    recall = recall_table(rows_once, images_once, prints_once)
    write(recall, "near_duplicates", options.out, None, *packages)


if __name__ == "__main__":
    main()
