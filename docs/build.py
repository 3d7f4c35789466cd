"""Build the site from docs/ and notebooks/ into docs/_build/html: `make docs`.

A warning is an error. No connection is used. `python docs/build.py --keep-going` names all warnings.
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main(arguments: list[str]) -> int:
    """Run Sphinx on the repository, with the settings in docs/conf.py; return its exit status."""
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}  # the API's modules are only imported
    from sphinx.cmd.build import build_main

    output = HERE / "_build"
    fixed = ["-W", "-q", "-b", "html", "-c", HERE, "-d", output / "doctrees", HERE.parent, output / "html"]
    return build_main([*arguments, *map(str, fixed)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
