"""Make masks for one image, for many, and for very many."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "predict": [
            "Segmentation", "best_model", "choose_model", "load_pretrained", "masks_folder", "network_name", "segment",
            "segment_many",
        ],
        "lungs": ["split_sides"],
        "journal": ["KEPT"],
        "listing": ["Options", "list_images"],
        "batch": ["segment_files"],
        "cluster": ["segment_on_cluster"],
    },
)  # fmt: skip
