"""Notebooks under nbval run in their smallest setting and in a folder of their own, whatever the reader has set."""

import os
import tempfile


def pytest_configure(config):
    if config.getoption("--nbval-lax", default=False) or config.getoption("--nbval", default=False):
        folder = tempfile.TemporaryDirectory(prefix="lungnb-")
        config.add_cleanup(folder.cleanup)
        os.environ |= {"LUNGNB_HOME": folder.name, "LUNGNB_DATASET": "phantom", "LUNGNB_PROFILE": "quick"}
        for name in ("LUNGNB_RAW", "LUNGNB_SET", "LUNGNB_SEEDS"):
            os.environ.pop(name, None)
