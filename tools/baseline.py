"""Run every notebook on phantoms in the quick profile and store its outputs: `make baseline`.

With the beginnings of names, such as `00 12`, run only these; they must need no earlier notebook.
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
MAX_PICTURE_BYTES = 235_000  # of all pictures of one notebook, as base64
MAX_PLAIN_TEXT = 2_000  # characters; the plain text of an HTML table is not stored if it is longer


def main() -> None:
    """Execute the notebooks in a fresh folder, on the CPU; keep outputs, drop what differs from run to run."""
    with tempfile.TemporaryDirectory(prefix="lungnb-") as home:
        os.environ |= {"LUNGNB_HOME": home, "LUNGNB_DATASET": "phantom", "LUNGNB_PROFILE": "quick"}
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        for name in ("LUNGNB_RAW", "LUNGNB_SET", "LUNGNB_SEEDS"):
            os.environ.pop(name, None)
        beginnings = tuple(sys.argv[1:]) or ("",)
        for path in sorted(path for path in NOTEBOOKS.glob("[0-9][0-9]_*.ipynb") if path.name.startswith(beginnings)):
            done = Path(home) / path.name
            print(path.name, flush=True)
            papermill.execute_notebook(path, done, cwd=NOTEBOOKS, **PAPERMILL)
            nbformat.write(_tidied(nbformat.read(done, as_version=4), home), path)


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
                    output.text = output.text.replace(home, "..")
                if "text/html" in output.get("data", {}) and len(output.data.get("text/plain", "")) > MAX_PLAIN_TEXT:
                    del output.data["text/plain"]
    _shrink_pictures([output.data for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output])
    return notebook


def _shrink_pictures(bundles: list[dict[str, str]]) -> None:
    """Store charts in 64 colours, and the largest pictures as JPEGs that are small enough for all of them to fit."""
    pictures = []
    for data in (data for data in bundles if "image/png" in data):
        picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB")
        data["image/png"] = min(data["image/png"], _encoded(picture.quantize(64), "PNG", optimize=True), key=len)
        pictures.append((len(data["image/png"]), data, picture))
    room = MAX_PICTURE_BYTES
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


def _encoded(picture: Image.Image, form: str, **options: int) -> str:
    encoded = io.BytesIO()
    picture.save(encoded, form, **options)
    return base64.b64encode(encoded.getvalue()).decode()


if __name__ == "__main__":
    main()
