"""View and correct masks in JupyterLab."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={"browser": ["Browser"], "corrections": ["Corrections"], "entry": ["browse"], "marks": ["Marks"]},
)
