"""Define networks and train them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "data": ["load_batches"],
        "losses": ["add_loss"],
        "models": ["MODELS", "add_network", "build_model"],
        "pretraining": ["fetch_weights"],
        "training": ["build_network", "read_history", "read_run", "train"],
    },
)
