"""Adapt a network, and draw the estimate of the benefit beside it."""

import functools
from collections.abc import Callable
from typing import ParamSpec

from lungnb.artefacts import ESTIMATE_CHART
from lungnb.evaluation import adaptation
from lungnb.evaluation.adaptation import Adaptation
from lungnb.figures.charts import adaptation_chart
from lungnb.files import written

P = ParamSpec("P")


def _with_chart(adapt: Callable[P, Adaptation]) -> Callable[P, Adaptation]:
    """Return a function that adapts a network, and writes the chart of the estimate, if there is one."""

    @functools.wraps(adapt)
    def adapt_and_draw(*args: P.args, **options: P.kwargs) -> Adaptation:
        done = adapt(*args, **options)
        if done.estimate is not None:
            with written(done.file.with_name(ESTIMATE_CHART)) as file:
                adaptation_chart(done.estimate).savefig(file)
        return done

    return adapt_and_draw


adapt = _with_chart(adaptation.adapt)
