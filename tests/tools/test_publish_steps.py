"""The steps name commands, files, data sets and notebooks that exist."""

import re
import shlex

import papermill
import pytest

from helpers.paths import ROOT
from lungnb.commands.parser import make_parser
from lungnb.presets import RECIPES, make_settings, parse_changes
from lungnb.settings import DATASETS
from publish_steps import ON_OTHER_MACHINES, STEPS

COMMANDS = [(step, shlex.split(command)) for step in STEPS for command in step.commands]


def test_each_step_has_a_name_of_its_own():
    assert len({step.name for step in STEPS}) == len(STEPS)
    assert all({*step.data} <= {*DATASETS} and step.minutes > 0 for step in STEPS)


def test_every_folder_of_results_and_every_recipe_has_a_step():
    folders = {step.folder for step in STEPS}
    assert {folder.name for folder in (ROOT / "results" / "published").iterdir() if folder.is_dir()} <= (
        folders | ON_OTHER_MACHINES
    )
    assert {*RECIPES} <= folders


def source_of(script):
    """Return the source of a script and of the scripts beside it that it imports, which may define its options."""
    source = script.read_text()
    beside = [script.with_name(f"{name}.py") for name in re.findall(r"^from (\w+) import", source, re.MULTILINE)]
    return "".join([source, *(file.read_text() for file in beside if file.exists())])


@pytest.mark.parametrize(("step", "words"), COMMANDS, ids=lambda value: getattr(value, "name", None))
def test_each_command_can_be_run(step, words, home):
    if words[0] == "lungnb":
        options = make_parser().parse_args(words[1:])
        if words[1] != "download":
            make_settings(options.dataset, options.recipe or options.profile or "quick", **parse_changes(options.set))
        return
    assert words[0] == "python"
    if words[1] == "-c":
        compile(words[2], "", "exec")
        return
    assert (ROOT / words[1]).exists()
    if words[1] == "tools/run_notebook.py":
        known = papermill.inspect_notebook(ROOT / words[2])
        assert {word.partition("=")[0] for word in words[4:]} <= {*known}
    else:
        source = source_of(ROOT / words[1])
        assert all(f'"{word}"' in source for word in words[2:] if word.startswith("--"))


def test_each_step_publishes_something():
    for step in STEPS:
        assert step.files or any("{out}" in command for command in step.commands), step.name


def test_the_curve_of_adapting_and_the_share_of_one_film_are_steps_of_their_own():
    scripts = {step.name: {shlex.split(command)[1] for command in step.commands} for step in STEPS}
    assert scripts["adapt"] == {"benchmarks/adapt.py"} and scripts["adapt-share"] == {"benchmarks/adapt_share.py"}
