"""What pages for contributors say is true: the paths exist, and the names are in the files that they name."""

import re

import pytest

from helpers.imports import find_imports, find_modules
from helpers.paths import ROOT

ARCHITECTURE = ROOT / "docs" / "explanation" / "architecture.md"
CONCLUSIONS = ROOT / "docs" / "explanation" / "conclusions.md"
PAGES = [
    ROOT / "CONTRIBUTING.md",
    ARCHITECTURE,
    CONCLUSIONS,
    ROOT / "CHANGELOG.md",
    *(ROOT / "docs").glob("how-to-*.md"),
]


def read(page):
    return page.read_text(encoding="utf-8")


@pytest.fixture(params=PAGES, ids=lambda page: page.name)
def page(request):
    return request.param


def test_links_lead_to_files(page):
    for link in re.findall(r"\]\(([^)#]+)\)", read(page)):
        assert link.startswith("https://") or (page.parent / link).exists(), link


def test_paths_exist(page):
    text = re.sub(r"(?s)```.*?```", "", read(page))
    text = text.split("### Structure")[-1] if page.name == "CHANGELOG.md" else text
    tops = "|".join(("lungnb", "tests", "tools", "benchmarks", "docs", "notebooks", r"\.github", "results/published"))
    old = {"lungnb/splits", "tests/"}  # in the changelog
    for path in re.findall(rf"`((?:{tops})(?:/[\w./-]*)?)`", text):
        assert (ROOT / path).exists() or (page.name == "CHANGELOG.md" and path in old), path


def test_names_are_in_the_files_that_are_named_with_them(page):
    for name, path in re.findall(r"`(\w+)`(?:,? and [\w ]+| of \w+)? in\s+`((?:lungnb|tests)/[\w/]+\.py)`", read(page)):
        assert re.search(rf"\b{name}\b", read(ROOT / path)), f"{name} in {path}"


def test_the_architecture_lists_every_file_and_no_other():
    listed = re.findall(r"(?m)^\| `(lungnb/[\w/]+\.py)` \|", read(ARCHITECTURE))
    files = {file.relative_to(ROOT).as_posix() for file in find_modules(ROOT / "lungnb").values()}
    assert sorted(listed) == sorted(file for file in files if not file.endswith("__init__.py"))


def test_each_file_imports_only_from_files_above_it_in_the_architecture():
    listed = re.findall(r"(?m)^\| `(lungnb/[\w/]+)\.py` \|", read(ARCHITECTURE))
    place = {file.replace("/", "."): number for number, file in enumerate(listed)}
    for importer, imported, line in find_imports(ROOT / "lungnb"):
        if importer in place and imported in place:
            assert place[imported] < place[importer], f"{importer}, line {line}: {imported}"


def test_the_changelog_names_modules_and_functions_that_exist():
    modules = find_modules(ROOT / "lungnb")
    structure = read(ROOT / "CHANGELOG.md").split("### Structure")[1].split("## [0.1.0]")[0]
    for row in re.findall(r"(?m)^\| `lungnb\.\w+`.*?\| (.*) \|$", structure):
        assert {*re.findall(r"`(lungnb[\w.]*)`", row)} <= {*modules}, row
    renamed = re.findall(r"(?m)^\| `.*?\| (`\w+`.*?) \| `(lungnb[\w.]*)` \|$", structure)
    assert len(renamed) > 30
    for names, module in renamed:
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"(?m)^(def |class |)(\w+, )*{name}\b", read(modules[module])), f"{name} in {module}"
