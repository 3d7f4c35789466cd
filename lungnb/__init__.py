"""Lung segmentation in chest X-rays and CT: the functions that the notebooks share.

`import lungnb` is quick: TensorFlow is imported by the first function that needs it.
"""

import os
import sys

import lazy_loader

__version__ = "0.1.0"

# Switch off what libraries report to their makers, before any of them is imported. Each process imports lungnb, so the
# switches also hold in notebooks, worker processes and on a Ray cluster.
REPORTS_OFF = {
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime sends events to Microsoft and keeps a device id in ~/.cache
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray sends usage statistics
}
os.environ.update(REPORTS_OFF)
# OpenVINO sends events to Google Analytics with this package. Its only documented switch is a file in the home folder.
# Without the package it takes a stub that sends nothing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # importing it raises ImportError

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "settings": ["Settings"],
        "presets": ["first_settings", "make_settings", "recipes"],
        "masks": ["clean_mask", "overlay"],
        "formats": ["read_image", "read_mask", "read_table", "write_png"],
        "phantoms": ["make_phantom"],
        "datasets": ["catalogue", "download", "open_prepared", "prepare_dataset", "read_manifest"],
        "networks": ["add_loss", "add_network", "build_model", "fetch_weights", "load_batches", "train"],
        "engines": ["export_model", "load_model"],
        "segmentation": ["load_pretrained", "segment", "segment_files", "segment_many"],
        "evaluation": ["compare", "evaluate", "score"],
        "report": ["adapt", "copy_notebooks", "run_series", "save_artefact"],
        "browser": ["browse"],
    },
)
