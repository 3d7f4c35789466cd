"""The benchmark of orders of correcting: the halves, the first films of each order, and the summary."""

import importlib

import numpy as np
import pandas as pd
import pytest

from helpers.paths import ROOT
from lungnb.evaluation.films import Film


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("correction_order")


class Ranked:
    """Predictions that rank films by the grey of their first pixel, and whose probability of lung is the image."""

    engine = None

    def by_uncertainty(self, _report):
        return sorted(range(len(self.cases)), key=lambda place: -int(self.cases[place].read(None).grey[0, 0]))


def make_films(count):
    """Films of two kinds, the lungs above or below; a later film is more uncertain. Two films are of each patient."""
    images = np.zeros((count, 64, 64), np.uint8)
    for place, image in enumerate(images):
        image[slice(32) if place < 3 else slice(32, 64), 8:56] = 250
        image[0, 0] = place
    return [Film(f"f{place}", f"p{place // 2}", image, image > 100) for place, image in enumerate(images)]


def test_no_patient_is_in_both_halves(benchmark):
    films = make_films(20)
    user, others = benchmark.halve(films, 0, 60, 100)
    assert len(user) == len(others) == 10 and {film.id for film in user + others} == {film.id for film in films}
    assert not {film.patient for film in user} & {film.patient for film in others}
    assert [len(half) for half in benchmark.halve(films, 0, 4, 3)] == [4, 3]
    assert [film.id for film in benchmark.halve(films, 1, 60, 100)[0]] != [film.id for film in user]


def test_the_first_films_of_each_order(benchmark, monkeypatch):
    films = make_films(10)
    monkeypatch.setattr(benchmark, "predict", lambda _, image: image / 255)
    firsts = {order: benchmark.first_places(order, films, Ranked(), 2, 0) for order in benchmark.ORDERS}
    assert firsts["uncertain"] == [9, 8]
    assert firsts["spread"] == [9, 2]  # the most uncertain film of the seven below, then of the three above
    assert len({*firsts["random"]}) == 2 and firsts["random"] == benchmark.first_places("random", films, None, 2, 0)


def test_hard_films_are_the_worst_before(benchmark):
    before, after = np.linspace(0.9, 0.99, 10), np.linspace(0.95, 0.995, 10)
    assert benchmark.scores(before, after) == pytest.approx(
        {"before": 0.945, "after": 0.9725, "hard_before": 0.9, "hard_after": 0.95}
    )


def test_orders_are_compared_with_random_in_the_same_draw(benchmark):
    rows = [("set", 5, draw, order, 0.9, 0.9 + gain) for draw, order, gain in (
        (0, "random", 0.01), (0, "uncertain", 0.03), (1, "random", 0.02), (1, "uncertain", 0.01), (2, "random", 0.5)
    )]  # fmt: skip
    table = pd.DataFrame(rows, columns=[*benchmark.KEYS, "before", "after"])
    row = benchmark.summary(table).loc[("set", 5, "uncertain")]
    assert (row["draws"], row["wins"]) == (2, 1)
    assert row[["over random", "lowest", "highest"]].tolist() == pytest.approx([0.005, -0.01, 0.02])
