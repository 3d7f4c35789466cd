"""Switch off what libraries report to their makers. `import lungnb` does it, before any of them is imported.

Each process imports lungnb for itself, so the switches also hold in notebooks, worker processes and on a Ray cluster.
A library that was imported before lungnb is not reached.
"""

import os
import sys

SWITCHES = {
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime sends events to Microsoft and keeps a device id in ~/.cache
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray sends usage statistics
}


def switch_off() -> None:
    """Set the documented switches, and hide the package with which OpenVINO sends events to Google Analytics.

    OpenVINO documents no switch but a file in the home folder. Without the package it takes a stub that sends nothing.
    """
    os.environ.update(SWITCHES)
    sys.modules.setdefault("openvino_telemetry", None)  # an import of it now raises ImportError
