"""Put the notebooks and the tables of published results into the wheel. pyproject.toml has everything else."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SERIES = ("notebooks/*.ipynb", "results/published/**/*.csv", "results/published/**/*.json")


class WithSeries(build_py):
    """Also copy the series into `lungnb/series`, where `lungnb.copy_notebooks` finds it."""

    def run(self) -> None:
        """Build, then copy. An editable installation needs no copy, because it reads the checkout."""
        super().run()
        if self.editable_mode:
            return
        for file in (file for pattern in SERIES for file in Path().glob(pattern)):
            copy = Path(self.build_lib, "lungnb", "series", file)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)


setup(cmdclass={"build_py": WithSeries})
