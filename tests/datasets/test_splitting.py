import re
import shutil
from pathlib import Path
from unicodedata import normalize

import pandas as pd
import pytest

from helpers.scans import CHEST, LUNGS, prepared, write_scans
from lungnb.__main__ import main
from lungnb.datasets import prepare, splitting, user_tables
from lungnb.datasets.pairing import Pair
from lungnb.datasets.prepare import prepare_dataset
from lungnb.datasets.prepared import open_prepared
from lungnb.datasets.sources import Source
from lungnb.files import read_json, write_json
from lungnb.formats.tables import write_table
from lungnb.settings import SPLITS, Settings


@pytest.fixture
def raw(tmp_path):
    return tmp_path / "scans"


def test_a_patient_is_in_one_split_alone(raw):
    write_scans(raw, [f"p{patient:02}_{n}" for patient in range(20) for n in range(3)])
    _, manifest = prepared(raw, patient_pattern=r"(p\d+)_")
    assert (manifest.groupby("patient").size() == 3).all()
    assert (manifest.groupby("patient")["split"].nunique() == 1).all()
    assert set(manifest["split"]) == set(SPLITS)


def counts(manifest):
    return manifest.drop_duplicates("patient")["split"].value_counts().to_dict()


def test_old_images_keep_their_split_when_images_are_added(raw):
    write_scans(raw, [f"b{n}" for n in range(25)])
    settings, before = prepared(raw)
    assert counts(before) == {"train": 17, "validation": 4, "test": 4}
    write_scans(raw, [f"{letter}{n}" for letter in "abc" for n in range(25)])
    after = prepared(raw)[1]
    assert counts(after) == {"train": 53, "validation": 11, "test": 11}  # as exact as if all had been there before
    before, after = (table.set_index("id")["split"] for table in (before, after))
    assert after[before.index].equals(before)
    news = open_prepared(settings).news
    assert news == "25 patients kept the split of the earlier manifest, 50 patients had none and got one."


def test_a_patient_who_is_removed_moves_no_other(raw):
    write_scans(raw, [f"{n}" for n in range(20)])
    before = prepared(raw)[1].set_index("id")["split"]
    for name in before.index[:3]:
        (raw / "images" / f"{name}.png").unlink()
    after = prepared(raw)[1].set_index("id")["split"]
    assert len(after) == 17 and after.equals(before[3:])


def test_a_split_that_would_be_empty_is_filled_anew(raw):
    write_scans(raw, [f"{n}" for n in range(20)])
    before = prepared(raw)[1]
    for name in before.loc[before["split"] == "test", "id"]:
        (raw / "images" / f"{name}.png").unlink()
    settings, after = prepared(raw)
    assert counts(after) == {"train": 12, "validation": 3, "test": 2}
    assert open_prepared(settings).news == "All patients were split again, because a split would have been empty."


@pytest.mark.parametrize("change", [{"split_fractions": (0.5, 0.25, 0.25)}, {"patient_pattern": "([ab].+)"}])
def test_other_settings_of_the_splits_deal_all_patients_again(raw, change):
    write_scans(raw, [f"a{n}" for n in range(20)])
    prepared(raw)
    write_scans(raw, [f"{letter}{n}" for letter in "ab" for n in range(20)])
    settings, changed = prepared(raw, **change)
    name = next(iter(change))
    assert open_prepared(settings).news == f"All patients were split again, because {name} changed."
    shutil.rmtree(settings.prepared)
    assert prepared(raw, **change)[1].equals(changed)


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("id", "../x"),
        ("image", "/etc/x.png"),
        ("source_image", "../../x.png"),
        ("split", "../x"),
        (None, None),
        ("source_mask", "a.png;../x.png"),
    ],
)
def test_a_manifest_that_is_empty_or_names_files_elsewhere_is_refused(raw, column, name):
    write_scans(raw, "abcdef")
    settings, manifest = prepared(raw)
    changed = manifest.assign(**{column: name}) if column else manifest.head(0)
    write_table(changed, settings.prepared / "manifest.csv")
    with pytest.raises(ValueError, match=r"manifest\.csv: is damaged, or .*; prepare it again: run"):
        open_prepared(settings)
    assert prepared(raw)[1].equals(manifest)


def test_an_earlier_version_s_set_is_prepared_again_and_says_so(raw, capsys):
    write_scans(raw, "abcdef")
    settings, manifest = prepared(raw)
    file = settings.prepared / "prepared.json"
    write_json(file, read_json(file) | {"format": 5})
    write_table(manifest.drop(columns="group"), settings.prepared / "manifest.csv")
    with pytest.raises(
        ValueError, match=r"manifest\.csv: is damaged, or an earlier version of lungnb wrote it; prepare it again: run"
    ):
        open_prepared(settings)
    assert main(["prepare", str(raw)]) == 0
    assert (
        "An earlier version of lungnb prepared this data set, so it was prepared and split" in capsys.readouterr().out
    )
    assert open_prepared(settings).manifest.equals(manifest)


def test_groups_come_from_the_names_of_images(raw, monkeypatch):
    source = Source("scans", "", "own", "", "", group_endings=(("_0", "well"), ("_1", "sick")))
    monkeypatch.setattr(prepare, "find_source", lambda _: source)
    write_scans(raw, [f"p_0{n:02}_{int(n >= 12)}" for n in range(20)])  # only the end of a name counts
    settings, manifest = prepared(raw)
    assert manifest["group"].tolist() == ["well"] * 12 + ["sick"] * 8
    assert open_prepared(settings).groups["p_019_1"] == "sick"
    sizes = open_prepared(settings).sizes()
    assert sizes.to_numpy().tolist() == [
        ["train", "sick", 6, 6], ["train", "well", 8, 8], ["validation", "sick", 1, 1], ["validation", "well", 2, 2],
        ["test", "sick", 1, 1], ["test", "well", 2, 2],
    ]  # fmt: skip


def test_groups_sex_and_age_come_from_a_table(raw, tmp_path, capsys):
    names = [f"{n:02}" for n in range(20)]
    write_scans(raw, names)
    groups = ["rare"] + ["well", "sick"] * 9 + [""]
    lines = [
        f"{name};p{name};{group};{'FM'[n % 2]};{50 + n}"
        for n, (name, group) in enumerate(zip(names, groups, strict=True))
    ]
    (tmp_path / "patients.csv").write_text("id;Patient;Group; sex ;AGE\n" + "\n".join(lines))
    _, manifest = prepared(raw, patient_file=str(tmp_path / "patients.csv"))
    assert manifest["group"].tolist() == groups
    assert manifest["sex"].tolist() == ["F", "M"] * 10 and manifest["age"].tolist() == [*range(50, 70)]
    assert counts(manifest) == {"train": 14, "validation": 3, "test": 3}
    assert main(["prepare", str(raw), "--set", f"patient_file={tmp_path / 'patients.csv'}"]) == 0
    said = capsys.readouterr().out
    assert "Group rare has 1 patient, too few for each of the 3 splits.\n" in said and " sick " in said
    assert said.count("too few") == 1  # images whose group is not stated are no group


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,patient,group\na,p,x\na,p,y\n", "a has more than one group"),
        ("id,patient,group,Group\na,p,x,y\n", "has the column group more than once"),
    ],
)
def test_a_table_whose_groups_are_unclear_is_refused(raw, tmp_path, content, message):
    write_scans(raw, "abc")
    (tmp_path / "list.csv").write_text(content)
    with pytest.raises(ValueError, match=rf"list\.csv: {message}"):
        prepared(raw, patient_file=str(tmp_path / "list.csv"))


def test_without_a_test_share_there_is_no_test_split(raw):
    write_scans(raw, [f"{n}" for n in range(20)])
    settings, manifest = prepared(raw, split_fractions=(0.85, 0.15, 0.0))
    assert set(manifest["split"]) == {"train", "validation"}
    assert not (settings.prepared / "test").exists()


@pytest.mark.parametrize("count", [3, 4, 5, 7])
def test_few_patients_fill_every_split(raw, count):
    write_scans(raw, [f"{n}" for n in range(count)])
    assert set(prepared(raw)[1]["split"]) == set(SPLITS)


def test_too_few_patients_are_an_error(raw):
    write_scans(raw, ["p1_1", "p1_2", "p2_1", "p2_2"])
    with pytest.raises(ValueError, match="2 patients cannot make the splits train, validation, test"):
        prepared(raw, patient_pattern=r"(p\d+)_")
    assert len(prepared(raw, patient_pattern=r"(p\d+)_", split_fractions=(0.85, 0.15, 0.0))[1]) == 4


def test_folds_test_every_patient_once(raw):
    write_scans(raw, [f"p{patient:02}_{n}" for patient in range(20) for n in range(2)])
    tested = []
    for fold in range(1, 6):
        settings, manifest = prepared(raw, patient_pattern=r"(p\d+)_", folds=5, fold=fold)
        assert settings.prepared.name.endswith(f".fold{fold}of5")
        assert (manifest.groupby("patient")["split"].nunique() == 1).all()
        counts = manifest.drop_duplicates("patient")["split"].value_counts().to_dict()
        assert counts == {"train": 13, "validation": 3, "test": 4}  # of 16, 70 to 15
        tested += manifest.loc[manifest["split"] == "test", "id"].tolist()
    assert sorted(tested) == sorted(manifest["id"])


def test_too_few_patients_for_the_folds_are_an_error(raw):
    write_scans(raw, "abcdefgh")
    with pytest.raises(ValueError, match="3 folds need three patients each, and 8 are too few"):
        prepared(raw, folds=3)


def test_a_published_split_is_followed(raw, tmp_path):
    write_scans(raw, "abcde")
    listed = {"a": "test", "b": "train", "c": "validation", "e": "train", "gone": "test"}
    pd.DataFrame(listed.items(), columns=["id", "split"]).to_csv(tmp_path / "split.csv", index=False)
    settings, manifest = prepared(raw, split_file=str(tmp_path / "split.csv"))
    assert manifest.set_index("id")["split"].to_dict() == {name: listed[name] for name in "abce"}
    assert open_prepared(settings).excluded.to_numpy().tolist() == [["images/d.png", "not in the split file"]]


def test_a_split_that_comes_with_the_data_set_is_found_there(raw):
    write_scans(raw, "abc")
    pd.DataFrame(zip("abc", SPLITS, strict=True), columns=["id", "split"]).to_csv(raw / "official.csv", index=False)
    assert prepared(raw, split_file="official.csv")[1]["split"].tolist() == [*SPLITS]
    assert splitting.split_path("montgomery-gaal2020", "montgomery").is_file()  # it comes with lungnb


def test_patients_come_from_a_table(raw, tmp_path):
    write_scans(raw, [f"scan{n:02}" for n in range(24)])
    table = {f"scan{n:02}" + (".png" if n % 2 else ""): f"patient {n // 3}" for n in range(23)}  # names, or files
    pd.DataFrame(table.items(), columns=["id", "patient"]).to_csv(tmp_path / "patients.csv", index=False)
    settings, manifest = prepared(raw, patient_file=str(tmp_path / "patients.csv"), patient_pattern="(scan)")
    assert manifest["patient"].tolist() == [f"patient {n // 3}" for n in range(23)]
    assert (manifest.groupby("patient")["split"].nunique() == 1).all()
    assert open_prepared(settings).excluded.to_numpy().tolist() == [["images/scan23.png", "not in the patient file"]]


@pytest.mark.parametrize("ending", ["", ".nii.gz"])
@pytest.mark.parametrize("has_channel", [True, False])
def test_ids_may_have_the_channel_that_images_lack_and_lack_the_one_that_they_have(raw, tmp_path, ending, has_channel):
    """In nnU-Net data, the channel is in the names of images, and in some lists."""
    write_scans(raw, ["a", "b", "c"] if has_channel else ["a_0000", "b_0000", "c_0000"])
    end = f"{'_0000' if has_channel else ''}{ending}"
    (tmp_path / "list.csv").write_text("id,patient\n" + "".join(f"{name}{end},patient {name}\n" for name in "abc"))
    _, manifest = prepared(raw, patient_file=str(tmp_path / "list.csv"))
    assert manifest["patient"].tolist() == ["patient a", "patient b", "patient c"]


def test_an_id_without_a_channel_is_not_taken_for_another_image(raw, tmp_path):
    write_scans(raw, ["a", "a_0000", "b", "c"])
    (tmp_path / "list.csv").write_text("id,patient\na,p\nb,q\nc,r\n")
    settings, manifest = prepared(raw, patient_file=str(tmp_path / "list.csv"))
    assert manifest["id"].tolist() == ["a", "b", "c"]
    assert open_prepared(settings).excluded["file"].tolist() == ["images/a_0000.png"]


@pytest.mark.parametrize(
    ("field", "content", "message"),
    [
        ("split", "name,split\na,test\n", "needs the columns id and split"),
        ("split", "id,split\na,exam\n", "split must be one of train, validation, test"),
        ("split", "id,split\na,\n", "split is empty for a"),
        ("patient", "id,split\na,test\n", "needs the columns id and patient, separated by a comma; it has id, split"),
        ("patient", "id|patient\na|p\n", r"needs the columns id and patient, separated by a comma; it has id\|patient"),
        (
            "patient",
            "id,ID,patient\na,b,p\n",
            "needs the columns id and patient, separated by a comma; it has id, ID, p",
        ),
        ("patient", "id,patient\na,p\na,q\n", "a has more than one patient"),
        ("patient", "", "the file is empty"),
        ("patient", "id,patient\na,\n", "patient is empty for a"),
        ("patient", "id,patient\na,p\nb,#N/A\n", "patient of b is #N/A, the error of a formula"),
        ("patient", "id,patient\n", "none of its ids is an image: it has no row, the images a"),
        ("patient", "id,patient\nx1,p\n", r"none of its ids is an image: it has x1, the images a\. Write the names"),
    ],
)
def test_a_file_of_another_form_is_named(raw, tmp_path, field, content, message):
    write_scans(raw, "abc")
    (tmp_path / "list.csv").write_text(content)
    with pytest.raises(ValueError, match=rf"list\.csv: {message}"):
        prepared(raw, **{f"{field}_file": str(tmp_path / "list.csv")})
    with pytest.raises(FileNotFoundError, match="put the file there"):
        prepared(raw, **{f"{field}_file": str(tmp_path / "none.csv")})


def test_a_manifest_reproduces_its_split_elsewhere(raw, tmp_path):
    """This holds even if patients would be separated otherwise, and if other patients were added since."""
    write_scans(raw, [f"p{n // 2}_{n}" for n in range(12)])
    settings, first = prepared(raw, patient_pattern=r"(p\d+)_")
    handed = str((settings.prepared / "manifest.csv").rename(tmp_path / "manifest.csv"))
    write_scans(raw, ["p9_20"])
    settings, second = prepared(raw, split_file=handed, patient_file=handed)
    pd.testing.assert_frame_equal(second, first)
    assert open_prepared(settings).excluded["file"].tolist() == ["images/p9_20.png"]


def test_a_manifest_of_volumes_reproduces_its_split(raw, tmp_path):
    from helpers import volumes

    for name in ("case_a", "case_b", "case_c"):
        volumes.write_nifti(raw / "images" / f"{name}.nii", CHEST)
        volumes.write_nifti(raw / "masks" / f"{name}.nii", LUNGS)
    _, first = prepared(raw, volume_slices=2)
    splits = dict(zip(first["split"].unique(), ["test", "train", "validation"], strict=True))
    first["split"] = first["split"].map(splits)  # another than the names would give
    first.to_csv(tmp_path / "manifest.csv", index=False)
    _, second = prepared(raw, volume_slices=3, split_file=str(tmp_path / "manifest.csv"))
    assert second.groupby("patient")["split"].first().to_dict() == first.groupby("patient")["split"].first().to_dict()
    assert len(second) == 9


@pytest.mark.parametrize("name", ["NA", "null", "nan", "None"])
def test_a_patient_may_be_called_what_pandas_takes_for_a_gap(raw, tmp_path, name):
    write_scans(raw, ["a", "b", "c", name])
    patients = "".join(f"{image},{image}\n" for image in ("a", "b", "c", name))
    (tmp_path / "patients.csv").write_text(f"\ufeffid, patient\n{patients}", encoding="utf-8")
    _, manifest = prepared(raw, patient_file=str(tmp_path / "patients.csv"))
    assert set(manifest["id"]) == set(manifest["patient"]) == {"a", "b", "c", name}


def write_folders(raw, folders, count):
    """Write images whose names begin anew in each folder."""
    for folder in folders:
        write_scans(raw / folder, [f"{n:04}" for n in range(count)])


def test_folders_called_after_splits_are_the_splits(raw):
    write_folders(raw, ["Training", "val", "test"], 6)
    _, manifest = prepared(raw)
    folder = manifest["source_image"].str.split("/").str[0]
    assert folder.map({"Training": "train", "val": "validation", "test": "test"}).equals(manifest["split"])
    assert manifest["patient"].nunique() == 18  # and no patients


def test_a_split_without_a_folder_takes_its_share_of_training(raw):
    write_folders(raw, ["train", "test"], 20)
    _, manifest = prepared(raw)
    assert (manifest["split"][manifest["source_image"].str.startswith("test/")] == "test").all()
    others = manifest[manifest["source_image"].str.startswith("train/")]
    assert others["split"].value_counts().to_dict() == {"train": 17, "validation": 3}


def test_a_split_without_a_folder_has_the_same_share_of_each_group(raw, tmp_path):
    write_folders(raw, ["train", "test"], 40)
    groups = {f"{n:04}": "rare" if n < 20 else "usual" for n in range(40)}
    lines = [
        f"{split}/images/{name}.png,{split} {name},{group}"
        for split in ("train", "test")
        for name, group in groups.items()
    ]
    (tmp_path / "list.csv").write_text("id,patient,group\n" + "\n".join(lines))
    _, manifest = prepared(raw, patient_file=str(tmp_path / "list.csv"))
    sizes = manifest.groupby(["split", "group"]).size()
    assert sizes.to_dict() == {
        ("test", "rare"): 20, ("test", "usual"): 20, ("train", "rare"): 17, ("train", "usual"): 17,
        ("validation", "rare"): 3, ("validation", "usual"): 3,
    }  # fmt: skip


def test_both_missing_splits_come_from_the_training_folder(raw):
    write_folders(raw, ["train"], 20)
    assert counts(prepared(raw)[1]) == {"train": 14, "validation": 3, "test": 3}


def test_too_few_patients_for_a_split_without_a_folder_are_an_error(raw):
    write_folders(raw, ["train", "test"], 1)
    with pytest.raises(ValueError, match="1 patients in the folder for training are too few"):
        prepared(raw)


def test_folds_have_precedence_over_folders(raw):
    write_folders(raw, ["train", "test"], 10)
    assert (prepared(raw, folds=5, fold=2)[1]["split"] == "test").sum() == 4


def test_a_pattern_that_fits_no_name_is_an_error(raw):
    write_scans(raw, [f"pat{patient:02}_{n}" for patient in range(5) for n in range(4)])
    with pytest.raises(ValueError, match=r"matches no image's name, such as pat0"):
        prepared(raw, patient_pattern=r"(PAT\d+)")


def test_a_pattern_with_a_slash_finds_patients_in_paths(raw):
    for patient in range(6):
        write_scans(raw / f"P{patient}", [f"IM{patient}{n}" for n in range(3)])
    assert prepared(raw)[1]["patient"].nunique() == 18  # of names that are all different nothing is made
    _, manifest = prepared(raw, patient_pattern=r"^(P\d)/")
    assert manifest.groupby("patient").size().to_dict() == {f"P{n}": 3 for n in range(6)}


def test_where_a_pattern_finds_nothing_each_name_is_a_patient(raw):
    write_scans(raw, ["pat1", "pat2", "x1_1", "x1_2"])
    assert set(prepared(raw, patient_pattern=r"(x\d+)_|pat")[1]["patient"]) == {"pat1", "pat2", "x1"}


@pytest.mark.parametrize("setting", ["split_file", "patient_file"])
@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs a device")
def test_a_table_that_is_a_device_or_far_too_large_is_refused(tmp_path, monkeypatch, setting):
    write_scans(tmp_path / "scans", ["a", "b", "c", "d"])
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    with pytest.raises(ValueError, match=r"zero\.csv: not a file"):
        prepare_dataset(Settings(dataset=str(tmp_path / "scans"), **{setting: str(tmp_path / "zero.csv")}), False)
    monkeypatch.setattr(user_tables, "MAX_TABLE_BYTES", 10)
    (tmp_path / "long.csv").write_text("id,split\na,train\n")
    with pytest.raises(ValueError, match=r"long\.csv: has more than 10 bytes"):
        prepare_dataset(Settings(dataset=str(tmp_path / "scans"), **{setting: str(tmp_path / "long.csv")}), False)


ROWS = [("id", "patient"), *((f"{n:03}", f"Pat{n // 2}") for n in range(12))]


def as_text(separator=",", rows=ROWS, end="\r\n"):
    return "".join(separator.join(row) + end for row in rows)


def rows_with(name=str, patient=str, heading=str):
    return [tuple(map(heading, ROWS[0])), *((name(image), patient(of)) for image, of in ROWS[1:])]


@pytest.mark.parametrize(
    "content",
    [
        as_text().encode(),
        as_text(end="\r").encode(),
        as_text(";").encode("utf-8-sig"),
        as_text("\t").encode("utf-16"),
        b"\xfe\xff" + as_text("\t").encode("utf-16-be"),
        ("sep=;\r\n" + as_text(";")).encode(),
        as_text(", ").encode(),
        as_text(" ; ").encode(),
        (as_text(";") + ";\r\n" * 3).encode(),
        as_text(rows=rows_with(heading=str.upper)).encode(),
        as_text(rows=rows_with(heading=lambda name: f" {name.title()} ")).encode(),
        as_text(rows=rows_with(name="{}.png".format)).encode(),
        as_text(rows=rows_with(name="{}.DCM".format)).encode(),
        as_text(rows=rows_with(name="images\\{}.png".format)).encode(),
        as_text(rows=rows_with(name='"{}"'.format)).encode(),
        as_text(rows=rows_with(name="{} ".format, patient="{} ".format)).encode(),
        as_text(rows=rows_with(name="{}.0".format)).encode(),
        re.sub(r"(?m)(?<=\d)$", ",,", as_text()).encode(),  # more separators than the first line has
    ],
)
def test_tables_of_spreadsheets_are_read(raw, tmp_path, content):
    write_scans(raw, [image for image, _ in ROWS[1:]])
    (tmp_path / "table.csv").write_bytes(content)
    _, manifest = prepared(raw, patient_file=str(tmp_path / "table.csv"))
    assert [*zip(manifest["id"], manifest["patient"], strict=True)] == ROWS[1:]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            as_text(rows=rows_with(patient="Müller{}".format)).encode("cp1252"),
            r"is not in UTF-8.* Save it as CSV in UTF-8",
        ),
        (as_text().encode("utf-16-le"), r"is not a text in UTF-8\. Save it as CSV in UTF-8"),
        (b"PK\x03\x04" + bytes(range(256)), r"is a spreadsheet's own format, not a CSV\. Save it as CSV in UTF-8"),
        (b"\xd0\xcf\x11\xe0" + bytes(99), r"is a spreadsheet's own format, not a CSV\. Save it as CSV in UTF-8"),
        (
            as_text(rows=rows_with(name=lambda name: str(int(name)))).encode(),
            r"none of its ids is an image: it has 0, the images 000\. A spreadsheet drops zeros in front",
        ),
        (b"id,patient\n000,A\n001,a\n", r"the patients A and a differ only in capitals, hyphens"),
        (b"id,patient\n000,P-07\n001,p7\n", r"the patients P-07 and p7 differ only in capitals, hyphens"),
        (b"id,patient\n000,7\n001,7.0\n", r"the patients 7 and 7\.0 differ only in capitals, hyphens"),
        (
            as_text(rows=rows_with(patient="Smith, {}".format)).encode(),
            r"a row has more cells than the first line\. Write a cell that contains ',' in quotation marks",
        ),
    ],
)
def test_tables_in_doubt_are_explained(raw, tmp_path, content, message):
    write_scans(raw, [image for image, _ in ROWS[1:]])
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(ValueError, match=rf"table\.csv: {message}"):
        prepared(raw, patient_file=str(tmp_path / "table.csv"))


def test_blanks_and_invisible_characters_do_not_make_another_patient_or_group(raw, tmp_path):
    names = ["P 1", "P  1 ", "P\u00a01", "P\u200b 1", "2.10", "2.1"]
    write_scans(raw, [f"{number:03}" for number in range(6)])
    rows = [("id", "patient", "group")]
    rows += [(f"{number:03}", name, "ill" + number * " ") for number, name in enumerate(names)]
    (tmp_path / "table.csv").write_text(as_text(rows=rows), encoding="utf-8")
    _, manifest = prepared(raw, patient_file=str(tmp_path / "table.csv"))
    assert manifest.set_index("id")["patient"].tolist() == ["P 1"] * 4 + ["2.10", "2.1"]
    assert {*manifest["group"]} == {"ill"}


def test_some_lost_zeros_are_reported_too(raw, tmp_path):
    write_scans(raw, ["099", "100", "101"])
    (tmp_path / "table.csv").write_text("id,patient\n99,a\n100,b\n101,c\n")
    with pytest.raises(ValueError, match=r"some of its ids are no images: it has 99, the images 099"):
        prepared(raw, patient_file=str(tmp_path / "table.csv"))


def test_an_id_that_names_an_image_is_not_used_for_another(raw, tmp_path):
    write_scans(raw, ["a1", "b", "c", "d"])
    write_scans(raw, ["A2"])
    rows = ["A1,p", "a2.png,q", "A2,r", "b,s", "c,t", "ward1/d,u", "ward2/d,v"]  # two may be d, so neither is
    (tmp_path / "table.csv").write_text("\n".join(["id,patient", *rows]))
    settings, manifest = prepared(raw, patient_file=str(tmp_path / "table.csv"))
    assert manifest.set_index("id")["patient"].to_dict() == {"a1": "p", "A2": "r", "b": "s", "c": "t"}
    assert open_prepared(settings).excluded["file"].tolist() == ["images/d.png"]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_umlauts_in_tables_may_be_one_character_or_two(raw, tmp_path, form):
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    write_scans(raw, [normalize(form, f"Bär{n}") for n in range(6)])
    patients = [normalize("NFC", "Jörg"), normalize("NFD", "Jörg"), *"2345"]
    rows = [("id", "patient"), *((normalize(other, f"Bär{n}"), patient) for n, patient in enumerate(patients))]
    (tmp_path / "table.csv").write_text(as_text(rows=rows), encoding="utf-8")
    _, manifest = prepared(raw, patient_file=str(tmp_path / "table.csv"))
    assert manifest["patient"].tolist() == ["Jörg", "Jörg", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    "error",
    ["#N/A", "#REF!", "#NAME?", "#VALUE!", "#DIV/0!", "#NULL!", "#NUM!", "#NV", "#BEZUG!", "#WERT!", "#ZAHL!"],
)
def test_an_error_value_of_a_formula_is_not_taken_for_a_patient(tmp_path, error):
    (tmp_path / "table.csv").write_text(f"id,patient\na,p\nb,{error}\n")
    with pytest.raises(ValueError, match=f"patient of b is {re.escape(error)}, the error of a formula"):
        splitting.assign_patients([], tmp_path / "table.csv")


@pytest.mark.parametrize(
    ("splits", "is_split"),
    [(["train", "test"], True), (["train"], True), (["train", "test", ""], False), (["validation", "test"], False)],
)
def test_folders_are_splits_if_every_image_is_in_one_and_some_are_for_training(splits, is_split):
    pairs = [Pair(f"{n}", f"{n}", Path(f"{n}.png"), (), split) for n, split in enumerate(splits)]
    assert splitting.has_split_folders(pairs) == is_split


def test_of_two_groups_that_are_as_frequent_the_order_of_images_decides_nothing():
    for images in (["x", "b"], ["b", "x"]):
        assert splitting.groups_of_patients([("p", group) for group in images]) == {"p": "b"}
