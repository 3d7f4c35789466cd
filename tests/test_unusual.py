"""Unusual files are read correctly, or a sentence says what is wrong."""

import pytest

pytest.importorskip("pydicom")
pytest.importorskip("nibabel")
pytest.importorskip("tifffile")

from unusual import CASES, load_all, run

KINDS = load_all()


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_unusual_files_are_read_or_explained(name):
    result = run(name)
    assert result.verdict != "wrong", result.said


def test_each_module_has_cases():
    assert {case.__module__ for case in CASES.values()} >= {kind.__name__ for kind in KINDS}
    assert len(CASES) > 1000
