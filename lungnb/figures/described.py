"""Alternative texts of figures: what a screen reader says instead of "image".

IPython stores such a text in an output, as `metadata["image/png"]["alt"]`, and nbconvert writes it into the report.
"""

import inspect
from collections.abc import Callable, Iterable

from matplotlib.axes import Axes
from matplotlib.figure import Figure

_COLORBAR = "<colorbar>"  # matplotlib's label of the axes of a colour bar


class DescribedFigure(Figure):
    """A figure with an alternative text for readers who cannot see it."""

    about = ""  # what the function draws, in one sentence

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        """Return no data but metadata, which IPython stores beside the PNG that its own formatter makes."""
        return {}, {"image/png": {"alt": alternative_text(self)}}


def alternative_text(figure: Figure) -> str:
    """Return what a figure shows: a sentence, the title, then each panel with its title, axes and words, the legend.

    Example:
        >>> from lungnb.figures.theme import subplots
        >>> figure, axis = subplots()
        >>> _ = axis.set(title="Training", xlabel="epoch", ylabel="Dice")
        >>> alternative_text(figure)
        'Training: Dice against epoch.'
    """
    legends = [*figure.legends, *(axis.get_legend() for axis in figure.axes)]
    entries = _in_words(text.get_text() for legend in legends if legend for text in legend.get_texts())
    panels = [_panel_text(axis) for axis in figure.axes if axis.get_label() != _COLORBAR]
    parts = [
        getattr(figure, "about", ""),
        figure.get_suptitle(),
        "; ".join(filter(None, panels)),
        f"Legend: {'; '.join(dict.fromkeys(entries))}" if entries else "",
    ]
    return " ".join(f"{' '.join(part.split()).rstrip('.')}." for part in parts if part.strip())


def first_sentence(draw: Callable[..., object]) -> str:
    """Return the first sentence of the docstring of a drawing function, without its verb.

    Example:
        >>> def draw_scores():
        ...     '''Draw the Dice of each image. The rest is for programmers.'''
        >>> first_sentence(draw_scores)
        'The Dice of each image.'
    """
    summary = " ".join((inspect.getdoc(draw) or "").split("\n\n")[0].split())
    sentence = summary.split(". ")[0].removeprefix("Draw ").rstrip(".")
    return f"{sentence[:1].upper()}{sentence[1:]}." if sentence else ""


def _panel_text(axis: Axes) -> str:
    """Return title, axes, words at ticks, and what is written inside, or nothing for a panel without any of them."""
    titles = _in_words(axis.get_title(place) for place in ("left", "center", "right"))
    if not axis.axison:  # matplotlib hides axis labels and ticks
        return ": ".join(filter(None, [" ".join(titles), ", ".join(_in_words(text.get_text() for text in axis.texts))]))
    labels = " against ".join(_in_words([axis.get_ylabel(), axis.get_xlabel()]))
    details = [labels]
    for name, ticks in (("rows", axis.get_yticklabels()), ("columns", axis.get_xticklabels())):
        if words := [word for word in _in_words(tick.get_text() for tick in ticks) if not _is_number(word)]:
            details.append(f"{name} {', '.join(words)}")
    if written := _in_words(text.get_text() for text in axis.texts):
        details.append(f"values {', '.join(written)}")
    return ": ".join(filter(None, [" ".join(titles), ", ".join(filter(None, details))]))


def _in_words(texts: Iterable[str]) -> list[str]:
    """Return texts in one line each, without those that are empty."""
    return [" ".join(text.split()) for text in texts if text.strip()]


def _is_number(word: str) -> bool:
    """Return whether a label of a tick is a number, also as matplotlib writes it: `−0.5`, `20%`, `$10^{-3}$`, `5 k`."""
    return not any(letter.isalpha() for letter in word.split("mathdefault")[-1].rstrip("kMG"))
