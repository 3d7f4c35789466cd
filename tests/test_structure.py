"""The order of the packages: who may import whom, what each package offers, and where its tests are."""

import ast
import importlib
import re
import subprocess
import sys
from collections import Counter

import pytest

import lungnb
from helpers.idle_settings import find_idle_settings
from helpers.imports import find_cycle, lazy_names, level_faults
from helpers.paths import ROOT

LUNGNB, TESTS, TOOLS = ROOT / "lungnb", ROOT / "tests", ROOT / "tools"
LEVELS = (
    ("artefacts", "files", "masks", "messages", "metrics", "presets", "settings"),
    ("formats", "phantoms"),
    ("datasets",),
    ("networks",),
    ("engines",),
    ("segmentation",),
    ("evaluation",),
    ("figures",),
    ("lessons", "page", "report"),
    ("browser", "commands"),
    ("__main__",),
)
PACKAGES = sorted(file.parent.name for file in LUNGNB.glob("*/__init__.py"))
TEST_FILES = sorted(TESTS.rglob("test_*.py"))


def write_tree(root, files):
    """Write the files of a made-up package."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


SOUND = {
    "__init__.py": 'lazy_loader.attach(__name__, submod_attrs={"high": ["wave"]})\n',
    "ground.py": "from house import stone\n",
    "stone.py": "import os\n",
    "low/__init__.py": "",
    "low/one.py": "from house.ground import x\n",
    "low/two.py": "from . import one\n",
    "high/__init__.py": 'lazy_loader.attach(__name__, submod_attrs={"three": ["wave"]})\n',
    "high/three.py": "import numpy\nimport house.low.two\n",
    "high/four.py": "from house.high import wave\nfrom .three import wave\n",
}
HOUSE_LEVELS = (("ground", "stone"), ("low", "side"), ("high",))
ABOVE = "which is not on a lower level"


def test_a_sound_package_has_no_faults(tmp_path):
    house = write_tree(tmp_path / "house", SOUND)
    assert level_faults(house, HOUSE_LEVELS) == find_cycle(house) == []


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("low/one.py", "import house.high.three", "house.low.one, line 1: imports house.high.three"),
        ("low/one.py", "def f():\n    from ..high.four import x", "house.low.one, line 2: imports house.high.four"),
        ("low/one.py", "from house import wave", "house.low.one, line 1: imports house.high.three"),
        ("low/one.py", "from house.high import wave", "house.low.one, line 1: imports house.high.three"),
        ("stone.py", "from house.low import one", "house.stone, line 1: imports house.low.one"),
        ("side/five.py", "from house.low import one", "house.side.five, line 1: imports house.low.one"),
        ("low/__init__.py", "from ..high import four", "house.low, line 1: imports house.high.four"),
        ("__init__.py", "from house import stone", "house, line 1: imports house.stone"),
    ],
)
def test_an_import_from_the_same_or_a_higher_level_is_a_fault(tmp_path, name, text, says):
    house = write_tree(tmp_path / "house", SOUND | {name: text})
    assert level_faults(house, HOUSE_LEVELS) == [f"{says}, {ABOVE}"]


def test_a_part_without_a_level_is_a_fault(tmp_path):
    house = write_tree(tmp_path / "house", SOUND | {"roof.py": ""})
    assert level_faults(house, HOUSE_LEVELS) == ["house.roof has no level"]


def test_a_circle_is_found_also_inside_functions(tmp_path):
    house = write_tree(tmp_path / "house", SOUND | {"low/one.py": "def f():\n    from house.low.two import x"})
    assert set(find_cycle(house)) == {"house.low.one", "house.low.two"}


def test_each_module_imports_from_lower_levels_and_its_own_package_alone():
    assert level_faults(LUNGNB, LEVELS) == []


def test_no_modules_import_each_other_in_a_circle():
    assert find_cycle(LUNGNB) == []


def test_few_files_lie_directly_in_lungnb():
    assert len([*LUNGNB.glob("*.py")]) <= 9


def test_idle_settings_are_found(tmp_path):
    uses = ("settings.results", "open_prepared(settings)", "settings.epochs", "other.epochs", "len(settings.dataset)")
    functions = (f"def f{number}(settings: Settings):\n    return {use}\n" for number, use in enumerate(uses))
    (tmp_path / "module.py").write_text("def without(folder: Path):\n    return folder.name\n" + "".join(functions))
    assert find_idle_settings(tmp_path / "module.py") == ["f0", "f1", "f3", "f4"]


def test_functions_inside_the_module_take_what_they_need_instead_of_settings():
    """Functions that users call may take settings for their folders, because users have settings."""
    offered = {name for file in LUNGNB.rglob("__init__.py") for name in lazy_names(file)}
    notebooks = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "notebooks").glob("*.ipynb"))
    idle = {name for file in LUNGNB.rglob("*.py") for name in find_idle_settings(file)}
    assert {name for name in idle - offered if f"{name}(settings" not in notebooks} == set()


def test_each_class_function_and_constant_has_a_name_of_its_own():
    """Names that begin with `_` belong to one file."""
    files = [file for file in LUNGNB.rglob("*.py") if file.name != "__init__.py"]
    names = Counter(name for file in files for name in _defined(file) if not name.startswith("_"))
    assert len(names) > 1000 and [name for name, count in names.items() if count > 1] == []


def _defined(file):
    """Return the names that a file defines at its top."""
    names = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}
    return names


def test_no_module_is_named_like_a_function_in_it():
    assert [file for file in LUNGNB.rglob("*.py") if file.stem in _defined(file)] == []


def test_each_module_has_a_file_name_of_its_own():
    files = Counter(file.name for file in LUNGNB.rglob("*.py") if file.name != "__init__.py")
    assert [name for name, count in files.items() if count > 1] == []


def test_at_most_six_functions_are_allowed_to_take_or_return_anything():
    files = [file for folder in ("lungnb", "tools", "benchmarks", "docs") for file in (ROOT / folder).rglob("*.py")]
    assert sum(file.read_text(encoding="utf-8").count("noqa: ANN401") for file in files) <= 6


def test_only_messages_say_which_notebook_to_run_first():
    sentence = re.compile(r"run notebooks? \d\d|gallery of notebook", re.IGNORECASE)
    files = [file for file in LUNGNB.rglob("*.py") if file.parent.name != "lessons" and file.name != "messages.py"]
    assert [file.name for file in files if sentence.search(file.read_text(encoding="utf-8"))] == []


def test_names_of_files_that_two_modules_use_are_in_artefacts():
    """What the report shows of a comparison is checked in `test_artefacts`, and what is written is named once."""
    uses, is_name = Counter(), re.compile(r"\w[\w.]*\.(csv|db|h5|html|jsonl?|keras|md|txt|xml)")
    for file in LUNGNB.rglob("*.py"):
        if file.name not in ("artefacts.py", "sections.py", "scoring_report.py"):
            nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
            uses.update(filter(is_name.fullmatch, texts))
    assert [name for name, count in uses.items() if count > 1] == []


def test_importing_a_package_imports_none_of_its_modules():
    code = f"import sys, {', '.join(f'lungnb.{name}' for name in PACKAGES)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = {name for name in done.stdout.split() if name.partition(".")[0] == "lungnb"}
    assert imported == {"lungnb", *(f"lungnb.{name}" for name in PACKAGES)}


@pytest.mark.parametrize("name", ["lungnb", *(f"lungnb.{package}" for package in PACKAGES)])
def test_every_offered_name_can_be_imported(name):
    package = importlib.import_module(name)
    assert package.__all__ and dir(package) == sorted(package.__all__)
    for offered in package.__all__:
        assert getattr(package, offered) is not None


@pytest.mark.parametrize("package", ["", *PACKAGES])
def test_no_offered_name_is_that_of_a_module_beside_it(package):
    """Otherwise, the order of imports would decide which of the two a user gets."""
    folder = LUNGNB / package
    modules = {path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert not modules & {*lazy_names(folder / "__init__.py")}


def test_lungnb_offers_what_its_packages_do():
    for name, submodule in lazy_names(LUNGNB / "__init__.py").items():
        assert getattr(lungnb, name) is getattr(importlib.import_module(f"lungnb.{submodule}"), name)


def test_the_folders_of_tests_mirror_the_packages():
    """If a name is taken, the package's name comes before it."""
    folders = {file.parent for file in TEST_FILES} - {TESTS}
    assert sorted(folder.name for folder in folders) == sorted([*PACKAGES, "tools"])
    for file in (file for file in TEST_FILES if file.parent != TESTS):
        assert file.parent.parent == TESTS
        tested = TOOLS if file.parent.name == "tools" else LUNGNB / file.parent.name
        module = file.stem.removeprefix("test_").removeprefix(f"{tested.name}_")
        assert (tested / f"{module}.py").exists(), file


def test_each_test_file_has_a_name_of_its_own():
    """The folders of tests have no `__init__.py`, so pytest would take two files of one name for the same module."""
    assert max(Counter(file.name for file in TEST_FILES).values()) == 1
    assert not any((file.parent / "__init__.py").exists() for file in TEST_FILES)


def test_no_test_file_imports_another_one():
    names = {file.stem for file in TEST_FILES} | {"conftest"}
    for file in [*TEST_FILES, *TESTS.rglob("conftest.py"), *(TESTS / "helpers").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            imported += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert not names & {*imported}, file


def test_one_image_is_segmented_without_what_data_sets_and_tables_need(tmp_path):
    script = (
        "import sys, lungnb, numpy as np\n"
        "lungnb.segment(np.eye(64, dtype=np.uint8), lungnb.engines.Engine('none', 64, lambda batch: batch))\n"
        "print(*(name for name in sys.modules if name.startswith('lungnb.datasets')))\n"
        "print(*{'pandas', 'tensorflow', 'keras', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "\n\n"
