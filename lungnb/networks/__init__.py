"""Define networks and train them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "data": ["augment", "load_batches"],
        "costs": ["count_multiplications"],
        "models": ["MODELS", "build_model"],
        "losses": ["LOSSES", "get_loss"],
        "metrics": ["training_metrics"],
        "encoders": ["BACKBONES"],
        "pretraining": ["fetch_weights"],
        "training": ["build_network", "read_history", "read_run", "train"],
    },
)
