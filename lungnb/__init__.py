"""Lung segmentation in chest X-rays and CT: the verbs that the notebooks share.

Importing this is quick: TensorFlow is loaded by the first verb that needs it.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

_PLACES = {
    "settings": ("Settings", "make_settings"),
    "images": ("read_image", "read_mask", "write_png"),
    "sources": ("catalogue", "download"),
    "prepare": ("prepare_dataset", "read_manifest"),
    "data": ("load_batches",),
    "models": ("build_model",),
    "training": ("train",),
    "inference": ("load_model", "load_pretrained", "segment"),
    "segmentation": ("segment_files",),
    "export": ("export_model",),
    "evaluation": ("compare", "evaluate"),
    "browser": ("browse",),
    "report": ("run_series",),
    "files": ("read_table",),
}
_PLACE = {name: module for module, names in _PLACES.items() for name in names}
__all__ = sorted(_PLACE)


def __getattr__(name: str) -> object:
    if name not in _PLACE:
        raise AttributeError(f"module 'lungnb' has no attribute {name!r}")
    return getattr(importlib.import_module(f"lungnb.{_PLACE[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
