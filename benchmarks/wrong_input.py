"""Which images the output `chest` of the shipped network flags: `python benchmarks/wrong_input.py NAME=PATTERN ...`.

Images of the patterns must not be flagged, as they are and changed. X-rays among them, whose names do not begin with
`ct`, must be flagged if they are turned or cut in half. So must the pictures that come with scikit-image, noise and
gradients. With `--time`, measure the milliseconds that the output takes; nothing else may run meanwhile.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import skimage
from measure import bars, write
from tqdm import tqdm

from lungnb.engines.engines import Engine, load_model
from lungnb.engines.export import open_network
from lungnb.evaluation.changes import CHANGES
from lungnb.evaluation.speed import median_seconds
from lungnb.formats.images import read_image
from lungnb.formats.pixels import shrink
from lungnb.networks.chest_output import probability_part
from lungnb.segmentation.inference import is_doubtful, predict_image, predict_upright
from lungnb.segmentation.listing import list_images
from lungnb.segmentation.predict import open_model

LONGEST_SIDE = 512  # px; the network takes 128
PICTURES = (
    *("astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "chessboard_GRAY.png", "clock_motion.png"),
    *("coffee.png", "coins.png", "color.png", "grass.png", "gravel.png", "horse.png", "hubble_deep_field.jpg"),
    *("ihc.png", "logo.png", "microaneurysms.png", "moon.png", "motorcycle_left.png", "page.png", "phantom.png"),
    *("retina.jpg", "rocket.jpg", "text.png"),
)  # that scikit-image brings without a download
Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def _half(is_left: bool) -> Change:
    return lambda grey, _: np.ascontiguousarray(
        grey[:, : grey.shape[1] // 2] if is_left else grey[:, grey.shape[1] // 2 :]
    )


def _turned(times: int) -> Change:
    return lambda grey, _: np.ascontiguousarray(np.rot90(grey, times))


def _image_part(name: str) -> Change:
    return lambda grey, rng: CHANGES[name](grey, np.zeros(grey.shape, bool), rng)[0]


GOOD = {name: _image_part(name) for name in CHANGES}
TURNED: dict[str, Change] = {f"turned by {90 * times} degrees": _turned(times) for times in (1, 2, 3)}
WRONG = TURNED | {"left half": _half(True), "right half": _half(False)}


def other_pictures() -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield kind, name and greys of pictures that show nothing of a patient's chest."""
    for name in PICTURES:
        yield "scikit-image", name, read_image(Path(skimage.data.data_dir) / name)
    rng, line = np.random.default_rng(1), np.linspace(-1, 1, 256)
    for index in range(20):
        loud = rng.uniform(5, 80)
        yield "noise", str(index), np.clip(rng.normal(rng.uniform(60, 200), loud, (256, 256)), 0, 255).astype(np.uint8)
        angle = rng.uniform(0, 2 * np.pi)
        slope = np.cos(angle) * line + np.sin(angle) * line[:, None]
        yield "gradient", str(index), np.rint(255 * (slope - slope.min()) / np.ptp(slope)).astype(np.uint8)


def judged(grey: np.ndarray, engine: Engine) -> dict[str, object]:
    """Return `chest` of an image, whether it is flagged, and by how much `upright` turns it."""
    chest = predict_image(engine, grey).chest
    turned = predict_upright(engine, grey).turned_degrees
    return {"chest": chest, "flagged": is_doubtful(chest), "turned_degrees": turned}


def images_of(name: str, pattern: str, engine: Engine, every: int) -> Iterator[dict[str, object]]:
    """Yield a row for each image of a pattern, as it is and changed."""
    for number, file in enumerate(tqdm(list_images(pattern)[::every], name)):
        grey = shrink(read_image(file), LONGEST_SIDE)
        for change, make in (GOOD | ({} if name.startswith("ct") else WRONG)).items():
            row = {"images": name, "change": change, "id": file.stem, "must be flagged": change in WRONG}
            yield row | judged(make(grey, np.random.default_rng(number)), engine)


def table_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each kind of images and change."""
    rows = rows.assign(right_turn=rows["turned_degrees"] == rows["change"].map(_needed_turn))
    groups = rows.groupby(["must be flagged", "images", "change"], sort=False)
    table = groups.agg(
        count=("flagged", "size"), flagged=("flagged", "mean"), median_chest=("chest", "median"),
        turned_right=("right_turn", "mean"),
    )  # fmt: skip
    return table.reset_index().round(4)


def _needed_turn(change: str) -> int:
    """Return the degrees by which `upright` shall turn an image that was changed so."""
    return 360 - 90 * (1 + [*TURNED].index(change)) if change in TURNED else 0


def milliseconds_of_chest(engine: str, rounds: int = 400) -> dict[str, object]:
    """Return the median milliseconds of the network with and without the output `chest`, called in turns."""
    with tempfile.TemporaryDirectory() as folder:
        probability_part(load_model()).save(f"{folder}/one.keras")
        one, both = open_network(f"{folder}/one.keras", engine), open_network(None, engine)
        batch = np.random.default_rng(1).random((1, both.size, both.size, 1), np.float32)
        pairs = [
            [median_seconds(lambda network=network: network(batch), 1) for network in (one, both)]
            for _ in range(rounds)
        ]
    without, with_it = (1000 * np.median(pairs, axis=0)).round(3)
    return {"engine": both.name, "ms_without": without, "ms_with": with_it, "ms_chest": round(with_it - without, 3)}


def main() -> None:
    """Print the tables and write them, and the values of each image."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "images", nargs="*", help="NAME=PATTERN, such as montgomery='films/*.png' and ct='slices/*.tif'"
    )
    parser.add_argument("--every", type=int, default=1, help="take each image of so many only; default: 1")
    parser.add_argument("--model", help="a model.keras; default: the shipped one")
    parser.add_argument("--time", action="store_true", help="also measure how long the output takes")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    engine, _ = open_model(options.model, None)
    rows = [
        {"images": kind, "change": "", "id": name, "must be flagged": True} | judged(grey, engine)
        for kind, name, grey in other_pictures()
    ]
    for each in options.images:
        name, _, pattern = each.partition("=")
        rows += images_of(name, pattern, engine, options.every)
    images = pd.DataFrame(rows)
    table = table_of(images)
    label = table.assign(what=(table["images"] + ", " + table["change"]).str.removesuffix(", "))
    write(
        table, "wrong_input", options.out, bars(label, ["what"], {"flagged": "share flagged"}), "numpy", "scikit-image"
    )
    images.to_csv(options.out / "wrong_input_images.csv", index=False, float_format="%.4f")
    for must, part in images.groupby("must be flagged"):
        print(f"{'must be' if must else 'must not be'} flagged: {part['flagged'].mean():.2%} of {len(part)} are")
    if options.time:
        speeds = pd.DataFrame([milliseconds_of_chest(name) for name in ("openvino", "onnx")])
        write(speeds, "wrong_input_speed", options.out, None, "openvino", "onnxruntime")


if __name__ == "__main__":
    main()
