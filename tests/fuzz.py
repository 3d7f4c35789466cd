"""Coverage-guided fuzzing of what `lungnb segment` reads, with atheris: `make robust RUNS=1000000`.

The reader is that of the command, guard and all, for every format. A finding is an exception that gets through, a
sentence that does not name the file, a hang, or too much memory. With LUNGNB_FUZZ=files, each input is segmented by
`segment_files` in a folder that also holds a good film, which must get its mask. What is found becomes a case of
test_images.py or test_bad_inputs.py. Needs `pip install atheris` (Linux).
"""

import io
import os
import shutil
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["PIL", "pydicom", "nibabel", "lungnb"]):
    import nibabel
    import numpy as np
    import pydicom
    from PIL import Image

    from lungnb.formats.images import peculiarity, read_mask
    from lungnb.formats.nifti import read_nifti
    from lungnb.phantoms.make import make_phantom
    from lungnb.segmentation.batch import segment_files
    from lungnb.segmentation.listing import InputFile
    from lungnb.segmentation.predict import open_model
    from lungnb.segmentation.steps import read_input

SUFFIXES = (".png", ".jpg", ".bmp", ".tif", ".dcm", ".gif", ".nii", ".nii.gz", "")
# A picture of the usual limit takes seconds; what is sought here is not there.
os.environ["LUNGNB_MAX_GB"] = "0.03"
# In memory where the system has such a folder: a million files are to be written.
FOLDER = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))


def read_one(data):
    """Read bytes as a file of the kind that the first of them says."""
    if not data:
        return
    path = FOLDER / f"a{SUFFIXES[data[0] % len(SUFFIXES)]}"
    path.write_bytes(data[1:])
    readers = [lambda: read_mask(path), lambda: peculiarity(path)]
    if ".nii" in path.name:
        readers = [lambda: read_nifti(path)]
    else:
        result = read_input(InputFile(path, "a"))
        if isinstance(result, dict):  # the row of a file that failed
            assert str(path) in result["error"], result["error"]
        else:
            grey = result.picture.grey
            assert grey.dtype == np.uint8 and grey.ndim == 2 and grey.size
    for read in readers:
        try:
            read()
        except ValueError as error:
            assert str(path) in str(error), error


def segment_one(data):
    """Segment bytes as a file beside a good film."""
    if not data:
        return
    films, out = FOLDER / "films", FOLDER / "out"
    path = films / f"b{SUFFIXES[data[0] % (len(SUFFIXES) - 1)]}"
    path.write_bytes(data[1:])
    try:
        table = segment_files(films, out, NETWORK, progress=False).set_index("file")
        assert table.loc[str(films / "good.png"), "status"] == "ok" and (out / "good_mask.png").exists()
        row = table.loc[str(path)]
        assert row["status"] != "failed" or str(path) in row["error"], row["error"]
    finally:
        path.unlink()
        shutil.rmtree(out)


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
    for form, suffix in (("PNG", ".png"), ("JPEG", ".jpg"), ("BMP", ".bmp"), ("TIFF", ".tif"), ("GIF", ".gif")):
        for mode, array in kinds.items():
            held = io.BytesIO()
            try:
                pages = {"save_all": True, "append_images": [Image.fromarray(array)]} if form in ("TIFF", "GIF") else {}
                Image.fromarray(array).save(held, form, **pages)
            except (OSError, KeyError):
                continue  # a format that knows no such pixels
            write_seed(folder / f"{form}_{mode}".replace(";", ""), suffix, held.getvalue())
    for name in ("ct", "mr", "rgb_color", "jpeg2k"):
        content = pydicom.examples.get_path(name).read_bytes()
        if len(content) < 60_000:
            write_seed(folder / f"DICOM_{name}", ".dcm", content)
    volume = nibabel.Nifti1Image(np.arange(512, dtype=np.int16).reshape(8, 8, 8) - 500, np.eye(4)).to_bytes()
    write_seed(folder / "NIFTI", ".nii", volume)


def write_seed(file, suffix, content):
    file.write_bytes(bytes([SUFFIXES.index(suffix)]) + content)


if __name__ == "__main__":
    corpus = Path(os.environ.get("LUNGNB_CORPUS", FOLDER / "corpus"))
    corpus.mkdir(parents=True, exist_ok=True)
    seeds(corpus)
    target = read_one
    if os.environ.get("LUNGNB_FUZZ") == "files":
        (FOLDER / "films").mkdir()
        Image.fromarray(make_phantom(0, size=64).image).save(FOLDER / "films" / "good.png")
        NETWORK, _ = open_model(None, None, "onnx")
        target = segment_one
    atheris.Setup([*sys.argv, str(corpus)], target)
    atheris.Fuzz()
