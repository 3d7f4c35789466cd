"""Turn a raw folder into a checked, split, prepared data set."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "sources": ["CATALOGUE", "RemoteFile", "Source", "catalogue", "find_source"],
        "fetch": ["DownloadError", "download"],
        "prepare": ["prepare_dataset"],
        "prepared": ["Prepared", "open_prepared", "read_manifest"],
        "leakage": ["find_leaks"],
        "check": ["check_dataset"],
    },
)
