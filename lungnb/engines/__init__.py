"""Run a trained network with Keras, ONNX Runtime or OpenVINO, once its masks are known to be those of Keras."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "engines": ["ENGINES", "Engine", "load_model"],
        "export": ["MEAN_DICE", "WORST_DICE", "ExportError", "Parity", "export_model", "open_network", "parities"],
    },
)
