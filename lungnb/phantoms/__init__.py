"""Draw synthetic chest X-rays and CT slices with exact lung masks."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"frame": ["Phantom", "Wild"], "make": ["KINDS", "make_phantom", "write_phantoms"]}
)
