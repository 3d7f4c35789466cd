import shutil
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest

from helpers.scans import CHEST, IMAGE, LEFT, LUNGS, RIGHT, pixels, prepared, save, write_scans
from helpers.volumes import write_slice
from lungnb.artefacts import JOURNAL
from lungnb.datasets.pairing import CHANNELS, DERIVED, PREDICTED, find_pairs
from lungnb.datasets.prepared import open_prepared
from lungnb.datasets.sources import Source
from lungnb.formats.folders import stem_of
from lungnb.formats.opening import digest_of_file
from lungnb.presets import make_settings

OWN = Source("scans", "A folder of your own", "own", "", "")


@pytest.fixture
def raw(tmp_path):
    return tmp_path / "scans"


def touch(raw, files):
    """Make empty files: their names decide."""
    for file in files:
        (raw / file).parent.mkdir(parents=True, exist_ok=True)
        (raw / file).touch()


@pytest.mark.parametrize(
    ("image", "masks"),
    [
        ("images/{}.png", ["masks/{}.png"]),
        ("images/{}.bmp", ["masks/{}.bmp"]),
        ("images/{}.BMP", ["masks/{}.png"]),
        ("images/{}.tif", ["masks/{}_mask.png"]),
        ("CXR_png/{}.png", ["masks/{}_mask.png"]),
        ("Set/CXR_png/{}.png", ["Set/ManualMask/leftMask/{}.png", "Set/ManualMask/rightMask/{}.png"]),
        ("Montgomery/img/{}.png", ["Montgomery/mask/{}.png"]),
        ("2d_images/{}.tif", ["2d_masks/{}.tif"]),
        ("images/{}.png", ["labels/{}.png"]),
        ("JPEGImages/{}.png", ["SegmentationClass/{}.png", "SegmentationObject/{}.png"]),  # CVAT's
        ("img_dir/{}.png", ["ann_dir/{}.png"]),  # MMSegmentation's
        ("rp_im/{}.png", ["rp_lung_msk/{}.png"]),
        ("{}.png", ["{}_mask.png"]),
        ("scans of lungs/images/{}.png", ["scans of lungs/masks/{}-label.png"]),
    ],
)
def test_layouts(raw, image, masks):
    names = [f"case-{n}" for n in range(6)]
    lungs = [LEFT, RIGHT] if len(masks) == 2 else [LEFT | RIGHT]
    for name in names:
        save(raw / image.format(name), IMAGE)
        for mask, lung in zip(masks, lungs, strict=True):
            save(raw / mask.format(name), lung * np.uint8(255))
    settings, manifest = prepared(raw)
    assert manifest["id"].tolist() == names
    assert manifest["patient"].tolist() == names
    assert open_prepared(settings).excluded.empty
    for row in manifest.to_dict("records"):
        np.testing.assert_array_equal(pixels(settings, row["image"]), IMAGE)
        np.testing.assert_array_equal(pixels(settings, row["mask"]), np.where(LEFT | RIGHT, 255, 0))
        assert row["source_image"] == image.format(row["id"])
        assert row["source_mask"] == ";".join(mask.format(row["id"]) for mask in masks)


def test_names_that_repeat_in_several_folders_belong_to_those_folders(raw):
    counts = {"patient1": 4, "patient2": 1, "patient10": 2}
    for number, (patient, count) in enumerate(counts.items()):
        for n in range(count):
            save(raw / patient / "images" / f"{n:03}.png", IMAGE)
            save(raw / patient / "masks" / f"{n:03}.png", np.roll(LEFT, number, axis=1))
    settings, manifest = prepared(raw)
    # Also 002 and 003, which occur once: they are patient1's all the same, and must go into its split.
    assert manifest["patient"].value_counts().to_dict() == counts
    assert (manifest.groupby("patient")["split"].nunique() == 1).all()
    assert (manifest["id"].str.rpartition("_")[0] == manifest["patient"]).all()
    for row in manifest.to_dict("records"):
        expected = np.roll(LEFT, list(counts).index(row["patient"]), axis=1)
        np.testing.assert_array_equal(pixels(settings, row["mask"]) > 0, expected)


def test_folders_within_images_and_masks_are_distinguished_too(raw):
    for number, patient in enumerate(("anna", "bert", "carl")):
        save(raw / "images" / patient / "1.png", IMAGE)
        save(raw / "masks" / patient / "1.png", np.roll(LEFT, number, axis=0))
    settings, manifest = prepared(raw)
    assert manifest["patient"].tolist() == ["anna", "bert", "carl"]
    for number, part in enumerate(manifest["mask"]):
        np.testing.assert_array_equal(pixels(settings, part) > 0, np.roll(LEFT, number, axis=0))


def test_a_given_patient_pattern_has_precedence_over_folders(raw):
    for folder in ("normal", "ill"):
        for n in range(4):
            save(raw / folder / "images" / f"p{n}_{folder[0] if n else 'x'}.png", IMAGE)  # px repeats
            save(raw / folder / "masks" / f"p{n}_{folder[0] if n else 'x'}.png", LEFT)
    _, manifest = prepared(raw, patient_pattern=r"(p\d+)_")
    assert manifest["patient"].value_counts().to_dict() == {"p0": 2, "p1": 2, "p2": 2, "p3": 2}


def test_a_patient_pattern_of_the_data_set_has_precedence_over_folders_too(raw):
    names = ("p1_1", "p2_1", "other")
    touch(raw, [f"{folder}/{kind}/{name}.png" for folder in "ab" for kind in ("images", "masks") for name in names])
    pairs, _ = find_pairs(raw, replace(OWN, patient_pattern=r"(p\d+)_"))
    assert sorted(pair.patient for pair in pairs) == ["a", "b", "p1", "p1", "p2", "p2"]


@pytest.mark.parametrize("layout", [{}, {"images/a.png": IMAGE}, {"masks/a.png": LEFT}])
def test_no_pair_at_all_is_an_error_that_says_what_to_do(raw, layout):
    raw.mkdir()
    for name, array in layout.items():
        save(raw / name, array)
    with pytest.raises(ValueError, match=r"scans: no image with a mask found; put images in images/"):
        prepared(raw)
    assert not make_settings(str(raw)).prepared.exists()


def test_an_invalid_pattern_is_named(raw):
    write_scans(raw, "abc")
    with pytest.raises(ValueError, match="patient_pattern is not a regular expression"):
        prepared(raw, patient_pattern="(p")


def test_of_the_masks_of_several_organs_those_of_lungs_are_taken(raw):
    write_scans(raw, "abcdef")
    shutil.rmtree(raw / "masks")
    organs = {"left lung": LEFT, "right lung": RIGHT, "heart": ~(LEFT | RIGHT)}
    for name in "abcdef":
        for organ, mask in organs.items():
            save(raw / "masks" / organ / f"{name}.gif", mask * np.uint8(255))
    settings, manifest = prepared(raw)
    np.testing.assert_array_equal(pixels(settings, manifest["mask"][0]) > 0, LEFT | RIGHT)
    excluded = open_prepared(settings).excluded
    assert set(excluded["reason"]) == {"another organ's"} and len(excluded) == 6
    assert excluded["file"].str.startswith("masks/heart/").all()


def test_the_folder_nearest_to_a_file_says_whether_it_is_a_mask(raw):
    write_scans(raw / "labeled", "abc")
    assert len(prepared(raw)[1]) == 3


def test_what_stands_after_a_dot_may_be_part_of_a_name(raw):
    write_scans(raw, ["1.2.840.1", "1.2.840.2", "1.2.840.3"])
    assert prepared(raw)[1]["id"].tolist() == ["1.2.840.1", "1.2.840.2", "1.2.840.3"]
    for name in ("1.2.840.1", "_a", "a", "A.tar.GZ"):
        assert stem_of(Path(name)) == name
    assert [stem_of(Path(name)) for name in ("a.b.PNG", "c.NII.gz", "d.nii", "e.dcm")] == ["a.b", "c", "d", "e"]


def test_a_name_that_begins_with_a_line_is_another_name(raw):
    write_scans(raw, ["a", "_a", "b"])
    assert set(prepared(raw)[1]["id"]) == {"a", "_a", "b"}


def test_folders_behind_links_are_read_and_loops_are_not(raw, tmp_path):
    write_scans(tmp_path / "disk", "abcd")
    raw.mkdir()
    for name in ("images", "masks"):
        (raw / name).symlink_to(tmp_path / "disk" / name)
    (tmp_path / "disk" / "images" / "again").symlink_to(raw)
    assert prepared(raw)[1]["id"].tolist() == [*"abcd"]


def test_a_link_to_nothing_is_left_out(raw):
    write_scans(raw, "abcd")
    (raw / "images" / "d.png").unlink()
    (raw / "images" / "d.png").symlink_to("gone.png")
    settings, manifest = prepared(raw)
    assert manifest["id"].tolist() == [*"abc"]
    assert open_prepared(settings).excluded["file"].tolist() == ["images/d.png"]


def test_files_of_another_kind_are_named_where_nothing_else_is(raw):
    for folder in ("images", "masks"):
        (raw / folder).mkdir(parents=True)
        (raw / folder / "a.mha").touch()
    with pytest.raises(ValueError, match=r"2 files with the ending \.mha cannot be read"):
        prepared(raw)


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/img{:03}.png", "masks/label{:03}.png"),
        ("images/S_{:03}.jpg", "masks/S_{:03}_segmentation.png"),
        ("images/Case{:03}.png", "masks/case{:03}.PNG"),
        ("images/case{:03}.JPG", "masks/CASE{:03}.png"),
        ("images/case{:03}.png", "masks/case{:03}_masks.png"),
        ("images/case{:03}.png", "masks/mask_case{:03}.png"),
        ("images/case{:03}.png", "masks/case{:03}_lungmask.png"),
        ("images/case{:03}.png", "masks/case{:03}-gt.png"),
        ("images/case{:03}.png", "masks/case{:03}.jpg.png"),
        ("images/case{:03}.png", "masks/case{:03}Mask.png"),
        ("images/case{:03}.png", "masks/case{:03}_lungs.png"),
        ("images/case{:03}.png", "Ground Truth/case{:03}.png"),
        ("images/case{:03}.png", "annotations/case-{:03}-annotation.png"),
        ("CXR/case{:03}_cxr.png", "GT/case{:03}.png"),
        ("case{:03}.png", "case{:03}_lungs.png"),
        ("img{:03}.png", "label{:03}.png"),
        ("case{:03}/image.png", "case{:03}/mask.png"),
        ("case{:03}/case{:03}.png", "case{:03}/case{:03}-mask.png"),
        ("imagesTr/lung_{:03}_0000.png", "labelsTr/lung_{:03}.png"),
        ("images/img_{:04}.png", "masks/mask_{:04}.png"),
        ("imagesTr/lung_{:03}.png", "labelsTr/lung_{:03}.png"),
        ("a/images/x{:03}.png", "a/masks/x{:03}_ground_truth.png"),
    ],
)
def test_names_that_differ_in_words_for_masks_are_paired(raw, image, mask):
    touch(raw, [file.format(n, n) for file in (image, mask) for n in range(4)])
    pairs, excluded = find_pairs(raw, OWN)
    assert [(str(pair.image), [*map(str, pair.masks)]) for pair in pairs] == [
        (image.format(n, n), [mask.format(n, n)]) for n in range(4)
    ]
    assert not excluded and len({len(pair.id) for pair in pairs}) == 1


def test_first_channels_are_called_by_the_name_of_the_case(raw):
    for n in range(4):
        save(raw / "imagesTr" / f"lung_{n:03}_0000.png", IMAGE)
        save(raw / "labelsTr" / f"lung_{n:03}.png", LEFT)
    save(raw / "imagesTs" / "lung_004_0000.png", IMAGE)
    settings, manifest = prepared(raw)
    assert manifest["id"].tolist() == manifest["patient"].tolist() == [f"lung_{n:03}" for n in range(4)]
    assert set(manifest["split"]) == {"train", "validation", "test"}
    assert open_prepared(settings).excluded["file"].tolist() == ["imagesTs/lung_004_0000.png"]
    save(raw / "labelsTs" / "lung_004.png", LEFT)
    _, manifest = prepared(raw)
    assert manifest.set_index("id")["split"]["lung_004"] == "test" and (manifest["split"] == "test").sum() == 1


@pytest.mark.parametrize("folder", ["", "/segmentations"])
@pytest.mark.parametrize("image", ["ct", "image", "chest_ct", "{}", "{}_ct"])
@pytest.mark.parametrize(
    ("organs", "others"),
    [
        (("lung_left", "lung_right"), ("heart",)),
        (("lung",), ("heart", "liver")),
        (("Left Lung", "Right Lung"), ()),
        (("lung_upper_lobe_left", "lung_middle_lobe_right"), ("lung_vessels", "aorta")),
    ],
)
def test_a_folder_per_case_with_a_file_per_organ(raw, folder, image, organs, others):
    cases = ["s1", "s2", "s3"]
    touch(raw, [f"{case}/{image.format(case)}.png" for case in cases])
    touch(raw, [f"{case}{folder}/{organ}.png" for case in cases for organ in (*organs, *others)])
    pairs, excluded = find_pairs(raw, OWN)
    assert [pair.patient[:2] for pair in pairs] == cases
    for pair, case in zip(pairs, cases, strict=True):
        assert {str(mask) for mask in pair.masks} == {f"{case}{folder}/{organ}.png" for organ in organs}
    assert {*excluded} == {(f"{case}{folder}/{organ}.png", "another organ's") for case in cases for organ in others}


def test_organs_of_volumes_too(raw):
    from helpers import volumes

    for name in ("case1", "case2", "case3"):
        volumes.write_nifti(raw / name / "ct.nii.gz", CHEST)
        for organ, label in (("lung_left", 1), ("lung_right", 2), ("heart", 0)):
            volumes.write_nifti(raw / name / f"{organ}.nii.gz", (LUNGS == label).astype(float), dtype=np.uint8)
    settings, manifest = prepared(raw, volume_slices=1)
    assert manifest["patient"].tolist() == ["case1", "case2", "case3"]
    np.testing.assert_array_equal(pixels(settings, manifest["mask"][0]) > 0, LUNGS[20] > 0)
    assert open_prepared(settings).excluded["file"].tolist() == [f"case{n}/heart.nii.gz" for n in (1, 2, 3)]


def test_words_in_names_of_images_are_not_taken_for_organs(raw):
    for name in ("lung_1", "lung_2", "lung_3"):
        save(raw / "images" / f"{name}.png", IMAGE)
        for organ, mask in (("lungs", LEFT), ("heart", RIGHT)):
            save(raw / "masks" / organ / f"{name}.png", mask)
    settings, manifest = prepared(raw)
    np.testing.assert_array_equal(pixels(settings, manifest["mask"][0]) > 0, LEFT)


def test_names_in_doubt_are_not_paired_and_the_nearest_is_shown(raw):
    write_scans(raw, [*"abc", "p1"])  # p1 has its own mask
    for name in ("p1_left", "p1_right", "chest07"):  # two views have no mask each
        save(raw / "images" / f"{name}.png", IMAGE)
    for name in ("p1_lung", "chest_7"):
        save(raw / "masks" / f"{name}.png", LEFT)
    settings, manifest = prepared(raw)
    assert manifest["id"].tolist() == [*"abc", "p1"]
    assert open_prepared(settings).excluded.set_index("file")["reason"].to_dict() == {
        "images/chest07.png": "no mask of this name (the nearest is masks/chest_7.png)",
        "images/p1_left.png": "no mask of this name (the nearest is masks/p1_lung.png)",
        "images/p1_right.png": "no mask of this name (the nearest is masks/p1_lung.png)",
        "masks/chest_7.png": "no image of this name (the nearest is images/chest07.png)",
        "masks/p1_lung.png": "no image of this name (the nearest is images/p1_left.png)",
    }


def test_where_no_name_fits_the_error_shows_the_nearest(raw):
    for n in range(3):
        save(raw / "images" / f"scan{n}.png", IMAGE)
        save(raw / "masks" / f"skan{n}.png", LEFT)
    with pytest.raises(
        ValueError, match=r"images/scan0\.png: no mask of this name \(the nearest is masks/skan0\.png\)"
    ):
        prepared(raw)


@pytest.mark.parametrize(
    ("image", "mask"),
    [("images/{}.png", "masks/{}.png"), ("{}.png", "{}_mask.png"), ("{}/film.png", "{}/mask.png")],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_umlauts_may_be_one_character_or_two(raw, image, mask, form):
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    names = [f"Müller{n}" for n in range(4)]
    for name in names:
        save(raw / image.format(normalize(form, name)), IMAGE)
        save(raw / mask.format(normalize(form if image.startswith("{}/") else other, name)), LEFT * np.uint8(255))
    settings, manifest = prepared(raw)
    assert manifest["patient"].tolist() == names and open_prepared(settings).excluded.empty


@pytest.mark.parametrize(
    ("image", "masks"),
    [
        ("images/{}/film.png", ["masks/{}_film.png"]),
        ("images/case_{}.png", ["masks/case_{}/left.png", "masks/case_{}/right.png"]),
        ("images/b/{}.png", ["masks/b_{}.png"]),
        ("images/b-{}.png", ["masks/b/{}/lung mask.png"]),
    ],
)
def test_a_word_may_name_a_folder_or_a_file(raw, image, masks):
    files = [image.format(n) for n in range(4)] + [mask.format(n) for n in range(4) for mask in masks]
    touch(raw, files)
    pairs, excluded = find_pairs(raw, OWN)
    assert not excluded and len(pairs) == 4
    for n, pair in enumerate(pairs):
        assert pair.image == Path(image.format(n)) and pair.masks == tuple(Path(mask.format(n)) for mask in masks)


def test_a_word_that_fits_two_images_makes_no_pair(raw):
    touch(raw, ["images/b/1.png", "images/b_1.png", "images/2.png", "masks/b/1/left.png", "masks/2.png"])
    pairs, excluded = find_pairs(raw, OWN)
    assert [pair.image for pair in pairs] == [Path("images/2.png")] and len(excluded) == 3


def test_folders_named_after_splits_are_splits_in_any_of_their_spellings(raw):
    splits = dict.fromkeys(("train", "Training"), "train") | dict.fromkeys(("test", "TESTING"), "test")
    splits |= dict.fromkeys(("val", "Valid", "validation"), "validation") | {"others": "", "test of time": ""}
    touch(raw, [f"{folder}/{kind}/{folder}1.png" for folder in splits for kind in ("images", "masks")])
    pairs, _ = find_pairs(raw, OWN)
    assert {pair.image.parts[0]: pair.split for pair in pairs} == splits


def test_a_patient_in_two_splits_is_one_patient_with_masks_of_each_branch_alone(raw):
    branches = [f"set/{split}/{patient}" for split in ("test", "train") for patient in ("anna", "bert")]
    touch(raw, [f"{branch}/{kind}/1.png" for branch in branches for kind in ("images", "masks")])
    pairs, _ = find_pairs(raw, OWN)
    assert [pair.masks for pair in pairs] == [(Path(branch, "masks/1.png"),) for branch in branches]
    assert [pair.patient for pair in pairs] == ["set_anna", "set_bert"] * 2


def test_an_image_with_a_mask_takes_no_mask_of_a_less_similar_name(raw):
    touch(raw, [f"{kind}_{n}.png" for n in "123" for kind in ("images/ct", "masks/manual")] + ["masks/1_left.png"])
    pairs, excluded = find_pairs(raw, OWN)
    assert [pair.masks for pair in pairs] == [(Path(f"masks/manual_{n}.png"),) for n in "123"]
    assert [file for file, _ in excluded] == ["masks/1_left.png"]


def test_a_mask_and_an_image_of_one_pair_are_no_masks_of_another_image(raw):
    touch(raw, ["images/lung_1_ct.png", "masks/lung_1_manual.png", "images/1_film.png"])
    pairs, excluded = find_pairs(raw, OWN)
    assert [(pair.image, pair.masks) for pair in pairs] == [
        (Path("images/lung_1_ct.png"), (Path("masks/lung_1_manual.png"),))
    ]
    assert [file for file, _ in excluded] == ["images/1_film.png"]


@pytest.mark.parametrize(
    ("folders", "patients"),
    [
        ([f"device{device}/P{number}" for device in (1, 2, 3) for number in range(8)], 24),
        ([f"P{number}/S{session}" for number in range(5) for session in (1, 2)], 5),
        (["P1/baseline", "P1/follow-up", "P2", "P3", "P4"], 4),  # only one patient came again
    ],
)
def test_numbered_folders_above_patients_are_no_patients_and_sessions_are_none(raw, folders, patients):
    touch(raw, [f"{kind}/{folder}/a.png" for kind in ("images", "masks") for folder in folders])
    pairs, _ = find_pairs(raw, OWN)
    assert len({pair.patient for pair in pairs}) == patients


def test_a_pattern_may_fit_some_names_and_need_no_group(raw):
    touch(raw, [f"{folder}/{name}.png" for folder in ("images", "masks") for name in ("p12_a", "p12_b", "other")])
    for pattern, patient in ((r"p(\d+)", "12"), (r"p\d+", "p12")):
        with pytest.warns(UserWarning, match="does not match 1 image, such as other"):
            pairs, _ = find_pairs(raw, OWN, pattern)
        assert {pair.id: pair.patient for pair in pairs} == {"p12_a": patient, "p12_b": patient, "other": "other"}


def test_names_are_short_enough_for_files_and_differ_in_more_than_case(raw):
    long = [f"{'a' * 150}/{letter * 100}" for letter in "bc"]
    touch(raw, [f"{folder}/{kind}/1.png" for folder in long for kind in ("images", "masks")])
    touch(raw, [f"{kind}/{name}.png" for kind in ("images", "masks") for name in ("film", "FILM")])
    pairs, excluded = find_pairs(raw, OWN)
    assert len({pair.id for pair in pairs}) == 3 and max(len(pair.id) for pair in pairs) <= 200
    assert excluded == [("images/film.png", "the name is taken by images/FILM.png")]


def test_names_that_are_far_apart_are_no_hint(raw):
    touch(raw, ["images/a.png", "masks/a.png", "images/bcde.png", "masks/7788.png"])
    _, excluded = find_pairs(raw, OWN)
    assert excluded == [("images/bcde.png", "no mask of this name"), ("masks/7788.png", "no image of this name")]


def pairs_of_dicom_files(raw, patient_ids, **options):
    """Return the patient of each DICOM film, by its name, if the films `a`, `b`, ... have these PatientIDs."""
    for name, patient_id in zip("abcdef", patient_ids, strict=False):
        touch(raw, [f"masks/{name}.png"])
        (raw / "images").mkdir(exist_ok=True)
        write_slice(raw / "images" / f"{name}.dcm", np.zeros((4, 4)), PatientID=patient_id)
    pairs, _ = find_pairs(raw, OWN, **options)
    return {pair.id: pair.patient for pair in pairs}


@pytest.mark.parametrize(
    ("patient_ids", "patients"),
    [
        (("X", "Y", "X ", "Z", "Y"), {"a": "a", "b": "b", "c": "a", "d": "d", "e": "b"}),
        (("X", "Y", "X", "", ""), {"a": "a", "b": "b", "c": "c", "d": "d", "e": "e"}),  # two PatientIDs only
        (("ID",) * 4, {name: name for name in "abcd"}),
        (("ANONYMOUS", "X", "Anonymous", "Y", "Z", "0"), {name: name for name in "abcdef"}),
    ],
)
def test_dicom_films_with_one_patient_id_are_of_one_patient(raw, patient_ids, patients):
    assert pairs_of_dicom_files(raw, patient_ids) == patients


def test_a_pattern_decides_and_not_the_header(raw):
    assert pairs_of_dicom_files(raw, "XXYZ", pattern="(.+)") == {name: name for name in "abcd"}


def test_a_patient_id_leads_over_folders_and_an_unreadable_file_counts_alone(raw):
    for folder, patient_id in {"P1": "X", "P2": "Y", "P3": "X", "P4": "Z"}.items():
        touch(raw, [f"{folder}/film_mask.png"])
        write_slice(raw / folder / "film.dcm", np.zeros((4, 4)), PatientID=patient_id)
    touch(raw, ["P5/film.dcm", "P5/film_mask.png"])
    pairs, _ = find_pairs(raw, OWN)
    assert [pair.patient for pair in pairs] == ["P1", "P2", "P1", "P4", "P5"]


def test_a_folder_of_a_patient_is_not_divided_by_patient_ids(raw):
    """P1 and P3 share a PatientID, and P3 has a file without one."""
    for file, patient_id in {"P1/a": "X", "P2/a": "Y", "P3/a": "X", "P3/b": "", "P4/a": "Z", "P4/b": "Z"}.items():
        touch(raw, [f"{file}_mask.png"])
        write_slice(raw / f"{file}.dcm", np.zeros((4, 4)), PatientID=patient_id)
    pairs, _ = find_pairs(raw, OWN)
    assert [pair.patient for pair in pairs] == ["P1", "P2", "P1", "P4", "P1", "P4"]


def test_msk_is_a_word_of_its_own(raw):
    touch(raw, ["MSKCC/1.png", "MSKCC/1_mask.png", "rp_lung_msk/2.png", "films/2.png"])
    pairs, _ = find_pairs(raw, OWN)
    assert {pair.id: str(pair.masks[0]) for pair in pairs} == {"1": "MSKCC/1_mask.png", "2": "rp_lung_msk/2.png"}


def test_a_mask_that_lungnb_wrote_joins_no_ground_truth_until_somebody_changes_it(raw):
    for folder in ("masks", "segmented"):
        save(raw / folder / "a_mask.png", LEFT | RIGHT)
    save(raw / "images" / "a.png", IMAGE)
    digest = digest_of_file(raw / "segmented" / "a_mask.png")
    (raw / "segmented" / JOURNAL).write_text('cut o\n[]\n{"mask": "a_mask.png", "written": "' + digest + '"}\n')
    (pair,), excluded = find_pairs(raw, OWN)
    assert pair.masks == (Path("masks/a_mask.png"),) and excluded == [("segmented/a_mask.png", PREDICTED)]
    save(raw / "segmented" / "a_mask.png", LEFT)
    (pair,), excluded = find_pairs(raw, OWN)
    assert len(pair.masks) == 2 and excluded == []


@pytest.mark.parametrize(
    ("files", "image"),
    [
        (("originals/img_{}", "output/images/{}", "output/masks/{}"), "output/images/{}"),
        (("originals/img_{}", "pred/images/{}", "pred/masks/{}"), "pred/images/{}"),
        (("raw/img_{}", "results/images/{}", "masks/{}"), "results/images/{}"),
        (("dicom/slice_{}", "results/slices/{}", "results/labels/{}"), "results/slices/{}"),
        (("images/cxr_{}", "preview/{}", "masks/{}"), "preview/{}"),
        (("films/img_{}", "output/{}", "masks/{}"), "output/{}"),
    ],
)
def test_images_with_the_names_of_masks_are_paired_beside_others(raw, files, image):
    touch(raw, [f"{file.format(f'{number:03}')}.png" for file in files for number in range(3)])
    pairs, _ = find_pairs(raw, OWN)
    assert [pair.image.as_posix() for pair in pairs] == [f"{image.format(f'{number:03}')}.png" for number in range(3)]


def test_predictions_give_way_to_images_of_other_names(raw):
    touch(raw, ["images/img_001.png", "masks/001.png", "preds/001.png"])
    (pair,), excluded = find_pairs(raw, OWN)
    assert pair.image == Path("images/img_001.png")
    assert excluded == [("preds/001.png", f"{DERIVED} images/img_001.png")]


@pytest.mark.parametrize(("mask", "is_channel"), [("scan", True), ("scan_0000", False), ("scan_0000_mask", False)])
def test_numbers_of_slices_are_no_channels(raw, mask, is_channel):
    touch(raw, ["images/scan_0000.png", "images/scan_0004.png", f"masks/{mask}.png"])
    _, excluded = find_pairs(raw, OWN)
    assert [file for file, _ in excluded] == ["images/scan_0004.png"]
    assert (excluded[0][1] == CHANNELS) == is_channel
