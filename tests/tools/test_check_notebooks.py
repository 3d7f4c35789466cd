"""The order in which `make test` runs the notebooks."""

import threading

import check_notebooks
from helpers.paths import ROOT


def test_every_notebook_has_its_place():
    assert sorted(check_notebooks.NEEDS) == sorted(path.name[:2] for path in (ROOT / "notebooks").glob("*.ipynb"))


def test_what_a_notebook_needs_is_run_too():
    assert check_notebooks.with_needed(["07"]) == ["01", "02", "03", "04", "05", "07"]
    assert check_notebooks.with_needed(["00", "11"]) == ["00", "11"]


def test_each_starts_after_those_that_it_needs():
    passed, lock = [], threading.Lock()

    def check(name):
        with lock:
            assert {*check_notebooks.NEEDS[name]} <= {*passed}
            passed.append(name)
        return True

    assert check_notebooks.check_in_order(sorted(check_notebooks.NEEDS), check)
    assert sorted(passed) == sorted(check_notebooks.NEEDS)


def test_none_starts_after_one_has_failed():
    begun = []
    assert not check_notebooks.check_in_order(["01", "02", "03"], lambda name: begun.append(name) or name != "02")
    assert begun == ["01", "02"]
