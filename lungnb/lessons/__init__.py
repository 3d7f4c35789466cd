"""Write sentences that interpret the reader's own results, and draw the charts of the lessons, for notebooks only."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "architectures", "comparison", "data_pictures", "data_sets", "diagrams", "elsewhere", "exports",
        "from_phantoms", "lesson_charts", "memory", "network_charts", "own_images", "searches", "text", "trainings",
        "uncertainty",
    ],
)  # fmt: skip
