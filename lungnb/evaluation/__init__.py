"""Score networks, and say which conclusions the scores support."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["published"],
    submod_attrs={
        "statistics": [
            "classification_table", "decisive_patients", "first_places", "mean_interval", "patient_means",
            "pooled_counts",
        ],
        "differences": ["paired_tests"],
        "evaluation": ["compare", "evaluate", "read_scores"],
        "scaling": ["choose_temperature"],
        "scoring": ["comparison_table", "distance_summary", "group_scores", "score_images"],
        "readable_tables": ["column_title", "readable"],
        "conclusions": ["verdict", "verdict_on_masks"],
        "repeats": ["compare_seeds", "seed_summary", "train_repeatedly", "variation"],
        "runs": ["list_runs", "other_settings", "remove_runs", "say_runs", "untrained_models"],
        "calibration": ["calibration_table", "examine", "save_temperature"],
        "review": ["review_gain", "review_reasons"],
        "mismatch": ["find_mismatches"],
        "external": ["ScoreOptions", "Scoring", "score", "score_folders"],
        "changes": ["score_changed"],
        "transfer": [
            "compare_untrained", "dataset_summary", "few_shot", "few_shot_sentence", "leave_one_out",
            "score_untrained", "train_across", "untrained_sentence",
        ],
        "whole_volumes": ["volume_scores"],
        "search": ["best_settings", "search_settings"],
        "speed": ["compare_exports"],
    },
)  # fmt: skip
