"""The generators of `make hostile`, a quick part of its cases in this process, and its look at the answers."""

import gzip
import io
import re
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from hostile import SEGMENT, Case, all_cases
from hostile.answers import judge, over_limits
from hostile.archives import Member, archive
from hostile.gif import whole
from hostile.jpeg import jpeg
from hostile.png import KINDS, png
from hostile.streams import gzipped, size_of, zlibbed
from hostile.tiff import picture, tiff
from hostile.worker import Taken
from lungnb.formats.images import write_png
from lungnb.phantoms.make import make_phantom
from lungnb.segmentation.batch import segment_files

TAKEN, PLAIN_CASE = Taken(1, 1, 1), Case("x.png", None)
PARTS = (b"head", 5_000_000, (b"ab", 3_000_000), b"", (b"", 5), b"end")
PLAIN = b"head" + bytes(5_000_000) + b"ab" * 3_000_000 + b"end"


def test_streams_hold_their_parts():
    assert size_of(PARTS) == len(PLAIN)
    assert zlib.decompress(zlibbed(*PARTS)) == PLAIN
    assert gzip.decompress(gzipped(*PARTS)) == PLAIN
    with zipfile.ZipFile(io.BytesIO(archive(Member("a", PARTS), Member("b/c")))) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == ["a", "b/c"]
        assert opened.read("a") == PLAIN


def test_undamaged_files_can_be_read():
    contents = [png(33, 21, depth, colour, interlaced) for colour, depth in KINDS for interlaced in (False, True)]
    for content in (*contents, whole(33, 21), jpeg(33, 21), tiff(picture(33, 21, size=33 * 21), bytes(33 * 21))):
        with Image.open(io.BytesIO(content)) as image:
            assert np.asarray(image).shape[:2] == (21, 33)


def test_names_of_cases_are_those_of_files_and_come_once():
    names = [name for cases in all_cases().values() for name in cases]
    assert len(names) > 1000
    assert len({name.lower() for name in names}) == len(names)
    assert all(re.fullmatch(r"[\w.,=+-]+", name, re.ASCII) for name in names)


@pytest.mark.parametrize("kind", ["good", "png", "jpeg", "bmp", "gif", "tiff", "dicom", "nifti", "mixed", "places"])
def test_small_cases_get_a_mask_or_a_sentence_beside_a_good_film(kind, tmp_path):
    small = [case for name, case in all_cases()[kind].items() if not re.search(r"\d{3}|\d[kMG]|\de\d", name)]
    cases = {}
    for case in small[:: 1 if kind == "good" else 4]:
        path = tmp_path / "in" / case.name / case.file_name
        path.parent.mkdir(parents=True)
        case.make(path)
        if kind == "good" or path.lstat().st_size < 100_000:
            cases[path] = case
    assert len(cases) >= 5
    good = tmp_path / "good.png"
    write_png(good, make_phantom(0, size=256).image)
    table = segment_files([*cases, good], tmp_path / "out", engine="onnx", progress=False)
    rows = table.set_index("file")
    assert rows.loc[str(good), "status"] == "ok"
    for path, case in cases.items():
        if case.answer == "nothing":
            assert str(path) not in rows.index
            continue
        row = rows.loc[str(path)] if str(path) in rows.index else rows.iloc[list(cases).index(path)]
        answer = "sentence" if row["status"] == "failed" else "mask"
        assert case.answer in ("either", answer), (case.name, row["error"])
        assert answer == "mask" or len(row["error"]) > 20


@pytest.fixture
def judged(tmp_path):
    """Call with a table, an output and what a case took: its answer."""
    out, good = tmp_path / "out", tmp_path / "good.png"
    out.mkdir()
    (out / "good_mask.png").write_bytes(b"mask")

    def answer(row, log="", taken=TAKEN, case=PLAIN_CASE):
        head = f"file,status,review,mask,error\n{good},ok,,good_mask.png,\n"
        (out / "segmentation.csv").write_text(head + row, newline="")
        return judge(case, taken, tmp_path / "x.png", out, log, good, b"mask")[0]

    answer.out = out
    return answer


def test_answers_are_judged(judged):
    row = "/a/x.png,failed,,,/a/x.png: cannot be read as an image.\n"
    assert judged(row) == "sentence"
    assert judged("") == "nothing"
    assert judged("/a/x.png,ok,,x_mask.png,\n") == "NO MASK"
    assert judged("/a/x.png,failed,,,bad\n") == "NO SENTENCE"
    assert judged("/a/x.png,failed,,,something else is wrong with it\n") == "UNCLEAR"
    assert judged(row, case=Case("x.png", None, "mask")) == "REFUSED"
    assert judged(row, log="warning: SECRET^PATIENT") == "LEAK"
    assert judged(row, log="\x1b[31m") == "UNSAFE OUTPUT"
    assert judged(row, log="x\nforged.png") == "UNSAFE OUTPUT"
    assert judged(row, log="Traceback (most recent call last):") == "TRACEBACK"
    assert judged("=1+1,failed,,,/a/x.png: cannot be read as an image.\n") == "UNSAFE TABLE"
    assert judged('"/a/x\n.png",failed,,,/a/x.png: cannot be read.\n') == "UNSAFE TABLE"
    assert judged("/a/x.png,failed\n") == "UNSAFE TABLE"
    assert judged(row, taken=Taken(60, 1, None, "HANG")) == "HANG"
    assert judged(row, taken=Taken(1, 1, None, "Traceback ...\nKeyError: 'x'")) == "TRACEBACK"
    (judged.out / "good_mask.png").write_bytes(b"another")
    assert judged(row) == "GOOD FILM LOST"


def test_limits_hold_for_files_up_to_ten_megabytes():
    assert over_limits(Taken(11, 1), 9_999) == "SLOW"
    assert over_limits(Taken(1, 1001), 1) == "LARGE"
    assert over_limits(Taken(9, 999), 1) == ""
    assert over_limits(Taken(11, 1001), 10_001) == ""
    assert SEGMENT[0] == "segment"
