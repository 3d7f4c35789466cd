"""Figures as a notebook shows them."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure


def drawn(figure):
    """Render a figure; return its axes that are not empty."""
    assert isinstance(figure, Figure) and not plt.get_fignums()  # or a notebook would show it twice
    sentence = figure.about
    assert len(sentence) > 20 and sentence[0].isupper() and sentence.endswith(".") and "`" not in sentence
    assert figure._repr_mimebundle_()[1]["image/png"]["alt"].startswith(sentence)
    figure.canvas.draw()
    return [axis for axis in figure.axes if axis.has_data()]
