"""Run the notebooks in order."""

import json
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from tqdm import tqdm

from lungnb.artefacts import ARTEFACTS, HISTORY, NOTEBOOKS, environment, home, series_folder
from lungnb.datasets.origin import refuse_other_origin
from lungnb.files import remove, remove_leftovers, writable, written
from lungnb.presets import changes_everywhere, make_settings
from lungnb.report.page import write_report
from lungnb.settings import COMPARISON_VARIABLE, TITLES


class _ThisPython(AsyncKernelManager):
    """Start kernels with the interpreter of this process, whatever kernels are installed on the machine."""

    def _kernel_spec_manager_default(self) -> KernelSpecManager:
        return KernelSpecManager(kernel_dirs=[])  # without folders, it makes the native kernel from sys.executable


PAPERMILL = {
    "kernel_name": NATIVE_KERNEL_NAME,
    "kernel_manager_class": _ThisPython,
    "progress_bar": False,
    "coalesce_streams": True,  # a progress bar is kept as its last state
    "store_widget_state": False,  # so that pages show the picture that replaces a widget
    "extra_arguments": ["--IPKernelApp.log_level=ERROR"],  # or each kernel warns of its unencrypted local sockets
}
LAST_CORE_NOTEBOOK = 7  # the last one that a report needs; later ones run on request


def run_series(
    dataset: str | None = None, profile: str = "quick", everything: bool = False,
    changes: dict[str, Any] | None = None, seeds: int = 1,
) -> Path:  # fmt: skip
    """Run the notebooks in order on a data set and write the report; return the path of `report.html`.

    A notebook that trains a network is run only if the network is among the settings' `models`. The executed notebooks
    are in results/<dataset>/notebooks, also the one in which an error stopped the series.

    `dataset`, `profile` and `changes` of settings are as in `make_settings`. With `everything`, the notebooks after 07
    run too. Notebook 06 trains every network with as many random `seeds`.

    Raises RuntimeError that names the notebook and repeats the error if a cell fails. `report.html` and comparison/ are
    then those of the last series that did not fail.
    """
    import papermill

    changes = changes_everywhere() | (changes or {})
    settings = make_settings(dataset, profile, **changes)
    refuse_other_origin(settings.dataset, settings.prepared, settings.results)
    # Take the values from the settings, where paths are absolute, because notebooks run in another folder. JSON turns
    # tuples into lists, because papermill would turn them into text.
    changed = json.loads(json.dumps({name: getattr(settings, name) for name in changes}))
    parameters = {"DATASET": settings.dataset, "PROFILE": profile, "CHANGES": changed, "SEED_COUNT": seeds}
    notebooks = list_notebooks(everything, settings.models)
    remove_leftovers(settings.results)
    bar = _progress_bar(notebooks, settings.results, settings.epochs)
    here = environment({"LUNGNB_HOME": str(home())})  # because notebooks run in their own folder
    with here, _new_comparison(settings.comparison), bar as starts_cell:
        for notebook in notebooks:
            done = settings.results / "notebooks" / notebook.name
            values = {name: parameters[name] for name in papermill.inspect_notebook(notebook) if name in parameters}
            try:
                with writable(done):
                    done.parent.mkdir(parents=True, exist_ok=True)
                    papermill.execute_notebook(
                        notebook, done, values, cwd=notebook.parent, on_cell_execute=starts_cell(notebook), **PAPERMILL
                    )
            except papermill.PapermillExecutionError as error:
                raise RuntimeError(f"{notebook.name}: {error.ename}: {error.evalue} (See {done}.)") from error
        return write_report(settings, [settings.results / "notebooks" / notebook.name for notebook in notebooks])


@contextmanager
def _new_comparison(old: Path) -> Iterator[None]:
    """Let notebooks write into a copy of the comparison, which replaces the comparison if the block succeeds."""
    # Any file proves that the folder may be replaced, because the new folder has all of it that is not written again.
    with written(old, next((file.name for file in old.glob("*") if file.is_file()), None)) as new:
        shutil.copytree(old, new) if old.exists() else new.mkdir()
        for pattern in [artefact.pattern for artefact in ARTEFACTS if artefact.notebook == "06"]:
            for file in new.glob(pattern):
                remove(file)  # from a run with other models or more seeds
        with environment({COMPARISON_VARIABLE: new.name}):
            yield


def list_notebooks(everything: bool = False, models: Sequence[str] = tuple(TITLES)) -> list[Path]:
    """Return the notebooks up to 07, or all with `everything`. Leave out networks that are not in `models`."""
    paths = sorted((series_folder() / NOTEBOOKS).glob("[0-9][0-9]_*.ipynb"))
    others = set(TITLES) - set(models)  # a notebook is named after its network, as in 03_unet
    core = [path for path in paths if int(path.name[:2]) <= LAST_CORE_NOTEBOOK and path.stem[3:] not in others]
    return core + [path for path in paths if everything and int(path.name[:2]) > LAST_CORE_NOTEBOOK]


@contextmanager
def _progress_bar(notebooks: list[Path], results: Path, epochs: int) -> Iterator[Callable[[Path], Callable[..., None]]]:
    """Show a bar over all notebooks; give a function that makes papermill's hook for a notebook.

    A step is a cell, or an epoch of a cell that trains, because these take most of the time.
    """
    cells = [cell for path in notebooks for cell in nbformat.read(path, as_version=4).cells]
    total = sum(_steps(cell, epochs) for cell in cells)
    done = threading.Event()
    layout = "{l_bar}{bar}| {n}/{total} steps [{elapsed}, about {remaining} left]{postfix}"
    begun = running = 0  # steps of the cells before, and with the cell that runs
    with tqdm(total=total, file=sys.stdout, bar_format=layout, dynamic_ncols=True) as bar:

        def tick() -> None:
            # Because training is one long cell, show its epoch and let the clock run.
            while not done.wait(2):
                finished, text = _epoch(results, epochs)
                bar.n = min(begun + finished, max(running - 1, begun))
                bar.set_postfix_str(text)

        def starts_cell(notebook: Path) -> Callable[..., None]:
            number = 0

            def hook(cell: nbformat.NotebookNode, **_: object) -> None:
                nonlocal begun, number, running
                if "injected-parameters" not in cell.metadata.get("tags", []):
                    number += 1
                    begun, running = running, running + _steps(cell, epochs)
                    bar.n = begun
                bar.set_description_str(f"{notebook.stem}, cell {number}")

            return hook

        ticker = threading.Thread(target=tick, daemon=True)
        ticker.start()
        try:
            yield starts_cell
            bar.n = total
            bar.set_description_str("all notebooks")
        finally:
            done.set()
            ticker.join()


def _steps(cell: nbformat.NotebookNode, epochs: int) -> int:
    """Return by how many steps a cell advances the progress bar."""
    if cell.cell_type != "code":
        return 0
    return epochs if " train(settings" in cell.source else 1


def _epoch(results: Path, epochs: int) -> tuple[int, str]:
    """Return how many epochs of the model that is being trained are done, and the present one in words, or nothing."""
    for folder in results.glob("*/training"):
        history = folder.parent / HISTORY
        lines = len(history.read_text(encoding="utf-8").splitlines()) if history.exists() else 0
        finished = min(max(lines - 1, 0), epochs)
        number = min(finished + 1, epochs)
        return finished, f"{folder.parent.name}: epoch {number} of {epochs}"
    return 0, ""
