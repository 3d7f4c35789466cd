import pytest

from lungnb.__main__ import main

VERBS = ("download", "prepare", "train", "evaluate", "segment", "score", "report", "runs", "publish")


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_an_example(verb, capsys):
    with pytest.raises(SystemExit) as done:
        main([verb, "--help"])
    assert done.value.code == 0
    assert f"  lungnb {verb} " in capsys.readouterr().out.split("examples:")[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["segment", "films", "--out", ""], ["segment", "", "--out", "m"], ["adapt", "films", "--out", " "],
        ["segment", "films", "--out", "m", "--model", ""], ["export", ""], ["export", "--out", ""], ["page", ""],
        ["score", "", "m"], ["score", "t", ""], ["score", "t", "m", "--patients", ""], ["score", "t", "m", "--out", ""],
        ["score", "t", "m", "--patient-pattern", ""], ["notebooks", ""], ["publish", "--out", ""], ["runs", "--set="],
    ],
)  # fmt: skip
def test_an_empty_argument_is_refused_because_it_would_mean_something_else(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as done:
        main(arguments)
    assert done.value.code == 2 and ": its value is empty; give one\n" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


def test_a_decimal_comma_is_explained(capsys):
    with pytest.raises(SystemExit):
        main(["score", "truth", "masks", "--pixel-mm", "0,5"])
    assert "argument --pixel-mm: must be a number, such as 0.5, not '0,5'" in capsys.readouterr().err


def test_help_names_products_as_they_are_written(capsys):
    for arguments in (["export", "--help"], ["--help"]):
        with pytest.raises(SystemExit):
            main(arguments)
        shown = " ".join(capsys.readouterr().out.split())
        assert "xport a model for ONNX Runtime or OpenVINO, and check it" in shown


def test_an_unknown_option_does_not_steer_the_terminal(capsys):
    with pytest.raises(SystemExit) as done:
        main(["segment", "films", "--out", "masks", "--\x1b[31mred"])
    error = capsys.readouterr().err
    assert done.value.code == 2 and "red" in error and "\x1b" not in error
