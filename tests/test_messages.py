"""What reaches a terminal, whatever names, errors and readers there are."""

import errno
import json
import os
import subprocess
import sys
import warnings

import pytest

from lungnb import messages
from lungnb.__main__ import main
from lungnb.commands import actions
from lungnb.formats.images import write_png
from lungnb.messages import explain, log_traceback, print_lines, printable, progress_bar
from lungnb.phantoms.make import make_phantom

BAD_NAME = os.fsdecode(b"a\x1b[31m\r\nb\xff\xe2\x80\xae.png")


def run(*arguments, pipe=None, **environment):
    """Run the command line, with its output into a shell's pipe if one is given; return status, output and errors."""
    command = " ".join([f"'{sys.executable}' -m lungnb", *(f"'{part}'" for part in arguments)])
    script = f"{command}{f' | {pipe}' if pipe else ''}; echo status ${{PIPESTATUS[0]}} >&2"
    done = subprocess.run(["bash", "-c", script], capture_output=True, env=os.environ | environment)
    errors, _, status = done.stderr.decode().rpartition("status ")
    return int(status), done.stdout.decode(), errors


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("films/ü 1.png", "films/ü 1.png"),
        ("C:\\films\\x.png", "C:\\films\\x.png"),
        (BAD_NAME, r"a\x1b[31m\r\nb\xff\u202e.png"),
        ("\x00\x7f\x85\u2028\ud800", r"\x00\x7f\x85\u2028\ud800"),
        (3, "3"),
    ],
)
def test_a_name_cannot_steer_the_terminal(text, shown, capsys):
    assert printable(text) == shown and shown.isprintable()
    print_lines(text, text)
    assert capsys.readouterr().out == f"{shown}\n{shown}\n"


def fail(error):
    raise error


def inner():
    try:
        {}["JANE DOE"]
    except KeyError as error:
        raise ValueError("of JANE DOE") from error


def test_a_bar_is_on_standard_output_and_its_title_cannot_steer_the_terminal(capsys):
    assert [*progress_bar("ab", "Scoring \x1b[31m", "film")] == ["a", "b"]
    printed = capsys.readouterr()
    assert r"Scoring \x1b[31m: 100%" in printed.out and "film/s" in printed.out and not printed.err
    assert [*progress_bar("ab", "Scoring", progress=False)] == ["a", "b"] and not capsys.readouterr().out
    assert [*progress_bar("ab", "Scoring", delay_seconds=60)] == ["a", "b"] and not capsys.readouterr().out


def test_the_log_has_kinds_and_places_and_no_messages(tmp_path, monkeypatch):
    for log in ("", str(tmp_path), str(tmp_path / "no" / "log"), "a\0b"):
        monkeypatch.setattr(messages.os, "environ", {"LUNGNB_LOG": log})
        log_traceback(ValueError("x"))  # and nothing happens
    monkeypatch.setattr(messages.os, "environ", {"LUNGNB_LOG": str(tmp_path / "log")})
    for _ in range(2):
        with pytest.raises(ValueError) as raised:
            inner()
        log_traceback(raised.value)
    log = (tmp_path / "log").read_text()
    assert log.count("builtins.KeyError") == log.count("builtins.ValueError") == 2 and "test_messages.py:" in log
    assert "in inner" in log and "JANE" not in log


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (KeyError("JANE DOE"), "unexpected KeyError at actions.py:"),
        (ZeroDivisionError("JANE DOE"), "unexpected ZeroDivisionError at actions.py:"),
        (MemoryError(), "unexpected MemoryError at actions.py:"),
        (ValueError("3 is no 4."), "unexpected ValueError at actions.py:"),
        (ImportError("No module named 'keras'"), "No module named 'keras'"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "x\n.csv"),
            r"x\n.csv: no such file or directory.",
        ),
        (OSError(errno.EIO, "Input/output error", b"\xff.csv"), r"\xff.csv: input/output error."),
    ],
)
def test_any_error_gives_one_sentence(error, says, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(actions, "_settings", lambda options: fail(error))
    assert main(["prepare"]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1 and shown.err.startswith("lungnb: ") and says in shown.err
    assert "Traceback" not in shown.err and "JANE" not in shown.err
    assert "unexpected" not in says or "Set LUNGNB_LOG=FILE" in shown.err
    monkeypatch.setenv("LUNGNB_LOG", str(tmp_path / "log"))
    assert main(["prepare"]) == 2
    assert "actions.py" in (tmp_path / "log").read_text()
    assert "unexpected" not in says or f"Its traceback is in {tmp_path / 'log'}" in capsys.readouterr().err


def test_errors_that_lungnb_raises_say_what_to_do():
    with pytest.raises(ValueError) as raised:
        actions._seeds("x")
    assert explain(raised.value).startswith("--seeds, or LUNGNB_SEEDS, must be")


def test_a_warning_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(actions, "run_recipes", lambda options: warnings.warn(f"{BAD_NAME} is odd.", stacklevel=1))
    before = warnings.showwarning
    assert main(["recipes"]) == 0
    assert capsys.readouterr().err == f"lungnb: {printable(BAD_NAME)} is odd.\n" and warnings.showwarning is before


def test_a_warning_is_printed_once(monkeypatch, capsys):
    def warn_twice(options):
        for _ in range(2):
            with warnings.catch_warnings():  # as pandas does, after which Python forgets what it has shown
                pass
            warnings.warn("It is odd.", stacklevel=1)

    monkeypatch.setattr(actions, "run_recipes", warn_twice)
    assert main(["recipes"]) == 0
    assert capsys.readouterr().err == "lungnb: It is odd.\n"


def test_ctrl_c_while_imports_run(tmp_path):
    (tmp_path / "numpy.py").write_text("raise KeyboardInterrupt")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    for verb in ("recipes", "segment"):
        status, output, errors = run(verb, "x", PYTHONPATH=path)
        assert (status, output) == (130, "")
        assert errors == "\nlungnb: stopped. Run the same command again to continue.\n"


def test_main_itself_imports_next_to_nothing():
    code = "import sys; before = {*sys.modules}; import lungnb.__main__; print(*sorted({*sys.modules} - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    few = {"__future__", "importlib", "lazy_loader", "lungnb", "lungnb.__main__", "openvino_telemetry"}
    assert set(done.stdout.split()) <= few


@pytest.mark.parametrize("arguments", [["recipes"], ["--help"]])
def test_a_reader_that_leaves_early(arguments):
    for pipe in ("head -1", "true"):
        status, output, errors = run(*arguments, pipe=pipe)
        assert (status, errors) == (0, "") and output.count("\n") == (pipe == "head -1")


def test_a_reader_that_leaves_early_costs_no_mask(tmp_path):
    for index in range(3):
        write_png(tmp_path / "films" / f"{index}.png", make_phantom(index, size=64).image)
    status, _, errors = run("segment", tmp_path / "films", "--out", tmp_path / "out", pipe="true")
    assert (status, errors) == (0, "") and len([*(tmp_path / "out").glob("*_mask.png")]) == 3


@pytest.mark.parametrize("streams", [">&-", "2>&-", ">&- 2>&-", "2>&1 | true"])
def test_closed_streams_end_no_work(streams):
    script = f"'{sys.executable}' -m lungnb recipes {streams}; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "0" and done.stderr == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_an_output_that_is_full_is_said():
    script = f"'{sys.executable}' -m lungnb recipes > /dev/full; echo $?"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert done.stdout == "2\n"
    assert done.stderr == "lungnb: standard output: no space left on device; not all was printed.\n"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_names_reach_any_terminal(tmp_path, encoding):
    folder = tmp_path / "肺ü"
    (folder / "images").mkdir(parents=True)
    try:
        (folder / "images" / BAD_NAME).write_bytes(b"")
    except (OSError, ValueError):
        pytest.skip("this file system takes no such name")
    command = [sys.executable, "-m", "lungnb", "segment", folder, "--out", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": encoding})
    errors = done.stderr.decode(encoding)
    assert done.returncode == 1 and "Traceback" not in errors
    (line,) = [line for line in errors.split("\n") if line.startswith("lungnb: ")]
    assert r"a\x1b[31m\r\nb\xff\u202e.png" in line and "\x1b" not in errors


def test_json_of_any_name(tmp_path, capsys):
    for name in (BAD_NAME, "film.png"):
        try:
            (tmp_path / name).touch()
        except (OSError, ValueError):
            pytest.skip("this file system takes no such name")
        write_png(tmp_path / "films" / name, make_phantom(1, size=64).image)
    (tmp_path / "films" / "broken.png").write_bytes(b"")
    assert main(["segment", str(tmp_path / "films"), "--out", str(tmp_path / "out"), "--json"]) == 1
    output = capsys.readouterr().out
    rows = json.loads(output, parse_constant=lambda name: fail(ValueError(name)))  # NaN is no JSON
    assert output.isascii() and {row["file"] for row in rows} == {str(p) for p in (tmp_path / "films").iterdir()}
    (broken,) = [row for row in rows if row["status"] == "failed"]
    assert broken["height"] is None and broken["mask"] is None and [type(row["height"]) for row in rows].count(int) == 2
