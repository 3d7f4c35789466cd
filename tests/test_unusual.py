"""Unusual files are read correctly, or a sentence says what is wrong."""

import pytest

pytest.importorskip("pydicom")
pytest.importorskip("nibabel")
pytest.importorskip("tifffile")

from unusual import CASES, run


@pytest.mark.parametrize("name", CASES)
def test_unusual_files_are_read_or_explained(name):
    result = run(name)
    assert result.verdict != "wrong", result.said
