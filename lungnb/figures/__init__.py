"""Draw charts and image grids."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["pictures", "plots"],
    submod_attrs={
        "charts": [
            "adaptation_chart", "export_chart", "few_shot_chart", "generalisation_chart", "learning_curve",
            "reliability_diagram", "search_chart", "uncertainty_chart",
        ],
        "difference_charts": ["difference_chart"],
    },
)  # fmt: skip
