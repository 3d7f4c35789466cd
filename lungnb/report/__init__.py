"""Run the series of notebooks, write the report, and publish results."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "adapt_report": ["adapt"],
        "checklist": ["card_html", "claim", "model_card"],
        "copying": ["copy_notebooks"],
        "series": ["list_notebooks", "run_series"],
        "page": ["write_report"],
        "parts": ["folded", "html_table", "verdict_html"],
        "publishing": ["publish", "save_artefact"],
        "scoring_report": ["ScoringReport", "score_report"],
    },
)
