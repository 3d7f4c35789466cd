"""Which rows of a journal are read, and which outputs are up to date."""

import json

import pytest

from helpers.files import make_pipe
from lungnb import __version__
from lungnb.formats.opening import Refused
from lungnb.segmentation import journal
from lungnb.segmentation.journal import is_up_to_date, read_journal, result_plan, stamp_of
from lungnb.segmentation.listing import JOURNAL, Options

ROW = {
    "key": "/films/a.png", "file": "films/a.png", "stem": "a", "stamp": "1f", "plan": "2e", "network": "shipped",
    "status": "ok", "mask": "a_mask.png", "review": "", "note": None, "height": 10, "right_px": 0, "lung": 1,
    "right_mm2": 2.5,
}  # fmt: skip
VOLUME = ROW | {"mask": "a_mask.nii.gz"}
FAILED = ROW | {"status": "failed", "mask": None, "error": "cannot be read"}


def read(folder, *lines):
    """Write lines, or rows, into a journal, and return the rows that are read."""
    text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    (folder / JOURNAL).write_text(text, encoding="latin-1")
    return [*read_journal(folder).values()]


@pytest.mark.parametrize("row", [ROW, VOLUME, FAILED, ROW | {"status": "no lung found"}])
def test_rows_of_lungnb_are_read_and_written_again(tmp_path, row):
    assert read_journal(tmp_path) == {}
    assert read(tmp_path, {**row, "height": 5}, row) == [row]  # the last one of a file
    assert [*map(json.loads, (tmp_path / JOURNAL).read_text().splitlines())] == [row]


@pytest.mark.parametrize(
    "changes",
    [
        *({name: 7} for name in ("key", "file", "stem", "stamp", "plan", "network", "review", "note", "error", "mask")),
        *({name: None} for name in ("key", "file", "stem", "stamp", "plan", "network", "status")),
        {"status": "done"},
        {"status": "failed", "mask": 7},
        *({"stem": stem, "mask": f"{stem}_mask.png"} for stem in ("", ".", "..", "../a", "/a", "in/a", "a\0")),
        *({"status": "failed", "stem": stem} for stem in ("", ".", "..", "/a", "a\0")),
        *({"mask": mask} for mask in ("", None, "../a_mask.png", "b_mask.png", "a.png")),
        *({"height": number} for number in (-1, 2.0, True, "10", [10], 2**53)),
        *({"lung": number} for number in (True, "1", [1], float("nan"), float("inf"), 2**53, -1e30)),
    ],
    ids=str,
)
def test_rows_that_lungnb_cannot_have_written_are_left_out(tmp_path, changes):
    assert read(tmp_path, ROW | changes) == []


@pytest.mark.parametrize("line", ["{", "[]", "null", '"key"', "7", '{"key": 1}', "[" * 100_000, "\xff\xfe", ""])
def test_other_lines_are_left_out(tmp_path, line):
    assert read(tmp_path, line, ROW) == [ROW]


def test_of_two_files_with_one_stem_the_first_is_kept(tmp_path):
    other = ROW | {"key": "/films/A.png", "stem": "A", "mask": "A_mask.png"}
    assert read(tmp_path, ROW, other) == [ROW]


def test_a_journal_that_is_not_a_file_is_not_read(tmp_path):
    make_pipe(tmp_path / JOURNAL)
    assert read_journal(tmp_path) == {}


def test_a_journal_that_is_too_large_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("LUNGNB_MAX_GB", "0.001")
    with pytest.raises(Refused, match=r"segmentation\.jsonl: so long a list of what is done would need"):
        read(tmp_path, "x" * 250_001)
    assert read(tmp_path, "x" * 249_000) == []


@pytest.fixture
def done(tmp_path):
    """Call with a row: the row of a film that is there, whose mask is there, as its outputs have just been written."""
    film = tmp_path / "film.png"
    film.write_bytes(b"film")
    for mask in ("a_mask.png", "a_mask.nii.gz"):
        (tmp_path / mask).touch()
    return lambda row: row | {"key": str(film), "file": "elsewhere.png", "stamp": stamp_of(film)}


def test_outputs_are_up_to_date_if_the_file_is_the_same_and_all_are_there(tmp_path, done):
    row = done(ROW)
    assert is_up_to_date(row, tmp_path, Options())
    assert not is_up_to_date(None, tmp_path, Options())
    assert not is_up_to_date(row | {"status": "failed"}, tmp_path, Options())
    assert not is_up_to_date(row | {"stamp": ""}, tmp_path, Options())
    gone = str(tmp_path / "gone.png")
    assert not is_up_to_date(row | {"stamp": "", "key": gone}, tmp_path, Options())
    (tmp_path / "film.png").write_bytes(b"FILM")
    assert not is_up_to_date(row, tmp_path, Options())
    row = done(ROW)
    (tmp_path / "a_mask.png").unlink()
    assert not is_up_to_date(row, tmp_path, Options())


@pytest.mark.parametrize(
    ("option", "ending", "of_volumes"),
    [("overlays", "overlay.png", True), ("cutouts", "cutout.png", False), ("probabilities", "probability.png", False),
     ("dicom_segs", "seg.dcm", True)],
)  # fmt: skip
def test_every_output_that_is_asked_for_must_be_there(tmp_path, done, option, ending, of_volumes):
    options = Options(**{option: True})
    assert not is_up_to_date(done(ROW), tmp_path, options)
    assert is_up_to_date(done(VOLUME), tmp_path, options) == (not of_volumes)
    (tmp_path / f"a_{ending}").touch()
    assert is_up_to_date(done(ROW), tmp_path, options) and is_up_to_date(done(VOLUME), tmp_path, options)


def test_the_stamp_is_that_of_names_and_contents(tmp_path, monkeypatch):
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).write_bytes(content)
    assert len({stamp_of(tmp_path / name) for name in "abc"}) == 3 and stamp_of(tmp_path / "a")
    (tmp_path / "empty").touch()
    assert stamp_of(tmp_path / "gone") == stamp_of(tmp_path / "empty") == ""

    def fail(path):
        raise PermissionError(13, "not yours")

    monkeypatch.setattr(journal, "open_file", fail)
    assert stamp_of(tmp_path / "a") == ""


def test_the_stamp_of_a_series_is_that_of_its_files(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "dicom_files", lambda folder: sorted(folder.glob("*.dcm")))
    for name in ("1.dcm", "2.dcm", "notes.txt"):
        (tmp_path / name).write_text(name)
    stamp = stamp_of(tmp_path)
    (tmp_path / "notes.txt").write_text("other")
    assert stamp_of(tmp_path) == stamp != ""
    (tmp_path / "2.dcm").write_text("other")
    assert stamp_of(tmp_path) != stamp


def test_results_depend_on_the_network_the_window_and_the_options(tmp_path):
    for name, content in (("a.keras", b"1"), ("b.keras", b"2")):
        (tmp_path / name).write_bytes(content)
    cases = [
        (tmp_path / "a.keras", None, Options()),
        (tmp_path / "b.keras", None, Options()),
        (tmp_path / "a.keras", (-600.0, 1500.0), Options()),
        (tmp_path / "a.keras", None, Options(upright=True)),
    ]
    plans = [json.dumps(result_plan(*case)) for case in cases]
    assert result_plan(*cases[0])["lungnb"] == __version__
    assert len({*plans}) == 4 and json.dumps(result_plan(*cases[0])) == plans[0]
    assert result_plan(object(), None, Options()) != result_plan(object(), None, Options())  # networks in memory
