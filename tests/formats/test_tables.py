"""Tables by hand; `test_names.py` has any text that a computer can think of."""

import os

import numpy as np
import pandas as pd
import pytest

from lungnb.formats.tables import escape, read_table, write_table


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+2", "%3D1+2"), ("'=1", "'%3D1"), (" a", "%20a"), ('a; "+b', 'a; "%2Bb'), ("a;-b", "a;%2Db"),
        ("＝1", "%EF%BC%9D1"), ("a=1;b", "a=1;b"), ("a b", "a b"), ("50%", "50%"), ("%41", "%2541"), ("a\nb", "a%0Ab"),
        ("\udcff", "%FF"),
    ],
)  # fmt: skip
def test_formulas_and_what_cannot_be_printed_are_encoded(text, cell):
    assert escape(text) == cell


def test_columns_of_names_hold_text_and_others_numbers(tmp_path):
    (tmp_path / "table.csv").write_text("id,patient,group,what,dice\n001,NA,,NA,0.5\n%3D1,null,1e5,%0A%FF,\n")
    table = read_table(tmp_path / "table.csv")
    assert table[["id", "patient", "group", "what"]].to_numpy().tolist() == [
        ["001", "NA", "", "NA"], ["=1", "null", "1e5", "\n\udcff"]
    ]  # fmt: skip
    np.testing.assert_array_equal(table["dice"], [0.5, np.nan])


def test_labels_come_back_too(tmp_path):
    table = pd.DataFrame({"=what": [1, 2]}, index=pd.Index(["+a", "b"], name="-model"))
    write_table(table, tmp_path / "table.csv", index=True)
    assert (tmp_path / "table.csv").read_text().splitlines() == ["%2Dmodel,%3Dwhat", "%2Ba,1", "b,2"]
    pd.testing.assert_frame_equal(read_table(tmp_path / "table.csv", index_col=0), table, check_index_type=False)


@pytest.mark.parametrize("content", [b"", b"id\n\xc0\n", b'id,dice\na,"1\n', b"id,dice\na,1,2\nb,1,2,3\n"])
def test_what_is_no_table_is_named(tmp_path, content):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.csv: is damaged, or no CSV file\. Restore it, or remove it"):
        read_table(tmp_path / "x.csv")


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (tmp_path / "pipe.csv", tmp_path):
        with pytest.raises(ValueError, match=r": not a file\."):
            read_table(path)
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "gone.csv")
