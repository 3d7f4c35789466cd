"""The examples in docstrings run, and public functions that need no TensorFlow and no files have one."""

import doctest
import importlib
import inspect

import pytest

from helpers.imports import find_modules
from helpers.paths import ROOT

MODULES = [name for name, file in find_modules(ROOT / "lungnb").items() if ">>> " in file.read_text(encoding="utf-8")]
TAUGHT = (  # modules of which every public function has an example
    *("lungnb.masks", "lungnb.metrics", "lungnb.datasets.sources", "lungnb.evaluation.statistics"),
    "lungnb.segmentation.lungs",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_show(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.attempted and not result.failed


@pytest.mark.parametrize("name", TAUGHT)
def test_every_public_function_has_an_example(name):
    module = importlib.import_module(name)
    for _, function in inspect.getmembers(module, inspect.isfunction):
        if function.__module__ == name and not function.__name__.startswith("_"):
            assert ">>> " in function.__doc__, function.__name__
