"""Folders, settings and records of earlier runs that no command may trust."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from hostile import Case
from hostile.nifti import header
from hostile.places import NAMES, link, pipe
from hostile.png import png
from hostile.streams import GB, gzipped
from hostile.tiff import picture, tiff
from lungnb.formats.images import write_png

INTO = ("segment", "{good}", "--out", "{path}", "--engine", "onnx")  # whose outputs are what is hostile
ROW = {  # what a forged row of the journal says
    "outside": {"stem": "../../escaped", "mask": "../../escaped_mask.png"},
    "absolute": {"stem": "{sandbox}/escaped", "mask": "{sandbox}/escaped_mask.png"},
    "mask_outside": {"mask": "../../good.png"},
    "mask_number": {"mask": 7},
    "mask_none": {"mask": None},
    "mask_empty": {"mask": ""},
    "mask_missing": {"mask": "nothing.png"},
    "stem_number": {"stem": 7},
    "stem_none": {"stem": None},
    "stem_list": {"stem": ["x"]},
    "stem_zero": {"stem": "a\0b"},
    "stem_newline": {"stem": "a\nforged", "mask": "a\nforged_mask.png"},
    "stem_long": {"stem": "x" * 5000, "mask": "x" * 5000},
    "status_number": {"status": 5},
    "status_list": {"status": []},
    "plan_none": {"plan": None},
    "stamp_number": {"stamp": 1e308},
    "key_number": {"key": 5},
    "key_list": {"key": ["x"]},
    "file_formula": {"file": "=1+1", "review": "=HYPERLINK(1)"},
    "counts_text": {"height": "x", "width": [], "right_px": {}, "left_px": 1e400},
    "counts_negative": {"height": -1, "right_px": -5},
    "more": {"x": "y" * 10**6},
}
LINES = {  # what else a journal can hold
    "list": b"[]\n", "number": b"5\n", "text": b'"x"\n', "null": b"null\n", "nested": b"[" * 200_000 + b"\n",
    "nested_row": b'{"key":' * 100_000 + b"\n",
    "digits": b'{"key": ' + b"1" * 100_000 + b"}\n", "not_utf8": b"\xff\xfe\n", "zeros": bytes(9_000_000),
    "line_9MB": b"x" * 9_000_000,
    "lines_3M": b"{}\n" * 3_000_000, "cut": b'{"key": "a', "keys_only": b'{"key": "a"}\n' * 1000,
    "surrogate": b'{"key": "\\ud800"}\n',
}  # fmt: skip
SETTINGS = (
    "split_fractions=nan,nan,nan", "split_fractions=inf,-inf,1", "split_fractions=0.7,0.3",
    "volume_slices=100000000000000000000", "volume_slices=0",
    "volume_slices=-1", "spacing=-1", "spacing=nan", "spacing=inf", "spacing=1e-300", "image_size=1000000000",
    "image_size=0", "image_size=-32",
    "window=nan,nan", "window=5,5", "window=1,0", "window=inf,-inf", "folds=1000000000", "folds=-1", "fold=0",
    "seed=-1", "seed=1000000000000000000000000",
    "epochs=0", "batch_size=0", "learning_rate=nan", "learning_rate=inf", "depth=1000000000000", "filters=-1",
    "patient_pattern=(", "patient_pattern=x",
    "patient_file=/dev/null", "patient_file={path}", "split_file=/dev/zero", "split_file=../../x", "models=x",
    "encoder=../x", "no_such=1", "epochs",
    "=1", "rotation=nan", "zoom=-5", "contrast=inf", "train_images=-1", "repeats=-5", "name=x", "weights=/dev/zero",
    "dataset=", "profile=x",
)  # fmt: skip


def journal(path: Path, lines: Callable[[dict], bytes]) -> None:
    """Make a folder of masks with a journal, from the row that another run wrote for the good film."""
    sandbox = path.parents[2]
    genuine = sandbox / "first_onnx" / ".segmentation.jsonl"
    row = json.loads(genuine.read_text(encoding="utf-8").splitlines()[-1])
    path.mkdir()
    (path / genuine.name).write_bytes(lines(row).replace(b"{sandbox}", str(sandbox).encode()))


def as_line(row: dict) -> bytes:
    """Return a row as a line of a journal."""
    return json.dumps(row).encode() + b"\n"


def data_set(path: Path, more: Callable[[Path], object] | None = None, suffix: str = ".png") -> None:
    """Make a data set of twelve images with masks, and one that `more` makes, with a mask."""
    for number in range(12):
        shades = np.full((64, 64), 200, np.uint8)
        shades[20:40, 8 + number : 30] = shades[20:40, 34:50] = 30 + number
        write_png(path / "images" / f"x{number}.png", shades)
        write_png(path / "masks" / f"x{number}.png", shades < 100)
    if more:
        more(path / "images" / f"hostile{suffix}")
        write_png(path / "masks" / "hostile.png", shades < 100)


def outputs() -> Iterator[Case]:
    """Yield folders of masks that hold forged or damaged records."""
    for name, changes in ROW.items():
        yield Case(f"journal_row_{name}", partial(journal, lines=lambda row, c=changes: as_line(row | c)), "nothing")
    for field in ("key", "plan", "file", "stem", "stamp", "status", "mask"):
        without = lambda row, field=field: as_line({name: value for name, value in row.items() if name != field})  # noqa: E731
        yield Case(f"journal_without_{field}", partial(journal, lines=without), "nothing")
    for name, lines in LINES.items():
        yield Case(f"journal_{name}", partial(journal, lines=lambda row, lines=lines: lines + as_line(row)), "nothing")
    record = ".segmentation.jsonl"
    places = {
        "pipe": lambda path: (path.mkdir(), pipe(path / record)),
        "folder": lambda path: (path / record).mkdir(parents=True),
        "link_zero": lambda path: (path.mkdir(), link(path / record, "/dev/zero")),
        "link_full": lambda path: (path.mkdir(), link(path / record, "/dev/full")),
        "table_folder": lambda path: (path / "segmentation.csv").mkdir(parents=True),
        "table_pipe": lambda path: (path.mkdir(), pipe(path / "segmentation.csv")),
        "is_file": lambda path: path.write_bytes(b"x"),
        "is_pipe": pipe,
        "is_link_self": lambda path: link(path, path.name),
        "is_link_proc": lambda path: link(path, "/proc"),
    }
    for name, make in places.items():
        yield Case(f"out_{name}", make, file="out")


def cases() -> Iterator[Case]:
    """Yield the cases."""
    yield from (case._replace(command=INTO) for case in outputs())
    folders = {
        "root": "/", "back_to_root": "{path}/" + "../" * 20, "above": "..", "here": ".", "home": "{home}",
        "data": "{home}/data",
        "prepared": "{home}/data/prepared", "results": "{home}/results", "empty": "", "spaces": "  ", "dots": "...",
        "devices": "/dev/", "missing": "{path}/x",
    }  # fmt: skip
    for name, folder in folders.items():
        yield Case(f"prepare_{name}", data_set, "sentence", command=("prepare", folder))
    for number, change in enumerate(SETTINGS):
        name = "".join(character for character in change if character.isalnum() or character in "=,.-")
        yield Case(f"set_{number}_{name[:30]}", data_set, command=("prepare", "{path}/", "--set", change))
    for name, arguments in {
        "empty": ("",),
        "space": (" ",),
        "none": ("nothing.png",),
        "pattern": ("{path}/**/*",),
        "proc": ("/proc/self/fd",),
        "dev": ("/dev",),
    }.items():
        yield Case(f"segment_{name}", data_set, command=("segment", *arguments, "--out", "{out}", "--engine", "onnx"))
    hostile = {
        "thin.png": partial(_write, content=partial(png, 1_000_000, 1)),
        "second.tif": partial(_write, content=partial(tiff, picture(), after=b"\1")),
        "pipe.png": pipe, "pipe.tif": pipe, "zero.dcm": partial(link, to="/dev/zero"),
        "large.nii.gz": partial(_write, content=lambda: gzipped(header((2000, 2000, 100), np.uint8), 401 * 10**6)),
        "extension.nii.gz": partial(_write, content=lambda: gzipped(header(vox_offset=2 * GB) + b"\1\0\0\0", 2 * GB)),
    }  # fmt: skip
    for verb in ("prepare", "check"):
        for name, make in hostile.items():
            yield Case(
                f"{verb}_with_{name}",
                partial(data_set, more=make, suffix="." + name.partition(".")[2]),
                command=(verb, "{path}/"),
            )
        for name, file in NAMES.items():
            renamed = lambda path, file=file: path.with_name(file).write_bytes(png(64, 64))  # noqa: E731
            yield Case(f"{verb}_with_name_{name}", partial(data_set, more=renamed), command=(verb, "{path}/"))


def _write(path: Path, content: Callable[[], bytes]) -> None:
    path.write_bytes(content())
