"""Which outputs of notebooks are stored."""

import subprocess

import pytest

from baseline import _cleaned, refuse_changed_code


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
