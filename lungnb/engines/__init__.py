"""Run a trained network with Keras, ONNX Runtime or OpenVINO, if its masks are those of Keras."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "engines": ["ENGINES", "Engine", "ExportError", "load_model"],
        "parity": ["MIN_MEAN_DICE", "MIN_WORST_DICE", "Parity", "parities"],
        "temperature": ["with_temperature"],
        "export": ["export_model", "open_network"],
    },
)
