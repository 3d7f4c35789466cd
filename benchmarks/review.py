"""Which masks the reasons of `review` find, and other signs that could: `python benchmarks/review.py DATASET ...`.

Segments all images of data sets with masks, as they are and changed until the network fails, and compares. A limit of
each sign is chosen on the first data set: the highest 2.5 % of its images as they are lie above. So only the others
test it. `MAX_UNCERTAINTY` was chosen on Montgomery, and `MAX_SIZE_RATIO` on all sets, for few false alarms.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from measure import bars, write
from scipy import ndimage
from tqdm import tqdm

from lungnb.datasets import download, open_prepared, prepare_dataset
from lungnb.engines.engines import Engine
from lungnb.evaluation.changes import CHANGES
from lungnb.formats.pixels import shrink
from lungnb.masks import LUNG_THRESHOLD, clean_mask
from lungnb.metrics import dice
from lungnb.presets import make_settings
from lungnb.segmentation.inference import predict
from lungnb.segmentation.lungs import MAX_SIZE_RATIO, MAX_UNCERTAINTY, split_sides, uncertainty, why_implausible
from lungnb.segmentation.predict import open_model
from lungnb.settings import SPLITS

Pictures = tuple[np.ndarray, np.ndarray]  # image and ground truth
BAD, FAIR = 0.85, 0.9  # Dice below which a mask should, or may, be looked at


def _turned(grey: np.ndarray, truth: np.ndarray, degrees: float) -> Pictures:
    turn = {"reshape": False, "order": 0}
    return ndimage.rotate(grey, degrees, **turn), ndimage.rotate(truth.astype(np.uint8), degrees, **turn) > 0


def _framed(array: np.ndarray) -> np.ndarray:
    return np.pad(array, [(side, side) for side in array.shape])


CHANGED: dict[str, Callable[[np.ndarray, np.ndarray, np.random.Generator], Pictures]] = CHANGES | {
    "turned 25 degrees": lambda grey, truth, _: _turned(grey, truth, 25),
    "turned 90 degrees": lambda grey, truth, _: _turned(grey, truth, 90),
    "upside down": lambda grey, truth, _: (grey[::-1].copy(), truth[::-1].copy()),
    "half": lambda grey, truth, _: (grey[:, : grey.shape[1] // 2].copy(), truth[:, : grey.shape[1] // 2].copy()),
    "noise": lambda grey, truth, rng: (
        np.clip(grey * 0.5 + 60 + rng.normal(0, 40, grey.shape), 0, 255).astype(np.uint8),
        truth,
    ),
    "blurred": lambda grey, truth, _: (ndimage.gaussian_filter(grey, grey.shape[0] / 40), truth),
    "in a wide frame": lambda grey, truth, _: (_framed(grey), _framed(truth)),
}


def signs(grey: np.ndarray, truth: np.ndarray, engine: Engine) -> dict[str, Any]:
    """Return the Dice of a mask, the reasons of `review`, and signs of a bad mask, all the larger the worse."""
    probability = predict(engine, grey)
    raw = probability > LUNG_THRESHOLD
    mask, mirrored = clean_mask(raw), np.fliplr(predict(engine, np.fliplr(grey))) > LUNG_THRESHOLD
    right, left = split_sides(mask)
    small, large = sorted((int(right.sum()), int(left.sum())))
    heights = sorted(int(side.any(1).sum()) for side in (right, left))
    _, count = ndimage.label(raw, np.ones((3, 3)))
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    area = max(int(mask.sum()), 1)
    return {
        "dice": dice(truth, mask),
        "review": why_implausible(mask, right.sum(), left.sum(), None, probability),
        "ratio of the areas": large / max(small, 1) if large else np.inf,
        "ratio of the heights": heights[1] / max(heights[0], 1) if large else np.inf,
        "small share of the image": -mask.mean(),
        "large share of the image": mask.mean(),
        "regions before cleaning": count,
        "area left out by cleaning": (raw & ~mask).sum() / area,
        "area of holes": (mask & ~raw).sum() / area,
        "pixels at the border": edge.sum() / edge.size,
        "uncertain pixels": uncertainty(probability, mask),
        "mean uncertainty within the mask": 1 - probability[mask].mean() if large else np.inf,
        "disagreement with the mirrored image": 1 - dice(mask, clean_mask(mirrored)),
    }


def images_of(dataset: str, engine: Engine, every: int) -> pd.DataFrame:
    """Return the signs of all images of a data set as they are, and of each `every`-th one changed."""
    settings, rows = make_settings(dataset), []
    download(dataset, progress=False)
    prepare_dataset(settings, progress=False)
    prepared = open_prepared(settings)
    for number, row in enumerate(tqdm(prepared.rows(*SPLITS), settings.name)):
        grey, truth = (shrink(array, 512) for array in prepared.pair(row))
        for change, make in CHANGED.items():
            if change != "as it is" and number % every:
                continue
            changed = make(grey, truth, np.random.default_rng(number))
            if changed[1].any():
                names = {"dataset": settings.name, "id": row["id"], "change": change}
                rows.append(names | signs(*changed, engine))
    return pd.DataFrame(rows)


def found(images: pd.DataFrame, flagged: pd.Series) -> dict[str, float]:
    """Return how many bad masks are flagged, and which share of the others."""
    bad, fair = images["dice"] < BAD, images["dice"] < FAIR
    return {
        "images": len(images),
        "below_0.85": int(bad.sum()),
        "of_them_found": int((flagged & bad).sum()),
        "below_0.9": int(fair.sum()),
        "of_these_found": int((flagged & fair).sum()),
        "false_alarms": round((flagged & ~bad).sum() / max((~bad).sum(), 1), 4),
    }


def table_of(images: pd.DataFrame) -> pd.DataFrame:
    """Return one row per rule and data set, as they are and changed."""
    first = images[(images["dataset"] == images["dataset"].iloc[0]) & (images["change"] == "as it is")]
    names = list(images.columns[images.columns.get_loc("review") + 1 :])
    rules = {"review": (images["review"] != "", "")}
    ratio, unsure = images["ratio of the areas"], images["uncertain pixels"]
    rules["... the ratio alone"] = ratio > MAX_SIZE_RATIO, f"{MAX_SIZE_RATIO:g}"
    rules["... the uncertainty alone"] = unsure > MAX_UNCERTAINTY, f"{MAX_UNCERTAINTY:g}"
    rules["before: ratio alone"] = ratio > 2, "2"
    for name in names:
        limit = first[name].quantile(0.975)
        rules[name] = images[name] > limit, f"{abs(limit):.3g}"
    rows = []
    for rule, (flagged, limit) in rules.items():
        for is_changed in (False, True):
            for dataset in images["dataset"].unique():
                some = (images["dataset"] == dataset) & ((images["change"] != "as it is") == is_changed)
                head = {"rule": rule, "limit": limit, "dataset": dataset, "changed": is_changed}
                rows.append(head | found(images[some], flagged[some]))
    return pd.DataFrame(rows)


def main() -> None:
    """Print the table and write it, and the signs of each image as it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", nargs="+", help="names of the catalogue, or folders; the first one sets limits")
    parser.add_argument("--every", type=int, default=3, help="change each image of so many only; default: 3")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    engine, _ = open_model(None, None)
    images = pd.concat([images_of(name, engine, options.every) for name in options.datasets], ignore_index=True)
    table = table_of(images)
    review = table[table["rule"] == "review"].assign(
        found=lambda rows: rows["of_them_found"] / rows["below_0.85"],
        what=lambda rows: rows["dataset"] + np.where(rows["changed"], ", changed", ""),
    )
    titles = {"found": "share found of masks with Dice < 0.85", "false_alarms": "share flagged of the others"}
    write(table, "review", options.out, bars(review, ["what"], titles), "numpy", "scipy")
    images[images["change"] == "as it is"].round(4).to_csv(options.out / "review_images.csv", index=False)


if __name__ == "__main__":
    main()
