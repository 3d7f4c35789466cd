"""Run every notebook on phantoms in the quick profile and store its outputs: `make baseline`.

With numbers, such as `06 12`, store the outputs of these notebooks only, after running those that they need. lungnb/
must have no uncommitted changes, because outputs name the commit. Store 03, 04 and 05 together, because 04
and 05 compare their networks with those that are trained already.
"""

import base64
import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import numpy as np
import papermill
from PIL import Image, ImageColor

from check_notebooks import NEEDS, ROOT, with_needed
from lungnb.figures.theme import COLORS
from lungnb.report.series import PAPERMILL

NOTEBOOKS = ROOT / "notebooks"
MAX_PICTURE_BYTES = 800_000  # of all pictures of one notebook, as base64
LARGEST_GREY_RANGE = 24  # a pixel whose red, green and blue differ by less is grey
MAX_PLAIN_TEXT = 2_000  # characters; the plain text of an HTML table is not stored if it is longer


def main() -> None:
    """Execute the notebooks in a fresh folder, on the CPU; keep outputs, drop what differs from run to run."""
    refuse_changed_code()
    with tempfile.TemporaryDirectory(prefix="lungnb-") as home:
        os.environ |= {"LUNGNB_HOME": home, "LUNGNB_DATASET": "phantom", "LUNGNB_PROFILE": "quick"}
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        for name in ("LUNGNB_RAW", "LUNGNB_SET", "LUNGNB_SEEDS"):
            os.environ.pop(name, None)
        names = sys.argv[1:] or [*NEEDS]
        for path in (next(NOTEBOOKS.glob(f"{name}_*.ipynb")) for name in with_needed(names)):
            done = Path(home) / path.name
            print(path.name, flush=True)
            papermill.execute_notebook(path, done, cwd=NOTEBOOKS, **PAPERMILL)
            if path.name[:2] in names:
                nbformat.write(_tidied(nbformat.read(done, as_version=4), home), path)


def refuse_changed_code(root: Path = ROOT) -> None:
    """Exit with a sentence if files of lungnb/ differ from the commit that the outputs would name."""
    command = ["git", "-C", str(root), "status", "--porcelain", "--", "lungnb"]
    changed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if changed:
        sys.exit(f"Commit these files first, because stored outputs name the commit:\n{changed.rstrip()}")


def _tidied(notebook: nbformat.NotebookNode, home: str) -> nbformat.NotebookNode:
    """Drop times, papermill's and the kernel's metadata, stderr and folders' names; keep tags."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                # Because a widget ends with its kernel, a reader sees the picture that replaces it.
                output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
                if "text" in output:
                    output.text = _cleaned(output.text, home)
                for kind in [kind for kind in output.get("data", {}) if kind.startswith("text/")]:
                    output.data[kind] = _cleaned(output.data[kind], home)
                if "text/html" in output.get("data", {}) and len(output.data.get("text/plain", "")) > MAX_PLAIN_TEXT:
                    del output.data["text/plain"]
    _shrink_pictures([output for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output])
    return notebook


def _cleaned(text: str, home: str) -> str:
    """Return an output without the folder's name, and without the mark of changes that only notebooks can have."""
    return re.sub(r"(?<=[0-9a-f]{7})-dirty\b", "", text.replace(home, ".."))


def _shrink_pictures(outputs: list[nbformat.NotebookNode]) -> None:
    """Store charts in few colours, and the largest pictures as JPEGs that are small enough for all of them to fit."""
    pictures = []
    for output in (output for output in outputs if "image/png" in output.data):
        data = output.data
        picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB")
        data["image/png"] = min(data["image/png"], _encoded(with_few_colours(picture), "PNG", optimize=True), key=len)
        pictures.append((len(data["image/png"]), output, picture))
    room = MAX_PICTURE_BYTES
    for index, (size, output, picture) in enumerate(sorted(pictures, key=lambda entry: entry[0])):
        data, share = output.data, room // (len(pictures) - index)
        if size > share:
            del data["image/png"]
            output.metadata["image/jpeg"] = output.metadata.pop("image/png", {})  # the alternative text
            scaled = (
                picture.resize((round(picture.width * n / 20), round(picture.height * n / 20)))
                for n in range(20, 1, -1)
            )
            jpegs = (_encoded(smaller, "JPEG", quality=55, optimize=True) for smaller in scaled)
            data["image/jpeg"] = next(text for text in jpegs if len(text) <= share)
        room -= len(data.get("image/png") or data["image/jpeg"])


def with_few_colours(picture: Image.Image) -> Image.Image:
    """Return a picture in white, the colours of charts, and 39 greys and 24 other colours of its own.

    Otherwise, the colours of thin lines and single points would turn into others, because they have few pixels.
    """
    pixels = np.asarray(picture)
    is_grey = np.ptp(pixels, axis=2) < LARGEST_GREY_RANGE
    palette = [value for colour in ("white", *COLORS) for value in ImageColor.getrgb(colour)]
    for part, count in ((pixels[is_grey], 39), (pixels[~is_grey], 24)):
        if len(part):
            palette += Image.fromarray(part[None]).quantize(count).getpalette("RGB")[: 3 * count]
    colours = Image.new("P", (1, 1))
    colours.putpalette(palette)
    places = np.array(picture.quantize(palette=colours, dither=Image.Dither.NONE))
    places[(pixels == 255).all(axis=2)] = 0  # because Pillow takes a colour that is only near the nearest one
    few = Image.fromarray(places, "P")
    few.putpalette(palette)
    return few


def _encoded(picture: Image.Image, form: str, **options: int) -> str:
    encoded = io.BytesIO()
    picture.save(encoded, form, **options)
    return base64.b64encode(encoded.getvalue()).decode()


if __name__ == "__main__":
    main()
