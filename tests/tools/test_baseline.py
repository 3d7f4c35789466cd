"""Which outputs of notebooks are stored."""

import subprocess

import numpy as np
import pytest
from nbformat import v4
from PIL import Image

import baseline
from baseline import _cleaned, _encoded, _shrink_pictures, refuse_changed_code, with_few_colours


def test_changed_code_is_refused_and_changed_notebooks_are_not(tmp_path):
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(tmp_path)]
    for folder in ("lungnb", "notebooks"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").touch()
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    (tmp_path / "notebooks" / "file").write_text("changed")
    refuse_changed_code(tmp_path)
    (tmp_path / "lungnb" / "file").write_text("changed")
    with pytest.raises(SystemExit, match="Commit these files first"):
        refuse_changed_code(tmp_path)


def test_stored_outputs_name_neither_the_folder_nor_changed_notebooks():
    assert (
        _cleaned("commit 0123456789ab-dirty in /tmp/home/results", "/tmp/home") == "commit 0123456789ab in ../results"
    )
    assert _cleaned("a quick-and-dirty mask", "/tmp/home") == "a quick-and-dirty mask"


def test_a_thin_line_on_a_film_keeps_its_colour_and_paper_stays_white():
    film = np.repeat(np.random.default_rng(0).integers(0, 256, (300, 300, 1), np.uint8), 3, axis=2)
    film[:20], film[150, 140:160] = 255, (255, 176, 0)  # white paper, and 20 pixels of amber
    stored = np.asarray(with_few_colours(Image.fromarray(film)).convert("RGB")).astype(int)
    assert np.abs(stored[150, 140:160] - (255, 176, 0)).max() <= 8 and (stored[:20] == 255).all()
    assert len(np.unique(stored.reshape(-1, 3), axis=0)) <= 74


def test_a_single_point_of_a_chart_keeps_its_colour_beside_many_of_a_similar_one():
    chart = np.random.default_rng(0).integers((200, 130, 0), (235, 160, 60), (100, 100, 3), dtype=np.uint8)
    chart[:3, :3] = (213, 94, 0)  # vermilion among orange
    stored = np.asarray(with_few_colours(Image.fromarray(chart)).convert("RGB"))
    assert (stored[:3, :3] == (213, 94, 0)).all()


def test_a_picture_keeps_its_alternative_text_as_png_and_as_jpeg(monkeypatch):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))

    def output():
        metadata = {"image/png": {"alt": "noise"}}
        return v4.new_output("display_data", {"image/png": _encoded(noise, "PNG")}, metadata=metadata)

    small, large = output(), output()
    _shrink_pictures([small])
    assert "image/png" in small.data and small.metadata == {"image/png": {"alt": "noise"}}
    monkeypatch.setattr(baseline, "MAX_PICTURE_BYTES", 3_000)
    _shrink_pictures([large])
    assert "image/png" not in large.data and "image/jpeg" in large.data
    assert large.metadata == {"image/jpeg": {"alt": "noise"}}
