import pandas as pd
import pytest

from lungnb.datasets.copies import MAX_COPY_DISTANCE
from lungnb.datasets.fetch import download
from lungnb.datasets.leakage import LEAK_COLUMNS, find_leaks, without_seen
from lungnb.datasets.prepare import prepare_dataset
from lungnb.datasets.prepared import Prepared, open_prepared, read_manifest
from lungnb.formats.images import read_image, write_png
from lungnb.phantoms.make import make_phantom
from lungnb.presets import make_settings


@pytest.fixture
def settings(tmp_path):
    for index in range(12):
        image, mask = make_phantom(index, size=96)
        write_png(tmp_path / "scans" / "images" / f"case_{index:02}.png", image)
        write_png(tmp_path / "scans" / "masks" / f"case_{index:02}.png", mask)
    settings = make_settings(str(tmp_path / "scans"))
    prepare_dataset(settings, progress=False)
    return settings


def test_clean_splits_have_no_leak(settings):
    leaks = find_leaks(settings, progress=False)
    assert leaks.empty and tuple(leaks) == LEAK_COLUMNS


def test_a_copy_under_another_name_is_found_across_splits_alone(settings):
    manifest = read_manifest(settings)
    train, test = (manifest[manifest["split"] == split].iloc[:2] for split in ("train", "test"))
    copy = 255 - read_image(settings.prepared / train["image"].iloc[0])[:, ::-1]
    write_png(settings.prepared / test["image"].iloc[0], copy)
    write_png(settings.prepared / train["image"].iloc[1], copy)  # in the same split as its original
    file = settings.prepared / "manifest.csv"
    pd.read_csv(file, dtype=str)[::-1].to_csv(file, index=False)  # the order of the images does not matter
    leaks = find_leaks(settings, progress=False)
    assert leaks["kind"].unique().tolist() == ["near-duplicate"]
    assert sorted(leaks["first"]) == train["id"].tolist() and leaks["second"].unique().tolist() == [test["id"].iloc[0]]
    assert leaks[["first_split", "second_split"]].drop_duplicates().to_numpy().tolist() == [["train", "test"]]
    assert leaks["distance"].between(0, MAX_COPY_DISTANCE).all()


def test_test_images_that_another_set_s_network_has_seen_are_left_out(settings, tmp_path):
    """The other set has mirrored copies under other names, and films of its own under the names of the first set."""
    for index in range(12):
        image, mask = make_phantom(index, size=96)
        write_png(tmp_path / "more" / "images" / f"film_{index:02}.png", image[:, ::-1])
        write_png(tmp_path / "more" / "masks" / f"film_{index:02}.png", mask[:, ::-1])
        image, mask = make_phantom(100 + index, size=96)
        write_png(tmp_path / "more" / "images" / f"case_{index:02}.png", image)
        write_png(tmp_path / "more" / "masks" / f"case_{index:02}.png", mask)
    more = make_settings(str(tmp_path / "more"))
    prepare_dataset(more, progress=False)
    tested, trained = open_prepared(more), open_prepared(settings)
    left = without_seen(tested, trained, progress=False).rows("test")
    seen = {row["id"].removeprefix("case_") for row in trained.rows("train", "validation")}
    all_test = [row["id"] for row in tested.rows("test")]
    expected = [name for name in all_test if name.startswith("case_") or name.removeprefix("film_") not in seen]
    assert [row["id"] for row in left] == expected and len(expected) < len(all_test)


def test_a_patient_of_whom_one_image_was_seen_is_left_out_with_all_images(settings):
    """The first patient has two images. The second of them is a validation image of the other data set."""
    prepared = open_prepared(settings)
    ids = prepared.manifest["id"].tolist()
    test = prepared.manifest.assign(split="test", patient=["a", "a", *ids[2:]])
    seen = prepared.manifest[prepared.manifest["id"] == ids[1]].assign(split="validation")
    tested, trained = (Prepared(prepared.folder, prepared.name, rows) for rows in (test, seen))
    assert [row["id"] for row in without_seen(tested, trained, progress=False).rows("test")] == ids[2:]


def test_a_patient_in_two_splits_is_found(settings):
    file = settings.prepared / "manifest.csv"
    manifest = pd.read_csv(file, dtype=str)
    one = manifest.groupby("split")["id"].first()
    manifest.loc[manifest["id"].isin([one["train"], one["test"]]), "patient"] = "jane"
    manifest[::-1].to_csv(file, index=False)
    leaks = find_leaks(settings, progress=False)
    assert leaks.drop(columns="distance").to_numpy().tolist() == [["patient", "jane", "train", "jane", "test"]]


@pytest.mark.parametrize("dataset", ["montgomery", "lung-ct-bmp"])
def test_real_sets_have_no_leak(real, dataset):
    real(dataset)
    settings = make_settings(dataset, "full")
    if dataset == "lung-ct-bmp":
        download(dataset, progress=False)
    prepare_dataset(settings, progress=False)
    assert find_leaks(settings, progress=False).empty
