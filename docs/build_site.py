"""Build the site from docs/ and notebooks/ into docs/_build/html: `make docs`. Another folder may be named.

A warning is an error. No connection is used.
"""

import os
import sys
from pathlib import Path

from sphinx.cmd.build import build_main

HERE = Path(__file__).parent


def main(output: Path) -> int:
    """Run Sphinx on the repository, with the settings in docs/conf.py; return its exit status."""
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}  # modules are imported, nothing is run
    status = build_main(
        ["-Wq", "-c", str(HERE), "-d", str(output / "doctrees"), str(HERE.parent), str(output / "html")]
    )
    if status == 0:
        print(output / "html" / "index.html")
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "_build"))
