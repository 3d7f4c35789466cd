import pytest

from lungnb.__main__ import main

VERBS = ("download", "prepare", "train", "evaluate", "segment", "score", "report", "runs", "publish")


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_an_example(verb, capsys):
    with pytest.raises(SystemExit) as done:
        main([verb, "--help"])
    assert done.value.code == 0
    assert f"  lungnb {verb} " in capsys.readouterr().out.split("examples:")[1]


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
