"""Run a notebook with parameters: `python tools/run_notebook.py notebooks/09_phantom.ipynb HOME OTHERS='["shenzhen"]'`.

The executed notebook is in HOME/results/notebooks. A value is JSON; what is no JSON is text.
"""

import json
import sys
from pathlib import Path

import papermill

from lungnb.artefacts import environment
from lungnb.report.series import PAPERMILL


def value_of(text: str) -> object:
    """Return the value that a parameter's text stands for."""
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text


def main(words: list[str]) -> None:
    """Run the notebook that the first word names, in the folder that the second one names."""
    notebook, home = Path(words[0]), Path(words[1]).resolve()
    pairs = (word.partition("=") for word in words[2:])
    parameters = {name: value_of(text) for name, _, text in pairs}
    done = home / "results" / "notebooks" / notebook.name
    done.parent.mkdir(parents=True, exist_ok=True)
    with environment({"LUNGNB_HOME": str(home)}):
        papermill.execute_notebook(notebook, done, parameters, cwd=notebook.parent, **PAPERMILL)


if __name__ == "__main__":
    main(sys.argv[1:])
