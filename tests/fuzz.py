"""Coverage-guided fuzzing of the readers with atheris: `make robust RUNS=1000000`.

Finds what makes a reader raise anything but ValueError, hang, or take too much memory. What it finds becomes a case of
test_images.py or test_bad_inputs.py. Needs `pip install atheris` (Linux).
"""

import io
import os
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["PIL", "pydicom", "lungnb"]):
    import numpy as np
    from PIL import Image

    from lungnb import dicom, images
    from lungnb.images import peculiarity, read_image, read_mask

SUFFIXES = (".png", ".jpg", ".bmp", ".tif", ".dcm")
# A picture of the usual limit, a hundred million pixels, takes seconds; what is sought here is not there.
images.MAX_PIXELS = dicom.MAX_PIXELS = Image.MAX_IMAGE_PIXELS = 1_000_000
# In memory where the system has such a folder: a million files are to be written.
FOLDER = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))


def one_input(data):
    """Read bytes as a file of the kind that the first of them says."""
    if not data:
        return
    path = FOLDER / f"a{SUFFIXES[data[0] % len(SUFFIXES)]}"
    path.write_bytes(data[1:])
    try:
        image = read_image(path)
        assert image.dtype == np.uint8 and image.ndim == 2 and image.size
        peculiarity(path)
        if path.suffix != ".dcm":
            assert read_mask(path).dtype == bool
    except ValueError as error:
        assert str(path) in str(error), error


def seeds(folder):
    """Write a small whole file of each kind, for the fuzzer to begin with."""
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    kinds = {
        "L": grey,
        "1": grey > 30,
        "I;16": grey.astype(np.uint16) * 300,
        "F": grey.astype(np.float32),
        "RGB": np.dstack([grey] * 3),
    }
    for number, form in enumerate(("PNG", "JPEG", "BMP", "TIFF")):
        for mode, array in kinds.items():
            held = io.BytesIO()
            try:
                Image.fromarray(array).save(held, form)
            except (OSError, KeyError):
                continue  # a format that knows no such pixels
            (folder / f"{form}_{mode}".replace(";", "")).write_bytes(bytes([number]) + held.getvalue())
    import pydicom

    for name in ("ct", "mr", "rgb_color", "jpeg2k"):
        content = pydicom.examples.get_path(name).read_bytes()
        if len(content) < 60_000:
            (folder / f"DICOM_{name}").write_bytes(bytes([4]) + content)


if __name__ == "__main__":
    corpus = Path(os.environ.get("LUNGNB_CORPUS", FOLDER / "corpus"))
    corpus.mkdir(parents=True, exist_ok=True)
    seeds(corpus)
    atheris.Setup([*sys.argv, str(corpus)], one_input)
    atheris.Fuzz()
