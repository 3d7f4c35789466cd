"""Draw synthetic chest X-rays and CT slices with lung masks, and pictures that are neither."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "frame": ["Phantom", "Wild"],
        "findings": ["ADDITIONS"],
        "make": ["FILM_KINDS", "KINDS", "make_phantom", "write_phantoms"],
    },
)
