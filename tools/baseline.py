"""Run every notebook on phantoms in the quick profile and store its outputs: what `make baseline` does.

With the beginnings of names, such as `00 12`, those alone: for notebooks that need none before them.
"""

import base64
import io
import os
import sys
import tempfile
from pathlib import Path

import nbformat
import papermill
from PIL import Image

from lungnb.report.series import PAPERMILL

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
PICTURES = 235_000  # bytes that the pictures of one notebook may take, as base64
TWIN = 2_000  # characters, above which the plain-text twin of an HTML table is not stored


def main():
    """Execute the notebooks in a fresh folder, on the CPU; keep outputs, drop what differs from run to run."""
    with tempfile.TemporaryDirectory(prefix="lungnb-") as home:
        os.environ |= {"LUNGNB_HOME": home, "LUNGNB_DATASET": "phantom", "LUNGNB_PROFILE": "quick"}
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        for name in ("LUNGNB_RAW", "LUNGNB_SET", "LUNGNB_SEEDS"):
            os.environ.pop(name, None)
        wanted = tuple(sys.argv[1:]) or ("",)
        for path in sorted(path for path in NOTEBOOKS.glob("[0-9][0-9]_*.ipynb") if path.name.startswith(wanted)):
            done = Path(home) / path.name
            print(path.name, flush=True)
            papermill.execute_notebook(path, done, cwd=NOTEBOOKS, **PAPERMILL)
            nbformat.write(_tidied(nbformat.read(done, as_version=4), home), path)


def _tidied(notebook, home):
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
                # A widget is gone with its kernel; what stands for it, a picture, is what a reader then sees.
                output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
                if "text" in output:
                    output.text = output.text.replace(home, "..")
                if "text/html" in output.get("data", {}) and len(output.data.get("text/plain", "")) > TWIN:
                    del output.data["text/plain"]
    _shrink_pictures([output.data for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output])
    return notebook


def _shrink_pictures(bundles):
    """Store charts in 64 colours, and the largest pictures as JPEGs as small as it takes for all of them to fit."""
    pictures = []
    for data in (data for data in bundles if "image/png" in data):
        picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB")
        data["image/png"] = min(data["image/png"], _encoded(picture.quantize(64), "PNG", optimize=True), key=len)
        pictures.append((len(data["image/png"]), data, picture))
    room = PICTURES
    for index, (size, data, picture) in enumerate(sorted(pictures, key=lambda entry: entry[0])):
        share = room // (len(pictures) - index)
        if size > share:
            del data["image/png"]
            scaled = (
                picture.resize((round(picture.width * n / 20), round(picture.height * n / 20)))
                for n in range(20, 1, -1)
            )
            jpegs = (_encoded(smaller, "JPEG", quality=55, optimize=True) for smaller in scaled)
            data["image/jpeg"] = next(text for text in jpegs if len(text) <= share)
        room -= len(data.get("image/png") or data["image/jpeg"])


def _encoded(picture, form, **options):
    held = io.BytesIO()
    picture.save(held, form, **options)
    return base64.b64encode(held.getvalue()).decode()


if __name__ == "__main__":
    sys.exit(main())
