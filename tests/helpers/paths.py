"""The repository's root, and the folder of real data sets."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Read when this module is imported, because each test removes the variable.
REAL = (ROOT / Path(os.environ.get("LUNGNB_RAW") or "nowhere").expanduser()).resolve()
