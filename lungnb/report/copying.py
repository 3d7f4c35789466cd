"""Copy the notebooks of the series for users who installed the wheel."""

import shutil
from pathlib import Path

from lungnb.artefacts import NOTEBOOKS, PUBLISHED, given_path, series_folder
from lungnb.files import written


def copy_notebooks(folder: str | Path) -> Path:
    """Copy the series into a folder; return the first notebook.

    Write the notebooks to `folder/notebooks`, and the published tables that they show to `folder/results/published`.
    Data and results of the notebooks will go to `folder/data` and `folder/results`.

    Raises NotWritten if the folder already has notebooks, so that no changed notebook is lost.
    """
    source, folder = series_folder(), given_path(folder, "the folder for the notebooks")
    with written(folder / NOTEBOOKS) as temporary:
        temporary.mkdir()
        for notebook in sorted((source / NOTEBOOKS).glob("[0-9][0-9]_*.ipynb")):
            shutil.copyfile(notebook, temporary / notebook.name)
    if source.resolve() != folder.resolve() and not (folder / PUBLISHED).exists():
        with written(folder / PUBLISHED) as temporary:
            shutil.copytree(source / PUBLISHED, temporary, ignore=shutil.ignore_patterns("*.png", "*.jpg", "*.txt"))
    return folder / NOTEBOOKS / "00_start.ipynb"
