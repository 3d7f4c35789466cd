import pytest

from lungnb.evaluation.published import read_published


def test_published_tables_are_read_wherever_results_are_written(tmp_path, monkeypatch):
    monkeypatch.setenv("LUNGNB_HOME", str(tmp_path))
    assert {"rule", "dataset", "false_alarms"} < {*read_published("review/review.csv").columns}


def test_a_missing_table_is_named():
    with pytest.raises(FileNotFoundError, match=r"none\.csv is not there yet: get the project's folder"):
        read_published("none.csv")
