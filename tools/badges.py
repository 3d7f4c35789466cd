"""Write the repository's address into the README and notebook 00: `make badges`.

The address is in one place, `Repository` under `[project.urls]` in pyproject.toml. The Colab and Binder badges are made
from it, and on Colab notebook 00 fetches the project from there. Without an address there are no badges.
"""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MARK = "<!-- badges -->"
START = "notebooks/00_start.ipynb"


def badges(address: str) -> str:
    """Return the badges of a GitHub address as Markdown; nothing without one."""
    if not address:
        return ""
    match = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(\.git)?/?", address)
    if not match:
        raise ValueError(f"{address}: not the address of a repository on GitHub; correct it in pyproject.toml.")
    project = match[1]
    links = {
        "Open in Colab": (
            "https://colab.research.google.com/assets/colab-badge.svg",
            f"https://colab.research.google.com/github/{project}/blob/HEAD/{START}",
        ),
        "Open in Binder": (
            "https://mybinder.org/badge_logo.svg",
            f"https://mybinder.org/v2/gh/{project}/HEAD?urlpath=lab/tree/{START}",
        ),
    }
    return " ".join(f"[![{title}]({picture})]({link})" for title, (picture, link) in links.items())


def with_address(readme: str, notebook: dict[str, Any], address: str) -> tuple[str, dict[str, Any]]:
    """Return the README's text, and notebook 00 as a dict, with the badges and the address in them."""
    readme = re.sub(f"{MARK}.*", lambda _: MARK + badges(address), readme)
    for cell in notebook["cells"][:3]:
        text = re.sub(f"{MARK}.*", lambda _: MARK + badges(address), "".join(cell["source"]))
        text = re.sub(r'("LUNGNB_REPOSITORY", )".*"', lambda match: f'{match[1]}"{address}"', text)
        cell["source"] = text.splitlines(keepends=True)
    return readme, notebook


def read() -> tuple[str, dict[str, Any], str]:
    """Return the README, notebook 00, and the address in pyproject.toml or nothing."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    notebook = json.loads((ROOT / START).read_text(encoding="utf-8"))
    return (ROOT / "README.md").read_text(encoding="utf-8"), notebook, project.get("urls", {}).get("Repository", "")


if __name__ == "__main__":
    readme, notebook = with_address(*read())
    (ROOT / "README.md").write_text(readme, encoding="utf-8")
    (ROOT / START).write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
