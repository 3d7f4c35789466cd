"""Score networks, and say which conclusions the scores support."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "statistics": ["classification_table", "first_places", "mean_interval", "paired_tests", "pooled_counts"],
        "evaluation": ["compare", "evaluate", "read_scores", "score_images", "verdict"],
        "repeats": ["compare_seeds", "image_means", "over_seeds", "repeat", "variation"],
        "calibration": ["calibration_table", "disagreement", "doubts", "examine", "usefulness"],
        "transfer": ["across", "changed", "few_shot", "leave_one_out", "over_datasets", "worth", "zero_patient"],
        "search": ["best_settings", "search_settings"],
        "speed": ["compare_exports"],
    },
)
