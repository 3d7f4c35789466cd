"""Tables of scores."""

import dataclasses

import pandas as pd

from lungnb.evaluation.readable_tables import readable
from lungnb.evaluation.scoring import SCORE_COLUMNS
from lungnb.files import write_json


def table_of(**models):
    """A tidy table of the Dice of several models on the same images; all other scores are the same numbers."""
    rows = [
        {"model": name, "id": f"{n:03}", "patient": f"{n:03}", "split": "test", "unit": "%", "milliseconds": 10 + n}
        | dict.fromkeys(SCORE_COLUMNS, value)
        | {"tp": 100 * n, "fp": n, "fn": 0, "tn": 1000}
        for name, values in models.items()
        for n, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def store_scores(settings, **models):
    """Write what evaluate and train would have written of models with these Dice."""
    table = table_of(**models)
    for number, (name, own) in enumerate(table.groupby("model", sort=False)):
        (settings.results / name).mkdir(parents=True)
        own.drop(columns="model").to_csv(settings.results / name / "scores.csv", index=False)
        plan = {"settings": dataclasses.asdict(settings)}
        run = {"plan": plan, "parameters": 1000 * (number + 1), "epochs": 7, "wall_seconds": 90.0}
        write_json(settings.results / name / "run.json", run)
    return list(models)


def examined(**columns):
    count = len(next(iter(columns.values())))
    plain = {"regions": 2, "true_regions": 2, "area": 0.3, "true_area": 0.3, "disagreement": 0.01, "dice": 0.95}
    return pd.DataFrame({name: columns.get(name, [value] * count) for name, value in plain.items()})


def assert_readable(table):
    """Assert that `readable` gives each column of a table a title of its own, which is not its short name."""
    titles = [*readable(table).columns, readable(table).columns.name]
    assert not [title for title in titles if "_" in title or title in {*table} - {"p"}], titles
    assert len({*titles}) == len(titles)


def drawn(**best):
    """A table of adapting as `benchmarks/adapt.py` writes it: two draws of each set, the second 0.02 below `best`."""
    columns = ["dataset", "start", "images", "draw", "before", "after"]
    rows = [(name, "shipped", 0, 0, 0.95, 0.95) for name in best]
    for name, dice in best.items():
        for images in (1, 5):
            rows += [(name, "shipped", images, draw, 0.95, dice - 0.02 * draw) for draw in (0, 1)]
            rows += [(name, "random weights", images, draw, 0.95, 0.86 - 0.02 * draw) for draw in (0, 1)]
    return pd.DataFrame(rows, columns=columns)
