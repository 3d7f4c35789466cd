"""Write down which modules of lungnb each Python process imports, at the moment it does, in the file $LUNGNB_IMPORTS.

Python imports a module of this name at its start if its folder is on PYTHONPATH. `publish_all.py` puts it there, so
that kernels and worker processes are seen, too, and also those that are killed.
"""

import os
import sys


class Recorder:
    """A finder that finds no module, and only writes down the names."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        """Append the name of a module of lungnb to the file."""
        if name.partition(".")[0] == "lungnb":
            with open(os.environ["LUNGNB_IMPORTS"], "a", encoding="utf-8") as file:
                file.write(f"{name}\n")


if "LUNGNB_IMPORTS" in os.environ:
    sys.meta_path.insert(0, Recorder)
