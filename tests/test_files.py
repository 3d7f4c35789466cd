import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from helpers.files import DAMAGED
from lungnb import files
from lungnb.files import (
    NotWritten,
    locked,
    move_aside,
    need,
    read_json,
    remove,
    remove_leftovers,
    remove_made,
    writable,
    write_json,
    written,
)
from lungnb.formats.folders import image_files
from lungnb.formats.images import write_png
from lungnb.networks.training import train
from lungnb.phantoms.make import make_phantom
from lungnb.report.series import run_series
from lungnb.segmentation import cluster
from lungnb.segmentation.batch import segment_files


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_in_folders_that_were_not_there(tmp_path):
    target = tmp_path / "a" / "b" / "table.csv"
    with written(target) as part:
        part.write_text("half")
        assert not target.exists()
        assert part.suffix == ".csv"  # writers look at it
        part.write_text("whole")
    assert target.read_text() == "whole"
    assert names(target.parent) == ["table.csv"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_only_the_earlier_file(tmp_path, error):
    target = tmp_path / "table.csv"
    target.write_text("before")
    with pytest.raises(error), written(target) as part:
        part.write_text("half")
        raise error
    assert target.read_text() == "before"
    assert names(tmp_path) == ["table.csv"]


def test_a_folder_replaces_the_earlier_one(tmp_path):
    target = tmp_path / "tree"
    for name in ("old", "new"):
        with written(target, proof="made.json") as part:
            (part / "deep").mkdir(parents=True)
            (part / "deep" / name).touch()
            (part / "made.json").touch()
    assert names(target / "deep") == ["new"]
    assert names(tmp_path) == ["tree"]


@pytest.mark.parametrize(
    "content", ["mine.txt", ".hidden", "made.json/mine.txt", ".notes.part", ".a.1.partial", "made.jsonl"]
)
def test_a_folder_of_someone_else_is_never_replaced_or_removed(tmp_path, content):
    target = tmp_path / "tree"
    (target / content).parent.mkdir(parents=True)
    (target / content).write_text("mine")
    for proof in (None, "made.json"):
        with pytest.raises(NotWritten, match="tree: holds files that lungnb did not write; move them away"):
            with written(target, proof) as part:
                part.mkdir()
        assert (target / content).read_text() == "mine" and names(tmp_path) == ["tree"]
    with pytest.raises(NotWritten, match="tree: holds files that lungnb did not write"):
        remove_made(target, "made.json")
    assert (target / content).read_text() == "mine"


def test_a_file_in_the_place_of_a_new_folder_is_never_replaced(tmp_path):
    (tmp_path / "tree").write_text("mine")
    with pytest.raises(NotWritten, match="tree: is a file, not a folder; move it away"):
        with written(tmp_path / "tree", "made.json") as part:
            part.mkdir()
    assert (tmp_path / "tree").read_text() == "mine" and names(tmp_path) == ["tree"]


def test_a_link_in_the_place_of_a_folder_is_left_with_what_is_behind_it(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "made.json").touch()
    (tmp_path / "tree").symlink_to("elsewhere")
    with pytest.raises(NotWritten, match="tree: is a link, which lungnb does not replace"):
        with written(tmp_path / "tree", "made.json") as part:
            part.mkdir()
    with pytest.raises(NotWritten, match="tree: is a link"):
        remove_made(tmp_path / "tree", "made.json")
    assert (tmp_path / "tree").is_symlink() and names(tmp_path / "elsewhere") == ["made.json"]


def test_a_folder_that_is_empty_but_for_what_a_killed_run_left_is_replaced(tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / ".plan.4242.part.json").touch()
    with written(tmp_path / "tree") as part:
        part.mkdir()
    assert names(tmp_path / "tree") == []
    remove_made(tmp_path / "tree", "made.json")
    remove_made(tmp_path / "tree", "made.json")  # nor is anything said of one that is not there
    assert names(tmp_path) == []


def test_the_file_that_proves_that_a_folder_may_be_removed_is_removed_last(tmp_path, monkeypatch):
    """Otherwise, an interrupted removal could not be continued."""
    tree = tmp_path / "tree"
    for name in ("a", "made.json", "z"):
        tree.mkdir(exist_ok=True)
        (tree / name).touch()
    gone, unlink = [], Path.unlink
    monkeypatch.setattr(Path, "unlink", lambda path, **rest: (gone.append(path.name), unlink(path, **rest)))
    with monkeypatch.context() as patch:
        patch.setattr(files.shutil, "rmtree", lambda path: gone.extend(names(path)))
        remove_made(tree, "made.json")
    assert sorted(gone[:-1]) == ["a", "z"] and gone[-1] == "made.json"


def test_what_killed_processes_left_is_removed_and_what_others_write_is_not(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for process in (ended.pid, 10**30, os.getpid(), os.getppid()):
        (tmp_path / "deep").mkdir(exist_ok=True)
        (tmp_path / "deep" / f".report.{process}.part.html").touch()
    (tmp_path / f".tree.{ended.pid}.old" / f".a.{ended.pid}.part").mkdir(parents=True)
    (tmp_path / ".notes.part").touch()
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [".notes.part", "deep"]
    assert names(tmp_path / "deep") == [f".report.{os.getppid()}.part.html"]
    remove_leftovers(tmp_path / "nothing")


def test_an_old_folder_that_a_killed_run_set_aside_is_removed(tmp_path):
    (tmp_path / ".tree.4242.old").mkdir()
    (tmp_path / ".tree.4242.old" / "a").touch()
    (tmp_path / ".trees.4242.old").mkdir()
    with locked(tmp_path / "tree"):
        assert [name for name in names(tmp_path) if "old" in name] == [".trees.4242.old"]


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "\udcff", "[" * 100_000, '{"a": NaN'])
def test_an_invalid_json_file_is_read_as_empty(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text.encode(errors="surrogateescape"))
    assert read_json(tmp_path / "a.json") == read_json(tmp_path / "b.json") == {}


def test_an_interrupted_folder_leaves_the_earlier_one(tmp_path):
    (tmp_path / "tree").mkdir()
    with pytest.raises(KeyboardInterrupt), written(tmp_path / "tree") as part:
        part.mkdir()
        (part / "half").touch()
        raise KeyboardInterrupt
    assert names(tmp_path) == ["tree"]
    assert names(tmp_path / "tree") == []


def test_remains_of_an_earlier_process_do_not_get_in(tmp_path):
    target = tmp_path / "tree"
    with written(target) as part:
        part.mkdir()
    part.mkdir()  # as a killed process of the same number would have left it
    (part / "stale").touch()
    with written(target) as part:
        part.mkdir()
    assert names(target) == []


def test_remove_takes_files_folders_and_nothing(tmp_path):
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    for name in ("folder", "file", "link", "nothing"):
        remove(tmp_path / name)
    assert names(tmp_path) == ["kept"]


def test_folders_that_are_set_aside_are_numbered_and_whole(tmp_path):
    for name in ("first", "second"):
        (tmp_path / "run" / name).mkdir(parents=True)
        place = move_aside(tmp_path / "run", tmp_path / "earlier")
        assert names(place) == [name] and not (tmp_path / "run").exists()
    assert names(tmp_path / "earlier") == ["run-1", "run-2"]


def test_json_is_readable_by_people_and_takes_paths(tmp_path):
    write_json(tmp_path / "a.json", {"number": 1, "path": tmp_path})
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == {"number": 1, "path": str(tmp_path)}
    assert text.splitlines()[1] == '  "number": 1,'


def test_need_names_the_step_that_is_missing(tmp_path):
    assert need(tmp_path, "run notebook 01") == tmp_path
    with pytest.raises(FileNotFoundError, match=r"gone is not there yet: run notebook 01 first\."):
        need(tmp_path / "gone", "run notebook 01")


def test_one_run_at_a_time(tmp_path):
    target = tmp_path / "prepared" / "scans"
    with locked(target):
        with (
            pytest.raises(RuntimeError, match=r"scans: another run is at work there; wait .* LUNGNB_HOME"),
            locked(target),
        ):
            pass
        with locked(target.with_name("others")):
            pass
    with locked(target):
        pass


def test_a_run_that_was_killed_holds_nothing_and_what_it_left_is_removed(tmp_path):
    target = tmp_path / "scans"
    code = (
        "import os, signal, sys; from pathlib import Path; from lungnb.files import NotWritten, locked, written\n"
        "with locked(Path(sys.argv[1])), written(sys.argv[1]) as part:\n"
        "    part.mkdir(); (part / 'half').touch(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(target)]).returncode == -signal.SIGKILL
    assert len([name for name in names(tmp_path) if ".part" in name]) == 1 and not target.exists()
    with locked(target):
        assert not [name for name in names(tmp_path) if ".part" in name]


def test_what_another_place_s_run_is_writing_is_left_alone(tmp_path):
    other, file = tmp_path / ".scans.simple-unet.4242.part.fold1of5", tmp_path / ".scans.4242.part.csv"
    other.mkdir()
    file.touch()
    with locked(tmp_path / "scans.fold1of5"), locked(tmp_path / "scans"):
        assert other.exists() and file.exists()


def test_what_another_user_s_process_is_writing_is_left_alone(tmp_path, monkeypatch):
    def refuse(process, signal):
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    (tmp_path / ".report.4242.part.html").touch()
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [".report.4242.part.html"]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full; make room"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "the disk is full; make room"),
        (
            RuntimeError("HDF5: unable to write (errno = 28, error message = 'No space left on device')"),
            "the disk is full",
        ),
    ],
)
def test_a_full_disk_is_said(tmp_path, error, says):
    with pytest.raises(OSError, match=rf"a\.csv: cannot be written: {says}"), written(tmp_path / "a.csv") as part:
        part.touch()
        raise error
    assert names(tmp_path) == []


def test_a_disk_that_is_really_full(tmp_path):
    """A limit of 4 KB for the files of the process stands in for a full disk."""
    code = (
        "import resource, sys; from lungnb.files import written\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "with written(sys.argv[1]) as part: part.write_bytes(bytes(9000))"
    )
    found = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.bin")], capture_output=True, text=True)
    assert found.returncode == 1 and "a.bin: cannot be written: the disk is full" in found.stderr
    assert names(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="this system knows no other way to close a folder")
@pytest.mark.parametrize("work", [lambda path: written(path), lambda path: locked(path)])
def test_a_closed_folder_is_said(tmp_path, work):
    closed, who = tmp_path / "closed", os.geteuid()
    closed.mkdir(mode=0o555)
    if who == 0:
        os.seteuid(65534)  # to root, nothing is closed
    try:
        with pytest.raises(NotWritten, match=r"a\.csv: cannot be written: permission denied; name another place"):
            with work(closed / "a.csv") as part:
                part.touch()
    finally:
        os.seteuid(who)


def test_a_file_in_the_place_of_a_folder_is_said(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(OSError, match="out: is a file, not a folder; move it away"):
        with written(tmp_path / "out" / "mask.png"):
            pass
    with pytest.raises(FileNotFoundError, match="other"), written(tmp_path / "b.txt"):
        open(tmp_path / "other")  # what has nothing to do with the place stays what it is
    with pytest.raises(PermissionError), written(tmp_path / "b.txt"):
        raise PermissionError(errno.EACCES, "Permission denied", "elsewhere/film.png")


@pytest.mark.parametrize("closed", [".", "a", "a/b", "a/b/.c.csv.lock"])
def test_a_closed_folder_is_said_wherever_it_is_above_the_file(tmp_path, monkeypatch, closed):
    monkeypatch.chdir(tmp_path)
    for path, place in ((Path("a/b/c.csv"), tmp_path / closed), (tmp_path / "a" / "b" / "c.csv", Path(closed))):
        with pytest.raises(NotWritten, match=r"c\.csv: cannot be written: permission denied; name another"):
            with writable(path):
                raise PermissionError(errno.EACCES, "Permission denied", str(place))


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch, recwarn):
    scandir = os.scandir

    def closed(path):
        if Path(path).name in ("closed", ".Trash"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    for name in ("open/closed", "open/.Trash"):
        write_png(tmp_path / name / "a.png", make_phantom(1, size=64).image)
    with pytest.raises(PermissionError, match=r"closed: cannot be read: permission denied\. Check its permissions"):
        image_files(tmp_path / "open" / "closed")
    image_files(tmp_path / "open")
    (warning,) = recwarn
    assert str(warning.message).endswith("closed: cannot be read: permission denied. Its files are left out.")


def test_a_full_disk_is_said_once_and_by_the_file_s_name(tmp_path):
    inner = re.escape(str(tmp_path / "a.csv"))
    with pytest.raises(NotWritten, match=f"^{inner}: cannot be written: the disk is full"), writable(tmp_path / "b"):
        with written(tmp_path / "a.csv"):
            raise OSError(errno.ENOSPC, "No space left on device")
    inner = re.escape(str(tmp_path / "tree" / "a.csv"))
    with pytest.raises(NotWritten, match=f"^{inner}: cannot"), written(tmp_path / "tree") as tree:
        with written(tree / "a.csv"):
            raise OSError(errno.ENOSPC, "No space left on device")
    with (
        pytest.raises(NotWritten, match=r"search\.db: cannot be written: the disk is full"),
        writable(Path("search.db")),
    ):
        raise ZeroDivisionError("(sqlite3.OperationalError) database or disk is full")


def test_a_journal_on_a_full_disk_is_named(tmp_path, monkeypatch):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(errno.ENOSPC, "No space left on device")  # as the system says it of a write, without a name

    usual = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, mode="r", **more: Full() if mode == "a" else usual(path, mode, **more)
    )
    write_png(tmp_path / "film.png", make_phantom(1, size=64).image)
    with pytest.raises(NotWritten, match=r"segmentation\.jsonl: cannot be written: the disk is full"):
        segment_files(tmp_path / "film.png", tmp_path / "out", progress=False)


def test_a_notebook_on_a_full_disk_is_named(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("papermill.execute_notebook", fail)
    with pytest.raises(NotWritten, match=r"notebooks.00_start\.ipynb: cannot be written: the disk is full"):
        run_series("phantom")


def test_training_and_the_table_of_a_cluster_remove_no_folder_of_someone_else(prepared, home, monkeypatch):
    monkeypatch.setattr(cluster, "_ray", lambda *_: nullcontext())  # which is not needed to refuse
    work = {
        home / "model" / "training": lambda: train(prepared, "unet", progress=False, folder=home / "model"),
        home / "out" / "segmentation.parquet": lambda: cluster.segment_on_cluster(home, home / "out", "local"),
    }
    for folder, begin in work.items():
        folder.mkdir(parents=True)
        (folder / "mine.txt").write_text("mine")
        with pytest.raises(NotWritten, match=f"{folder}: holds files that lungnb did not write"):
            begin()
        assert (folder / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_json_is_read_as_empty(tmp_path, name):
    (tmp_path / "x.json").write_bytes(DAMAGED[name])
    assert read_json(tmp_path / "x.json") == {}


def test_a_path_that_is_not_a_file_is_read_as_empty(tmp_path):
    assert read_json(tmp_path / "none.json") == read_json(tmp_path) == {}
    (tmp_path / "large.json").write_text('{"a": 1}' + " " * 10_000_000)
    assert read_json(tmp_path / "large.json") == {}
