"""The parts of pages that are made from code and tables when the site is built, so that each fact has one place.

A page has a line such as `<!-- generated: settings -->`; `fill` replaces it. Neither Sphinx nor TensorFlow is needed,
except for the API, whose modules are imported.
"""

import argparse
import dataclasses
import importlib
import inspect
import os
import posixpath
import re
import textwrap
from collections.abc import Callable
from pathlib import Path

from lungnb.artefacts import ARTEFACTS
from lungnb.commands.parser import make_parser
from lungnb.datasets.sources import CATALOGUE
from lungnb.presets import RECIPES
from lungnb.settings import CHOICES, LIMITS, PROFILES, Settings
from published import peers, published
from tables import capital, cell, table

ROOT = Path(__file__).parents[1]
OTHER_PAGES = (  # outside docs/ and notebooks/
    "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "lungnb/weights/README.md", "results/published/README.md",
    "tests/README.md",
)  # fmt: skip
_MARK = re.compile(r"<!-- generated: (\w+)(?: ([\w./-]+))? -->")
_LINK = re.compile(r"(?<=\]\()(?!https?:|#|mailto:)([^)\s#\\]+)(?=\))")


def fill(text: str) -> str:
    """Return the text of a page with its generated parts."""
    return _MARK.sub(lambda match: PARTS[match[1]](*filter(None, match.groups()[1:])), text)


def site_links(text: str, page: str) -> str:
    """Return a page's text with links to folders of published results, and to the README, led to pages of the site."""

    def lead(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page), match[1]))
        if target == "README.md":
            return posixpath.relpath("docs/index.md", posixpath.dirname(page))
        folder = re.fullmatch(r"results/published/([\w-]+)", target)
        return f"#results-{folder[1]}" if folder else match[1]

    return _LINK.sub(lead, text)


def settings() -> str:
    """Return tables of all settings, by the groups in which `Settings` lists them."""
    source = inspect.getsource(Settings).partition("def ")[0]
    source = re.sub(r"\n    # (the path within .*)", r" \1", source)  # a comment of two lines
    types = {field.name: field for field in dataclasses.fields(Settings)}
    header = ["", "| setting | meaning | default | values |", "|---|---|---|---|"]
    lines = ["## The run", *header]
    for line in source.splitlines():
        if group := re.fullmatch(r"    # (.*)", line):
            lines += ["", f"## {capital(group[1].partition(';')[0])}", *header]
        elif field := re.fullmatch(r"    (\w+): .*?(?:  # (.*))?", line):
            name, about = field.groups()
            default = _default(name, types[name].default)
            lines.append(f"| `{name}` | {cell(_BEFORE.get(name, '') + (about or ''))} | {default} | {_values(name)} |")
    return "\n".join(lines)


_BEFORE = {  # words before the comment of a setting, which the table needs because it lacks the code beside it
    "profile": "`quick`, `full`, ",
    "split_fractions": "train, validation and test: ",
    "schedule": "schedule ",
    "precision": "`float32`, ",
    "loss": "loss function; notebook 03 has the formulas",
    "optimizer": "optimizer of Keras",
    "learning_rate": "learning rate at the start",
    "batch_size": "images in a batch",
    "epochs": "epochs at most",
    "seed": "random seed of weights, augmentation and draws",
}


def _default(name: str, value: object) -> str:
    by_profile = {profile: f"`{values[name]}` ({profile})" for profile, values in PROFILES.items() if name in values}
    return ", ".join(by_profile.values()) if by_profile else f"`{_as_set(value)}`"


def _values(name: str) -> str:
    if name in CHOICES:
        return ", ".join(f"`{choice}`" for choice in CHOICES[name])
    if name in LIMITS:
        low, high = LIMITS[name]
        return f"{low:,} to {high:,}"
    return "`True`, `False`" if isinstance(getattr(Settings, name), bool) else ""


def _as_set(value: object) -> str:
    """Return a value as `--set` takes it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def readme(heading: str) -> str:
    """Return the text under a heading of the README, because the README is not a page of the site."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0].strip()


def recipes() -> str:
    """Return a table of the recipes."""
    rows = [(f"`{name}`", recipe.about, f"`{recipe.settings.dataset}`") for name, recipe in RECIPES.items()]
    return table(("recipe", "system", "data set"), rows)


def commands() -> str:
    """Return a section for each verb of the command line."""
    verbs = next(action for action in make_parser()._actions if isinstance(action, argparse._SubParsersAction))  # noqa: SLF001
    return "\n\n".join(_verb(name, parser) for name, parser in verbs.choices.items())


def _verb(name: str, parser: argparse.ArgumentParser) -> str:
    rows = []
    for action in parser._actions:  # noqa: SLF001 (argparse has no public list)
        if action.help in (None, argparse.SUPPRESS) or "--help" in action.option_strings:
            continue
        value = f" {action.metavar or action.dest.upper()}" if action.option_strings and action.nargs != 0 else ""
        shown = (action.option_strings or [action.dest])[0] + value
        choices = f" One of {', '.join(f'`{choice}`' for choice in action.choices)}." if action.choices else ""
        rows.append((f"`{shown}`", capital(cell(action.help)) + "." + choices))
    examples = textwrap.dedent((parser.epilog or "").partition("\n")[2])
    parts = [f"## {name}", parser.description or "", f"```text\n{examples}\n```"]
    return "\n\n".join([*parts, table(("argument", "meaning"), rows)] if rows else parts)


def datasets() -> str:
    """Return a section for each data set of the catalogue."""
    kinds = {"xray": "chest X-rays", "ct": "CT", "wild": "chest X-rays and CT"}
    parts = []
    for source in CATALOGUE.values():
        ways = [address for file in source.files for address in file.addresses]
        facts = {
            "Images": kinds[source.kind],
            "Masks": "yes" if source.has_masks else "no",
            "Terms": source.licence,
            "Cite": source.citation,
            "Homepage": f"<{source.homepage}>" if source.homepage else "",
            "Files": ", ".join(f"`{file.name}`" for file in source.files),
            "From": ", ".join(f"`{way}`" for way in ways) or ("by hand" if source.files else "drawn on this machine"),
            "Patient": f"`{source.patient_pattern}` in the name" if source.patient_pattern != "(.+)" else "",
            "Note": source.note,
        }
        lines = [f"- **{name}:** {fact}" for name, fact in facts.items() if fact]
        parts.append("\n".join([f"## {source.name}\n\n{source.title}.\n", *lines]))
    return "\n\n".join(parts)


def artefacts() -> str:
    """Return a table of the files in results/RUN/comparison."""
    rows = [(f"`{a.pattern}`", a.holds, a.notebook, "yes" if a.may_be_published else "no") for a in ARTEFACTS]
    return table(("file", "what it holds", "notebook", "published"), rows)


def api(package: str) -> str:
    """Return directives that document what a package offers."""
    module = importlib.import_module(package)
    lines, constants = [], []
    for name in sorted(module.__all__, key=str.lower):
        value = getattr(module, name)
        if inspect.ismodule(value):
            lines.append(f".. automodule:: {value.__name__}\n   :members:\n")
        elif inspect.isclass(value):
            lines.append(f".. autoclass:: {package}.{name}\n   :members:\n   :show-inheritance:\n")
        elif callable(value):
            lines.append(f".. autofunction:: {package}.{name}\n")
        else:
            constants.append((f"`{name}`", f"`{text}`" if len(text := _constant(value)) < 200 else "see the code"))
    listed = table(("constant", "value"), constants) if constants else ""
    return "\n".join(["```{eval-rst}", *lines, "```", "", listed])


def markdown_tables(lines: list[str]) -> list[str]:
    """Return the lines of a docstring, with its Markdown tables as tables of reStructuredText."""
    result: list[str] = []
    for line in lines:
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.lstrip().startswith("|"):
            result += [line] if line.strip() or not result or not result[-1].startswith("     - ") else ["", line]
        elif not result or not result[-1].startswith("     - "):
            result += [".. list-table::", "   :header-rows: 1", "", *_list_row(cells)]
        elif not set("".join(cells)) <= {"-", ":"}:
            result += _list_row(cells)
    return result


def _list_row(cells: list[str]) -> list[str]:
    return [f"   {'*' if not number else ' '} - {cell}" for number, cell in enumerate(cells)]


def _constant(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, dict | tuple | list) else repr(value)


PARTS: dict[str, Callable[..., str]] = {
    function.__name__: function
    for function in (settings, readme, recipes, commands, datasets, artefacts, api, published, peers)
}
os.environ.pop("LUNGNB_PROFILE", None)  # the parser would show it as a default
