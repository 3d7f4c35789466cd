"""Notebooks under nbval run in their smallest setting and in a folder of their own, whatever the reader has set.

LUNGNB_NBVAL_HOME names the folder if several processes share it, so that a notebook finds what an earlier one made.
"""

import os
import tempfile


def pytest_configure(config):
    if config.getoption("--nbval-lax", default=False) or config.getoption("--nbval", default=False):
        home = os.environ.get("LUNGNB_NBVAL_HOME")
        if not home:
            folder = tempfile.TemporaryDirectory(prefix="lungnb-")
            config.add_cleanup(folder.cleanup)
            home = folder.name
        os.environ |= {"LUNGNB_HOME": home, "LUNGNB_DATASET": "phantom", "LUNGNB_PROFILE": "quick"}
        for name in ("LUNGNB_RAW", "LUNGNB_SET", "LUNGNB_SEEDS"):
            os.environ.pop(name, None)
