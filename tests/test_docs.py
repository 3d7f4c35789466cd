"""What the pages say is true: paths, links and names exist, every page is in the contents, and the site can be built.

The generated parts of pages are tested without Sphinx. A slow test builds the whole site.
"""

import ast
import dataclasses
import re
import subprocess
import sys

import nbformat
import pytest
import yaml

import generate
from helpers.imports import find_imports, find_modules
from helpers.paths import ROOT
from lungnb.commands.parser import make_parser
from lungnb.datasets.sources import CATALOGUE
from lungnb.segmentation.batch import TABLE_COLUMNS
from lungnb.settings import COMPARISON_VARIABLE, Settings
from published import PUBLISHED, published, sections

ARCHITECTURE = ROOT / "docs" / "explanation" / "architecture.md"
OF_DOCS = [page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts]
PAGES = [*OF_DOCS, ROOT / "README.md", *(ROOT / page for page in generate.OTHER_PAGES)]


def read(page):
    return page.read_text(encoding="utf-8")


@pytest.fixture(params=PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def page(request):
    return request.param


def test_links_lead_to_files(page):
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", read(page)):
        assert link.startswith("https://") or (page.parent / link).exists(), link


def test_links_lead_to_headings(page):
    for link, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", read(page)):
        text = read(page.parent / link if link else page)
        headings = re.findall(r"(?m)^#+ (.*)$", re.sub(r"(?s)```.*?```", "", text))
        slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in slugs, f"{link}#{anchor}"


def test_the_contents_name_every_page_once():
    listed, pages = [], [ROOT / "docs" / "index"]
    while pages:
        page = pages.pop()
        listed.append(page)
        if page.with_suffix(".md").exists():
            entries = re.findall(r"(?s)```\{toctree\}\n(?::.*?\n)*\n(.*?)```", read(page.with_suffix(".md")))
            pages += [(page.parent / entry).resolve() for entry in "\n".join(entries).split()]
    others = (ROOT / page for page in generate.OTHER_PAGES)
    expected = [*OF_DOCS, *(ROOT / "notebooks").glob("*.ipynb"), *others]
    assert sorted(listed) == sorted(file.with_suffix("") for file in expected)


def test_each_folder_of_published_results_is_shown_once():
    shown = re.findall(r"<!-- generated: published ([\w-]+) -->", "".join(map(read, OF_DOCS)))
    assert sorted(shown) == sorted(folder.name for folder in PUBLISHED.iterdir() if folder.is_dir())
    for folder in shown:
        tables = [*(PUBLISHED / folder).glob("*.csv"), *(PUBLISHED / folder).glob("*/*.csv")]  # not of single trainings
        assert all(f"[{file.name}](" in published(folder) for file in tables)


def test_each_folder_of_published_results_has_a_section_with_its_command():
    assert {*sections()} == {folder.name for folder in PUBLISHED.iterdir() if folder.is_dir()}
    for folder, text in sections().items():
        assert "\n\n**Command:**" in text, f"results/published/README.md has no command for {folder}"
        assert text in published(folder)
        for link in re.findall(r"\]\(([^)#]+)", text):  # the section is shown on a page of docs/results, too
            assert (ROOT / "docs" / "results" / link).exists(), f"{link} of {folder}"


def test_the_table_of_frameworks_has_what_was_measured(tmp_path, monkeypatch):
    monkeypatch.setattr("published.PUBLISHED", tmp_path)
    (tmp_path / "benchmarks").mkdir()
    speeds = "network,framework,train_images_s,multiplications\nU-Net,lungnb,9.17,3013607424\nR2U-Net,lungnb,3.4,9e9\n"
    (tmp_path / "benchmarks" / "frameworks.csv").write_text(speeds)
    header, _, *rows = generate.fill("<!-- generated: peers -->").splitlines()
    assert header == "| U-Net of | training, images a second | multiply-accumulates of an image, billions |"
    assert rows == ["| lungnb | 9.2 | 3.01 |"]
    (tmp_path / "benchmarks" / "scripts.csv").write_text("framework,lines\nsmp,21\n")
    speeds = 'network,framework,version,memory_mb\nU-Net,"smp, ResNet-18",smp 0.6.0,1450\n'
    (tmp_path / "benchmarks" / "frameworks.csv").write_text(speeds)
    assert generate.fill("<!-- generated: peers -->").endswith("| smp, ResNet-18 (smp 0.6.0) | 1,450 | 21 |")


def test_generated_parts_hold_everything():
    rows = re.findall(r"(?m)^\| `(\w+)` \| (.+?) \|", generate.settings())
    assert [name for name, _ in rows] == [field.name for field in dataclasses.fields(Settings)]
    assert not re.search(r"(?m)^\| `\w+` \|\s*\|", generate.settings()), "a setting without a meaning"
    assert [name for name in CATALOGUE if f"## {name}\n" not in generate.datasets()] == []
    assert "python -m pip install -c constraints.txt" in generate.readme("Install")
    text = generate.commands()
    for verb in re.search(r"\{(.*?)\}|VERB", make_parser().format_usage())[0].strip("{}").split(","):
        assert verb == "VERB" or f"## {verb}\n" in text
    assert "| `--out OUT` | Folder for the masks and segmentation.csv. |" in text


def test_the_page_of_errors_quotes_messages_of_the_code():
    strings = []
    for file in find_modules(ROOT / "lungnb").values():
        for node in ast.walk(ast.parse(read(file))):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            strings.append("\0".join(getattr(part, "value", "") for part in parts if is_text(part)))
    said, page = "\1".join(strings), read(ROOT / "docs" / "reference" / "errors.md")
    quoted = [row for row in re.findall(r"(?m)^\| (.*?) \| .*? \| .*? \|$", page) if row not in ("message", "---")]
    assert len(quoted) > 25
    for row in quoted:
        for part in re.split(r"\.\.\.|\bN\b|\(.*?\)|['`;\d]", row):
            assert len(part.strip(" :,")) <= 5 or part.strip(" :,") in said, row


def is_text(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_reference_pages_list_columns_and_variables():
    files, settings = (read(ROOT / "docs" / "reference" / f"{name}.md") for name in ("files", "settings"))
    assert [column for column in TABLE_COLUMNS if f"`{column}`" not in files] == []
    source = "".join(read(file) for file in find_modules(ROOT / "lungnb").values())
    internal = {COMPARISON_VARIABLE}
    assert {name for name in re.findall(r"LUNGNB_[A-Z]+(?:_[A-Z]+)*", source) if name not in settings} == internal


def test_every_part_is_known_and_every_part_is_used():
    names = re.findall(r"<!-- generated: (\w+)", "".join(map(read, OF_DOCS)))
    assert {*names} == {*generate.PARTS}


def test_links_lead_to_pages_of_the_site():
    same = "[c](https://x.org) ![d](../../results/published/quick/a.png)"
    text = f"[a](../../results/published/quick) [b](../../README.md) {same}"
    assert generate.site_links(text, "docs/results/index") == f"[a](#results-quick) [b](../index.md) {same}"


def test_tables_of_docstrings_become_lists():
    lines = generate.markdown_tables(["Text.", "", "| a | b |", "|---|---|", "| 1 | 2 |", "", "End."])
    assert lines == [
        *("Text.", "", ".. list-table::", "   :header-rows: 1", ""),
        *("   * - a", "     - b", "   * - 1", "     - 2", "", "", "End."),
    ]


def test_the_workflow_builds_the_site_and_publishes_it():
    jobs = yaml.safe_load(read(ROOT / ".github" / "workflows" / "ci.yml"))["jobs"]
    build, publish = jobs["docs"], jobs["pages"]
    assert any(step.get("run", "").startswith("make docs") for step in build["steps"])
    assert publish["needs"] == "docs" and publish["if"] == "github.event_name == 'push'"
    assert publish["permissions"] == {"pages": "write", "id-token": "write"}
    assert build["steps"][-1]["with"]["path"] == "docs/_build/html"
    assert [name for name, job in jobs.items() if "permissions" in job] == ["pages"]


def test_the_workflow_names_actions_by_commit_and_leaves_no_token():
    text = read(ROOT / ".github" / "workflows" / "ci.yml")
    actions = re.findall(r"uses: (\S+)", text)
    assert actions and all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", action) for action in actions)
    assert text.count("persist-credentials: false") == sum("/checkout@" in action for action in actions)


@pytest.mark.parametrize("notebook", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_the_site_can_show_the_formulas_of_a_notebook(notebook):
    to_mathml = pytest.importorskip("docutils.utils.math.latex2mathml", reason="needs the extra docs").tex2mathml
    for cell in nbformat.read(notebook, as_version=4).cells:
        text = re.sub(r"```.*?```|`[^`]*`", "", cell.source, flags=re.DOTALL) if cell.cell_type == "markdown" else ""
        for block, inline in re.findall(r"\$\$(.+?)\$\$|\$([^$\n]+)\$", text, re.DOTALL):
            assert "<math" in to_mathml(block or inline, as_block=bool(block))


@pytest.mark.slow
def test_the_site_is_built_without_warnings(tmp_path):
    pytest.importorskip("myst_nb", reason="needs the extra docs")
    command = [sys.executable, ROOT / "docs" / "build_site.py", tmp_path]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    page = (tmp_path / "html" / "docs" / "reference" / "api" / "evaluation.html").read_text(encoding="utf-8")
    assert "paired_tests" in page and "<math" in (tmp_path / "html/docs/explanation/scores.html").read_text()
    from_elsewhere = re.compile(r"<(?:script|link|img)[^>]*(?:src|href)=\"https?://")
    for file in (tmp_path / "html").rglob("*.html"):
        assert not from_elsewhere.search(file.read_text(encoding="utf-8")), f"{file} loads from another server"
        assert not re.search(r"<img(?![^>]*alt=\"[^\"./]{3})[^>]*>", file.read_text(encoding="utf-8")), file


def test_paths_exist(page):
    text = re.sub(r"(?s)```.*?```", "", read(page))
    text = text.split("### Structure")[-1] if page.name == "CHANGELOG.md" else text
    tops = "|".join(("lungnb", "tests", "tools", "benchmarks", "docs", "notebooks", r"\.github", "results/published"))
    old = {"lungnb/splits", "tests/"}  # in the changelog
    for path in re.findall(rf"`((?:{tops})(?:/[\w./-]*)?)`", text):
        is_made = path.startswith("docs/_build")  # by `make docs`
        exists = is_made or (ROOT / path).exists() or (page.parent / path).exists()
        assert exists or (page.name == "CHANGELOG.md" and path in old), path


def test_names_are_in_the_files_that_are_named_with_them(page):
    for name, path in re.findall(r"`(\w+)`(?:,? and [\w ]+| of \w+)? in\s+`((?:lungnb|tests)/[\w/]+\.py)`", read(page)):
        assert re.search(rf"\b{name}\b", read(ROOT / path)), f"{name} in {path}"


def test_tests_that_are_named_for_contributors_exist():
    code = "".join(map(read, (ROOT / "tests").rglob("test_*.py")))
    named = re.findall(r"`(test_\w+)`", read(ROOT / "CONTRIBUTING.md") + read(ROOT / "tests" / "README.md"))
    assert named and [name for name in named if f"def {name}(" not in code] == []


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
