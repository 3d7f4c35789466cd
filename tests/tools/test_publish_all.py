"""All published results by one command: what is repeated, what continues, what is skipped, and what is said."""

import json
import shutil
import subprocess
import sys
import time

import pandas as pd
import pytest

import publish_all
from helpers.paths import ROOT
from lungnb.artefacts import raw_root
from lungnb.files import locked
from publish_steps import Step

WRITE = """python -c "import pathlib; pathlib.Path('{out}/table.csv').write_text('a')" """
COUNT = """python -c "open('{home}/count', 'a').write('x')" """
FAIL = """python -c "import sys; sys.exit('broken')" """


@pytest.fixture
def steps(tmp_path, monkeypatch):
    """Call with steps, which then replace all steps."""
    monkeypatch.setattr(publish_all, "WORK", tmp_path / "work")
    monkeypatch.setattr(publish_all, "PUBLISHED", tmp_path / "published")
    monkeypatch.setenv("LUNGNB_RAW", str(tmp_path / "raw"))
    return lambda *those: monkeypatch.setattr(publish_all, "STEPS", those)


@pytest.fixture
def digest(monkeypatch):
    """The digest of the shipped weights, which every step uses, in a list, so that a test can change it."""
    digest = ["first"]
    monkeypatch.setattr(publish_all, "code_digests", lambda: {"weights/phantom.keras": digest[0]})
    return digest


def step(name, *commands, data=(), files=(), packages=(), folder="tables"):
    return Step(name, folder, 30, "", data, commands, files, packages)


def counted():
    """Return how often a step named `one` ran its command."""
    return len((publish_all.WORK / "one" / "count").read_text())


def test_a_finished_step_is_repeated_only_if_its_code_or_its_commands_changed(steps, digest, capsys):
    steps(step("one", COUNT, WRITE))
    assert publish_all.main([]) == 0
    assert (publish_all.PUBLISHED / "tables" / "table.csv").read_text() == "a"
    record = json.loads((publish_all.PUBLISHED / "tables" / "step_one.json").read_text())
    assert record["code"] == {"lungnb/weights/phantom.keras": "first"} and len(record["code_digest"]) == 64
    assert record["commands"] == [COUNT, WRITE] and record["seconds"] >= 0
    assert record["git_commit"] and record["machine"]["cores"] >= 1
    assert record["files"] == ["step_one.json", "table.csv"]
    assert publish_all.main([]) == 0 and counted() == 1
    assert "done" in capsys.readouterr().out
    (publish_all.WORK / "one" / "mark").touch()
    digest[0] = "second"
    assert publish_all.main(["--list"]) == 0
    assert "outdated" in capsys.readouterr().out
    assert publish_all.main([]) == 0 and counted() == 1  # in a new folder
    assert not (publish_all.WORK / "one" / "mark").exists()
    steps(step("one", COUNT, COUNT, WRITE))
    assert publish_all.main([]) == 0 and counted() == 2


def test_a_step_that_another_machine_published_is_done(steps, digest, capsys):
    steps(step("one", COUNT, WRITE))
    assert publish_all.main([]) == 0
    shutil.rmtree(publish_all.WORK)
    assert publish_all.main([]) == 0
    assert "one                   done" in capsys.readouterr().out and not publish_all.WORK.joinpath("one").exists()
    digest[0] = "second"
    assert publish_all.main([]) == 0 and counted() == 1
    published = publish_all.PUBLISHED / "tables" / "step_one.json"
    published.write_text(published.read_text().replace("second", "third"))  # as after a pull
    digest[0] = "third"
    assert publish_all.main([]) == 0 and counted() == 1


def test_a_step_that_failed_continues_and_the_others_go_on(steps, digest, capsys):
    gate = """python -c "import pathlib, sys; sys.exit(not pathlib.Path('{home}/open').exists())" """
    steps(step("one", COUNT, gate, WRITE), step("two", WRITE, folder="more"))
    assert publish_all.main([]) == 1
    said = capsys.readouterr().out
    assert f"one failed; see {publish_all.WORK / 'one.log'}. The other steps go on." in said
    assert not (publish_all.PUBLISHED / "tables").exists() and (publish_all.PUBLISHED / "more").exists()
    (publish_all.WORK / "one" / "open").touch()
    assert publish_all.main(["--list"]) == 0
    assert "begun" in capsys.readouterr().out
    assert publish_all.main([]) == 0 and counted() == 1
    assert (publish_all.PUBLISHED / "tables" / "table.csv").exists()


def test_what_a_failing_command_says_is_in_the_log(steps, digest):
    steps(step("one", FAIL))
    assert publish_all.main([]) == 1
    assert "broken" in (publish_all.WORK / "one.log").read_text()


def test_a_step_whose_code_changed_while_it_ran_is_not_done(steps, digest, monkeypatch, capsys):
    def run(*arguments, **options):
        digest[0] = "second"
        return done(*arguments, **options)

    done = subprocess.run
    steps(step("one", COUNT, WRITE))
    monkeypatch.setattr(publish_all.subprocess, "run", run)
    monkeypatch.setattr(publish_all, "git_commit", lambda: "0")
    assert publish_all.main([]) == 1
    assert "one must be repeated, because its code changed while it ran" in capsys.readouterr().out
    assert not publish_all.PUBLISHED.exists() and publish_all.state_of(publish_all.STEPS[0]) == "outdated"


def test_missing_data_and_packages_give_one_sentence(steps, digest, capsys):
    steps(step("one", COUNT, data=("lung-ct-bmp", "shenzhen")), step("two", COUNT, packages=("no_such_package",)))
    assert publish_all.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    folders = ", ".join(str(raw_root() / name) for name in ("lung-ct-bmp", "chest-xray-masks-and-labels"))
    assert f"one is skipped, because data are missing: {folders}." in lines
    assert "two is skipped, because packages are missing: no_such_package." in lines
    assert "0.0 hours left." in lines and not (publish_all.WORK / "one").exists()
    (raw_root() / "lung-ct-bmp").mkdir(parents=True)
    (raw_root() / "lung-ct-bmp" / "a.zip").touch()
    assert "lung-ct-bmp" not in publish_all.missing_of(publish_all.STEPS[0])


def test_the_table_says_what_is_left(steps, digest, capsys):
    steps(step("one", COUNT), step("two", COUNT))
    assert publish_all.main(["--list", "--only", "two"]) == 0
    said = capsys.readouterr().out
    assert "one" not in said and "0.5 hours left." in said
    assert publish_all.main(["--list"]) == 0
    assert "1.0 hours left." in capsys.readouterr().out and not publish_all.WORK.exists()
    assert publish_all.main(["--from", "two"]) == 0
    assert [publish_all.state_of(each) for each in publish_all.STEPS] == ["to do", "done"]
    with pytest.raises(SystemExit, match="there is no step 'three': the steps are one, two"):
        publish_all.main(["--only", "three"])


def test_the_digest_covers_scripts_that_a_script_imports(tmp_path):
    for name, text in {"a": "from b import x", "b": "def f():\n    import c", "c": "", "d": "import a"}.items():
        (tmp_path / f"{name}.py").write_text(f"import os\n{text}\n")
    found = publish_all._with_imports({tmp_path / "a.py", tmp_path / "note.ipynb"})
    assert {file.name for file in found} == {"a.py", "b.py", "c.py", "note.ipynb"}


def test_the_code_of_a_step_covers_the_scripts_that_it_runs():
    plain, prepare = (
        publish_all.code_of(step("one", command)) for command in ("lungnb report", "python benchmarks/prepare.py")
    )
    assert {"lungnb/masks.py", "lungnb/weights/phantom.keras"} < plain.keys()
    assert "benchmarks/prepare.py" in prepare.keys() - plain.keys() and plain.items() <= prepare.items()
    assert "benchmarks/prepare.py" not in publish_all.code_of(step("one", "python benchmarks/score.py"))


def test_only_a_change_of_an_imported_module_makes_a_step_outdated(steps, monkeypatch):
    code = {"masks.py": "a", "page/writing.py": "a", "cli/__main__.py": "a"}
    monkeypatch.setattr(publish_all, "code_digests", lambda: code)
    steps(one := step("one", "python -c 'import lungnb.masks'", WRITE))
    assert publish_all.main([]) == 0
    record = json.loads((publish_all.PUBLISHED / "tables" / "step_one.json").read_text())
    assert record["code"] == {"lungnb/masks.py": "a"}
    code["page/writing.py"] = "b"
    assert publish_all.state_of(one) == "done"
    code["masks.py"] = "b"
    assert publish_all.state_of(one) == "outdated"


def test_an_interrupted_step_goes_on_if_only_code_changed_that_it_has_not_used(steps, monkeypatch):
    code = {"masks.py": "a", "page/writing.py": "a"}
    monkeypatch.setattr(publish_all, "code_digests", lambda: code)
    gate = """python -c "import pathlib, sys; sys.exit(not pathlib.Path('{home}/open').exists())" """
    steps(step("one", COUNT, "python -c 'import lungnb.masks'", gate, "python -c 'import lungnb.page.writing'", WRITE))
    assert publish_all.main([]) == 1
    (publish_all.WORK / "one" / "open").touch()
    code["page/writing.py"] = "b"
    assert publish_all.main([]) == 0 and counted() == 1
    record = json.loads((publish_all.PUBLISHED / "tables" / "step_one.json").read_text())
    assert record["code"] == {"lungnb/masks.py": "a", "lungnb/page/writing.py": "b"}


def test_a_step_is_not_done_if_its_imports_are_unknown(steps, digest, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(publish_all, "RECORDER", tmp_path)  # holds no sitecustomize
    steps(step("one", "lungnb recipes", WRITE))
    assert publish_all.main([]) == 1
    assert "one is not done: nobody knows which modules it imported" in capsys.readouterr().out


def test_files_are_named_by_their_folders_and_tables_of_data_sets_joined(steps, digest):
    write = (
        "python -c \"import pathlib; folder = pathlib.Path('{}'); folder.mkdir(parents=True); "
        "(folder / 'comparison.csv').write_text('model,dice\\nunet,{}')\""
    )
    places = {"{out}/a": 0.9, "{out}/b": 0.8, "{home}/results/c/unet": 0.7}
    make = [write.format(folder, dice) for folder, dice in places.items()]
    steps(step("one", *make, files=(("results/*/*/comparison.csv", "{above}_{parent}_{file}"),)))
    assert publish_all.main([]) == 0
    folder = publish_all.PUBLISHED / "tables"
    joined = pd.read_csv(folder / "comparison.csv")
    assert joined.to_dict("list") == {"dataset": ["a", "b"], "model": ["unet", "unet"], "dice": [0.9, 0.8]}
    assert (folder / "c_unet_comparison.csv").read_text().endswith("0.7")


def test_files_that_no_step_made_are_named(steps, digest, capsys):
    (publish_all.PUBLISHED / "tables").mkdir(parents=True)
    for number in range(publish_all.MAX_NAMED + 2):
        (publish_all.PUBLISHED / "tables" / f"old_{number}.csv").touch()
    steps(step("one", WRITE))
    assert publish_all.main([]) == 0
    said = capsys.readouterr().out
    assert "no step made old_0.csv" in said and "and 2 more. Remove what is of earlier code." in said
    assert "table.csv," not in said


def test_the_films_of_shenzhen_are_those_with_masks(steps, digest, home):
    place = raw_root() / "chest-xray-masks-and-labels" / "Lung Segmentation"
    films = ("CXR_png/CHNCXR_0001_0.png", "CXR_png/CHNCXR_0002_0.png", "CXR_png/MCUCXR_0001_0.png")
    for name in (*films, "masks/CHNCXR_0001_0_mask.png", "masks/MCUCXR_0001_0.png"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(name)
    steps(step("one", COUNT, data=("shenzhen",)))
    assert publish_all.main([]) == 0
    copied = publish_all.WORK / "one" / "data" / "raw" / "shenzhen"
    names = {file.relative_to(copied).as_posix() for file in copied.rglob("*.png")}
    assert names == {"CXR_png/CHNCXR_0001_0.png", "masks/CHNCXR_0001_0_mask.png"}


def test_one_run_at_a_time(steps, digest):
    steps(step("one", COUNT))
    with locked(publish_all.WORK), pytest.raises(RuntimeError, match="another run is at work there"):
        publish_all.main([])


def test_an_interrupted_run_ends_its_command_and_continues(tmp_path):
    """The run is interrupted in its second command; the first one is not repeated."""
    wait = """python -c "import pathlib, time; pathlib.Path('{home}/begun').touch(); time.sleep(60)" """
    script = tmp_path / "run.py"
    script.write_text(
        f"import sys, signal, pathlib; sys.path[:0] = [{str(ROOT / 'tools')!r}, {str(ROOT)!r}]\n"
        "import publish_all as p; from publish_steps import Step\n"
        "signal.signal(signal.SIGTERM, signal.default_int_handler)\n"
        f"p.WORK, p.PUBLISHED = (pathlib.Path({str(tmp_path)!r}, name) for name in ('work', 'published'))\n"
        f"p.STEPS = (Step('one', 'tables', 1, '', (), ({COUNT!r}, {wait!r})),)\n"
        "p.main([])\n"
    )
    process = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 60
    while not (tmp_path / "work" / "one" / "begun").exists():
        assert time.monotonic() < limit and process.poll() is None
        time.sleep(0.1)
    process.terminate()
    assert process.wait(20) != 0
    record = json.loads((tmp_path / "work" / "one.json").read_text())
    assert record["finished"] == 1 and not record["is_done"]
