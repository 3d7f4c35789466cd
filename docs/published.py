"""The published tables and charts as Markdown, with what results/published/README.md says about them."""

import json
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pandas as pd

from lungnb.evaluation.readable_tables import column_title
from tables import capital, cell, table

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT / "results" / "published"
MAX_ROWS = 40  # of a table that is shown whole; of a longer one, the first rows and a link to the file
FIRST_ROWS = 5
MAX_PARTS = 2  # of a table's path in its folder; deeper ones are of single trainings


def published(folder: str) -> str:
    """Return the section of a folder of published results, with its tables and charts."""
    place = PUBLISHED / folder
    parts = [f"(results-{folder})=", f"### {folder}", sections().get(folder, ""), _recorded_command(place)]
    files = sorted(place.rglob("*.csv"))
    parts += [_csv(file) for file in files if len(file.relative_to(place).parts) <= MAX_PARTS]
    charts = sorted(place.rglob("*.png"))
    if charts:
        images = [f"![{_words(chart)} of {folder}]({_relative(chart)})" for chart in charts]
        parts += ["<details><summary>Charts</summary>", *images, "</details>"]
    return "\n\n".join(filter(None, parts))


def sections() -> dict[str, str]:
    """Return the sections of results/published/README.md by folder.

    Their relative links also lead to the same files from docs/results, which is as deep in the repository.
    """
    readme = (PUBLISHED / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"(?ms)^## `([\w-]+)/`\n(.*?)(?=^## |\Z)", readme)
    return {folder: text.strip() for folder, text in found}


def _recorded_command(place: Path) -> str:
    # The file of the folder itself first, because it has the command for all networks.
    for file in sorted(place.rglob("summary.json"), key=lambda file: (len(file.parts), file)):
        command = json.loads(file.read_text(encoding="utf-8")).get("command", "")
        if command:
            title = f"The `command` in `{file.relative_to(PUBLISHED).as_posix()}`:"
            return f"{title}\n\n```text\n" + command.replace(" && ", " &&\n") + "\n```"
    return ""


def _csv(file: Path) -> str:
    """Return a published table as Markdown: whole, or its first rows."""
    name = file.relative_to(PUBLISHED).as_posix()
    scores = pd.read_csv(file)
    shown = scores if len(scores) <= MAX_ROWS else scores.head(FIRST_ROWS)
    note = f" (the first {FIRST_ROWS} of {len(scores):,} rows)" if len(shown) < len(scores) else ""
    rows = [[_number(value) for value in row] for row in shown.itertuples(index=False)]
    headings = ["" if str(column).startswith("Unnamed") else column_title(str(column)) for column in scores.columns]
    body = table(headings, rows) if rows else "No rows."
    summary = f"<details><summary><code>{name}</code>{note}</summary>"
    return "\n\n".join([summary, f"[{file.name}]({_relative(file)})", body, "</details>"])


def _relative(file: Path) -> str:
    return "/" + file.relative_to(ROOT).as_posix()


def _number(value: object) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return cell(str(value))


def _words(file: Path) -> str:
    return capital(file.stem.replace("_", " "))


_OF_PEERS = {  # columns of `benchmarks/frameworks.csv` and `scripts.csv`: title, format, and what a value is divided by
    "train_images_s": ("training, images a second", ".1f", 1),
    "infer_ms": ("one image at a time, ms", ".0f", 1),
    "infer_batch_ms": ("in batches, ms an image", ".0f", 1),
    "memory_mb": ("peak memory, MB", ",.0f", 1),
    "multiplications": ("multiply-accumulates of an image, billions", ".2f", 1e9),
    "parameters": ("parameters, millions", ".2f", 1e6),
    "lines": ("lines of a script", ".0f", 1),
}


def peers() -> str:
    """Return a table of the U-Nets of all frameworks, with the lines of their scripts, as far as it was measured."""
    speeds = pd.read_csv(PUBLISHED / "benchmarks" / "frameworks.csv").query("network == 'U-Net'")
    scripts = PUBLISHED / "benchmarks" / "scripts.csv"
    if scripts.exists():
        lines = pd.read_csv(scripts).set_index("framework")["lines"]
        speeds = speeds.assign(lines=speeds["framework"].str.partition(",")[0].map(lines))
    shown = {name: column for name, column in _OF_PEERS.items() if name in speeds}
    rows = [
        [_with_version(row), *(f"{row[name] / divisor:{form}}" for name, (_, form, divisor) in shown.items())]
        for row in speeds.to_dict("records")
    ]
    return table(["U-Net of", *(title for title, _, _ in shown.values())], rows)


def _with_version(row: dict[Hashable, Any]) -> str:
    return f"{row['framework']} ({row['version']})" if "version" in row else str(row["framework"])
