"""Open the browser for files, arrays or a prepared data set."""

from collections.abc import Iterable
from pathlib import Path

from lungnb.artefacts import home, raw_folder
from lungnb.browser.browser import Browser
from lungnb.browser.cases import image_cases, prepared_cases
from lungnb.browser.controls import ALL, ORDERS, UNCERTAIN_FIRST
from lungnb.browser.correcting import save_all
from lungnb.browser.corrections import Corrections
from lungnb.browser.marks import Marks
from lungnb.datasets.prepared import open_prepared
from lungnb.segmentation.predict import Model, OneImage, best_model, open_model
from lungnb.settings import SHIPPED, Settings

# images that are segmented before the first is shown: some seconds. On average, five corrected masks taught a network
# at least as much in this order as in a random one (`benchmarks/correction_order.py`).
_FEW = 200


def browse(
    images: OneImage | Iterable[OneImage] | Settings, model: Model = None,
    split: str = "validation", marks: str | Path | None = None,
    corrections: str | Path | None = None, order: str | None = None,
) -> Browser:  # fmt: skip
    """Return a browser of images and of a network's predictions: the last line of a cell shows it.

    The picture on the left has the contour of the mask at the threshold of the slider. The one on the right shows the
    image, the probability of lung, or the disagreement of augmented predictions. Both are shrunk to 1,024 px at most. A
    volume has a slider for its slices, and opens at the middle one. "Mark as wrong" writes to `marks` at once, and
    earlier marks are shown. Only the image shown and the next one are segmented, unless the uncertain ones come first
    (`uncertainty` in `lungnb/segmentation/lungs.py`).

    "Correct" opens a brush, at the image's own size, which the page shows. "Save", and going to another image, writes
    the image as 8-bit grey and the mask to `corrections`; see `Corrections`. "Adapt with these" trains the network
    further on these pairs, or the one that lungnb ships if `model` is not a file, and then shows the masks of the new
    network. It is saved in results/<name of the folder>/adapted-1, the next one in adapted-2, and so on.

    Args:
        images: files, folders and patterns as `segment_files` takes them, or arrays as `segment` does. Or the
            settings of a prepared data set; the contours of its ground truth and the Dice are then shown. Its raw
            images are corrected, or its prepared ones (1,024 px at most) if the raw ones are volumes or have changed.
        model: as in `segment`; for a prepared data set, None means the best model that was trained on it.
        split: of a prepared data set. Choose a threshold on validation images, never on test images.
        marks: a CSV file; default: `marks.csv` among the results. The browser shows its path.
        corrections: a folder for corrected pairs; default: data/corrected, or data/corrected-<name> for a prepared data
            set. The browser shows its path.
        order: which images come first, one of `ORDERS` in `lungnb/browser/controls.py`; the browser can change it. None
            means uncertain images first, for at most 200 images, because all of them are segmented before.

    Raises ValueError if there are no images, if `marks` is another table, or for another order; FileNotFoundError if
    nothing is prepared or trained.
    """
    if order not in (None, *ORDERS):
        raise ValueError(f"order must be one of {', '.join(ORDERS)}, not {order!r}.")
    save_all()  # strokes of an earlier browser, whose cell may be run again now
    if isinstance(images, Settings):
        model = best_model(images) if model is None else model
    engine, window_hu = open_model(model, None)
    if isinstance(images, Settings):
        raw = raw_folder(images.dataset)
        cases = [*prepared_cases(open_prepared(images), split, raw, images.window)]
        results, pairs = images.results, f"corrected-{images.name}"
    else:
        cases, results, pairs = [*image_cases(images, window_hu)], home() / "results", "corrected"
    if not cases:
        raise ValueError("no images to browse: name files, a folder, arrays, or a prepared data set.")
    name = str(Path(model).absolute()) if isinstance(model, (str, Path)) else getattr(model, "name", SHIPPED.stem)
    table = Marks(Path(marks or results / "marks.csv"), name)
    corrected = Corrections(Path(corrections or home() / "data" / pairs))
    return Browser(cases, engine, table, corrected, order or (UNCERTAIN_FIRST if len(cases) <= _FEW else ALL))
