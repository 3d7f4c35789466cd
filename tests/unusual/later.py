"""What happens between two commands: folders that are moved, changed, copied from another system or partly deleted."""

import os
import shutil
import unicodedata

import numpy as np
import pandas as pd
from PIL import Image

from lungnb.datasets.check import check_dataset
from lungnb.datasets.prepare import prepare_dataset
from lungnb.formats.images import read_mask, write_png
from lungnb.presets import make_settings
from lungnb.segmentation.batch import segment_files
from unusual import Result, case, cases, explained_by, film
from unusual.dicoms import DX, dicom
from unusual.exports import save
from unusual.sets import COUNT, phantoms, write_set
from unusual.terminal import command

NOISE = {"._{}": b"\0\5\26\7\0\2\0\0Mac OS X", ".DS_Store": b"\0\0\0\1Bud1", "Thumbs.db": b"\xd0\xcf\x11\xe0",
         "desktop.ini": b"[.ShellClassInfo]"}  # fmt: skip


def judge_truth(raw, count=COUNT, *words, **changes):
    """Prepare a data set: right if so many pairs are there, each with the pixels of its files, and no patient twice."""
    try:
        settings = make_settings(str(raw), **changes)
        manifest = prepare_dataset(settings, progress=False)
    except (ValueError, OSError) as error:
        return explained_by(error, *words) if words else Result("wrong", str(error))
    wrong = []
    for row in manifest.to_dict("records"):
        image, mask = (settings.prepared / row[name] for name in ("image", "mask"))
        wrong += [row["id"]] if not (read_mask(mask) == read_mask(raw / row["source_mask"])).all() else []
        if row["source_image"].endswith(("png", "bmp")):
            is_same = np.array_equal(np.asarray(Image.open(image)), np.asarray(Image.open(raw / row["source_image"])))
            wrong += [] if is_same else [row["id"]]
    apart = (manifest.groupby("patient")["split"].nunique() > 1).sum()
    findings = check_dataset(settings, progress=False)
    said = " ".join(findings.loc[findings["severity"] != "note"].astype(str).sum(axis=1))
    if words:
        is_said = all(word in said for word in words) and not wrong and not apart
        return Result("explained" if is_said and len(manifest) == count else "wrong", f"{len(manifest)}: {said}")
    is_right = len(manifest) == count and not wrong and not apart
    return Result("right" if is_right else "wrong", f"{len(manifest)} pairs, other pixels: {wrong}; {apart}; {said}")


def files_of(raw, kind):
    return sorted((raw / kind).iterdir())


def turned(file):
    """Turn the picture in a file by half a turn; keep its size, if that is possible, and its time."""
    before = file.stat()
    write_png(file, np.asarray(Image.open(file))[::-1, ::-1])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_all(raw):
    for kind in ("images", "masks"):
        for file in files_of(raw, kind):
            turned(file)
    return COUNT


def replace_masks_by_older(raw):
    for file in files_of(raw, "masks"):
        turned(file)
        os.utime(file, (10**9, 10**9))
    return COUNT


def swap(raw):
    for kind in ("images", "masks"):
        first, second = files_of(raw, kind)[:2]
        first.rename(raw / "kept")
        second.rename(first)
        (raw / "kept").rename(second)
    return COUNT


def rename_all(raw):
    for kind in ("images", "masks"):
        for file in files_of(raw, kind):
            file.rename(file.with_name(f"film {file.name}"))
    return COUNT


def rename_masks_folder(raw):
    (raw / "masks").rename(raw / "Labels")
    return COUNT


def rename_images_folder(raw):
    (raw / "images").rename(raw / "CXR")
    return COUNT


def delete_a_patient(raw):
    for kind in ("images", "masks"):
        files_of(raw, kind)[0].unlink()
    return COUNT - 1


def empty_a_mask(raw):
    file = files_of(raw, "masks")[0]
    write_png(file, np.zeros((96, 96), np.uint8))
    return COUNT


def to_bmp(raw):
    for file in files_of(raw, "images"):
        Image.open(file).save(file.with_suffix(".bmp"))
        file.unlink()
    return COUNT


def to_dicom(raw):
    for file in files_of(raw, "images"):
        dicom(
            file.with_suffix(".dcm"), np.asarray(Image.open(file)), DX, PatientID=file.stem, series=f"1.2.{file.stem}"
        )
        file.unlink()
    return COUNT


def from_macos(raw):
    for kind in ("images", "masks"):
        for file in files_of(raw, kind):
            for name, content in NOISE.items():
                (raw / kind / name.format(file.name)).write_bytes(content)
    (raw / "__MACOSX" / "images").mkdir(parents=True)
    (raw / "__MACOSX" / "images" / "._001.png").write_bytes(NOISE["._{}"])
    return COUNT


def future(raw):
    for file in (*files_of(raw, "images"), *files_of(raw, "masks")):
        os.utime(file, (4 * 10**9, 4 * 10**9))
    return COUNT


def before_1970(raw):
    for file in (*files_of(raw, "images"), *files_of(raw, "masks")):
        os.utime(file, (-(10**8), -(10**8)))
    return COUNT


def into_parts(raw):
    for kind in ("images", "masks"):
        for number, file in enumerate(files_of(raw, kind)):
            (raw / kind / f"part{number % 2}").mkdir(exist_ok=True)
            file.rename(raw / kind / f"part{number % 2}" / file.name)
    return COUNT


def nested(raw):
    (raw / "set").mkdir()
    for kind in ("images", "masks"):
        (raw / kind).rename(raw / "set" / kind)
    return COUNT


def linked(raw):
    raw.rename(raw.parent / "disk")
    raw.symlink_to(raw.parent / "disk", target_is_directory=True)
    return COUNT


def linked_files(raw):
    for kind in ("images", "masks"):
        (raw.parent / "store" / kind).mkdir(parents=True)
        for file in files_of(raw, kind):
            file.rename(raw.parent / "store" / kind / file.name)
            file.symlink_to(raw.parent / "store" / kind / file.name)
    return COUNT


def loop(raw):
    (raw / "images" / "all").symlink_to(raw, target_is_directory=True)
    return COUNT


def masks_of_segment(raw):
    segment_files(raw / "images", raw / "out", progress=False, overlays=True)
    return COUNT


def masks_of_segment_beside(raw):
    segment_files(raw / "images", raw / "images", progress=False)
    return COUNT


def report_inside(raw):
    pd.DataFrame({"id": ["001"], "dice": [0.9]}).to_csv(raw / "scores.csv")
    save(raw / "report" / "worst.png", film())
    return COUNT


def second_film(raw):
    for kind in ("images", "masks"):
        for file in files_of(raw, kind):
            file.rename(file.with_name(f"{file.stem}_1.png"))
            shutil.copy(raw / kind / f"{file.stem}_1.png", raw / kind / f"{file.stem}_2.png")
            if kind == "images":
                turned(raw / kind / f"{file.stem}_2.png")
    return 2 * COUNT


def read_only(raw):
    for folder in (raw / "images", raw / "masks", raw):
        for file in folder.iterdir():
            file.chmod(0o444 if file.is_file() else 0o555)
        folder.chmod(0o555)
    return COUNT


# Right: each mask with its image, and the pixels that the files have now.
CHANGES = {
    "all files are replaced, sizes and times stay": replace_all,
    "older masks replace the masks": replace_masks_by_older,
    "two films swap their names": swap, "all files are renamed": rename_all,
    "masks is renamed to Labels": rename_masks_folder, "images is renamed to CXR": rename_images_folder,
    "a patient is deleted": delete_a_patient, "films become BMP": to_bmp, "films become DICOM": to_dicom,
    "a Mac copies the folder": from_macos, "times lie in the future": future, "times lie before 1970": before_1970,
    "files are sorted into parts": into_parts, "the folder is unpacked into itself": nested,
    "the folder moves to another disk, with a link": linked, "files become links": linked_files,
    "a link leads up": loop, "lungnb segments into the set": masks_of_segment,
    "lungnb segments into the folder of images": masks_of_segment_beside, "a report is put into the set": report_inside,
    "each patient gets a second film": second_film, "the folder becomes read-only": read_only,
}  # fmt: skip


@cases("After prepare, {}.", CHANGES)
def changed(folder, change):
    raw = write_set(folder)
    changes = {"patient_pattern": r"(\d{3})"}
    prepare_dataset(make_settings(str(raw), **changes), progress=False)
    return judge_truth(raw, change(raw), **changes)


@case
def emptied_mask(folder):
    """After prepare, a mask is emptied."""  # named
    raw = write_set(folder)
    prepare_dataset(make_settings(str(raw)), progress=False)
    return judge_truth(raw, empty_a_mask(raw), "001", "empty")


def judge_second(folder, change, *words):
    """Prepare a data set, change it, and prepare it by a command: explained if the output has the words."""
    raw = write_set(folder)
    command(folder, "prepare", "set")
    change(raw)
    status, said = command(folder, "prepare", "set")
    said = " ".join(said.split())
    is_said = all(word in said for word in words) and "Traceback" not in said
    return Result("explained" if is_said else "wrong", f"{status}: {said}")


def delete_a_mask(raw):
    (raw / "masks" / "001.png").unlink()


def delete_masks(raw):
    shutil.rmtree(raw / "masks")


def delete_all(raw):
    shutil.rmtree(raw)


def delete_files(raw):
    for kind in ("images", "masks"):
        for file in files_of(raw, kind):
            file.unlink()


def replace_by_link(raw):
    shutil.rmtree(raw)
    raw.symlink_to(raw.parent / "gone")


def link_to_itself(raw):
    shutil.rmtree(raw)
    raw.symlink_to(raw)


def replace_by_archive(raw):
    shutil.rmtree(raw)
    raw.write_bytes(b"PK\3\4")


def cut_files(raw):
    for file in files_of(raw, "images"):
        file.write_bytes(file.read_bytes()[:200])


def placeholders(raw):
    for file in files_of(raw, "images"):
        file.rename(file.with_name(f".{file.name}.icloud"))


def shortcuts(raw):
    for file in files_of(raw, "images"):
        file.rename(file.with_name(f"{file.name}.lnk"))


def encrypt(raw):
    for file in files_of(raw, "images"):
        file.with_name(f"{file.name}.locked").write_bytes(np.random.default_rng(0).bytes(300))
        file.unlink()


# The words of the sentence.
SPOILT = {
    "a mask is deleted": (delete_a_mask, ["5 pairs", "1 files left out"]),
    "all masks are deleted": (delete_masks, ["mask"]),
    "the folder is deleted": (delete_all, ["was prepared is not there"]),
    "all files are deleted": (delete_files, ["set", "images"]),
    "the folder becomes a link to nothing": (replace_by_link, ["was prepared is not there"]),
    "the folder becomes a link to itself": (link_to_itself, ["was prepared is not there"]),
    "an archive replaces the folder": (replace_by_archive, ["was prepared is not there"]),
    "all images are cut off": (cut_files, ["no image with a mask can be used", "whole"]),
    "a cloud keeps the images": (placeholders, ["icloud"]),
    "shortcuts replace the images": (shortcuts, [".lnk"]), "the images are encrypted": (encrypt, [".locked"]),
}  # fmt: skip


@cases("After prepare, {}, and a sentence says it.", SPOILT)
def spoilt(folder, kind):
    change, words = kind
    return judge_second(folder, change, *words)


@case
def moved_project(folder):
    """After prepare, the data set is moved to another folder under another name."""  # right
    raw = write_set(folder)
    prepare_dataset(make_settings(str(raw)), progress=False)
    (folder / "disk").mkdir()
    raw.rename(folder / "disk" / "films")
    return judge_truth(folder / "disk" / "films")


@case
def another_set_of_the_name(folder):
    """After prepare, another folder of the same name is prepared."""  # a sentence, nothing is mixed
    raw = write_set(folder)
    prepare_dataset(make_settings(str(raw)), progress=False)
    other = write_set(folder / "other")
    replace_all(other)
    return judge_truth(other, COUNT, "was made from", "Rename one")


@case
def retargeted(folder):
    """After prepare, the link that is the data set leads to another folder."""  # a sentence, nothing is mixed
    for name in ("one", "two"):
        write_set(folder / name)
    replace_all(folder / "two" / "set")
    link = folder / "current"
    link.symlink_to(folder / "one" / "set")
    prepare_dataset(make_settings(str(link)), progress=False)
    link.unlink()
    link.symlink_to(folder / "two" / "set")
    return judge_truth(link, COUNT, "was made from", "Rename one")


PLACES = {
    "./set": "./set", "set/": "set/", "set/.": "set/.", "set/../set": "set/../set", "a link": "link",
    "a link with a slash": "link/",
}  # fmt: skip


@cases("One data set as set and as {}.", PLACES)
def spelt(folder, name):  # prepared once, nothing refused
    write_set(folder)
    (folder / "link").symlink_to(folder / "set")
    command(folder, "prepare", "set")
    status, said = command(folder, "prepare", name)
    return Result("right" if status == 0 and "6 pairs" in said else "wrong", said)


# Names of images and masks, and of the set: right.
NAMES = {
    "emoji": ("images/🫁{:03}.png", "masks/🫁{:03}.png"),
    "Hebrew, right to left": ("images/\u05d7\u05d6\u05d4{:03}.png", "masks/\u05d7\u05d6\u05d4{:03}.png"),
    "Arabic with a mark of direction": ("images/\u200f\u0635\u062f\u0631{:03}.png",
        "masks/\u0635\u062f\u0631{:03}.png"),
    "leading dashes": ("images/-{:03}.png", "masks/-{:03}.png"),
    "leading plus signs": ("images/+{:03}.png", "masks/+{:03}.png"),
    "times with colons": ("images/2020-01-01T10:20:{:02}.png", "masks/2020-01-01T10:20:{:02}.png"),
    "reserved words of Windows": ("images/COM{}.png", "masks/COM{}.png"),
    "a dot before the suffix": ("images/{:03}..png", "masks/{:03}..png"),
    "backslashes, from an archive of Windows": ("images\\{:03}.png", "masks\\{:03}.png"),
    "backslashes and a folder": ("set\\images\\{:03}.png", "set\\masks\\{:03}.png"),
    "percent codes": ("images/film%20{:03}.png", "masks/film%20{:03}.png"),
    "percent codes in images alone": ("images/film%20{:03}.png", "masks/film {:03}.png"),
    "plus signs for blanks in images alone": ("images/film+{:03}.png", "masks/film {:03}.png"),
    "underscores for blanks in masks alone": ("images/film {:03}.png", "masks/film_{:03}.png"),
    "letters in wide Japanese forms": ("images/\uff26{:03}.png", "masks/\uff26{:03}.png"),
    "NFD in images and NFC in masks, folders too": (
        unicodedata.normalize("NFD", "images/Jürgen/{:03}.png"),
        unicodedata.normalize("NFC", "masks/Jürgen/{:03}.png")),
    "a Turkish capital I": ("images/İ{:03}.png", "masks/i̇{:03}.png"),
    "a German sharp s": ("images/Strauß{:03}.png", "masks/STRAUSS{:03}.png"),
    "no-break blanks in masks": ("images/film {:03}.png", "masks/film\u00a0{:03}.png"),
    "a hyphen and a dash": ("images/film-{:03}.png", "masks/film\u2013{:03}.png"),
    "two blanks in masks": ("images/film {:03}.png", "masks/film  {:03}.png"),
    "a double extension that a browser adds": ("images/{:03}.png", "masks/{:03}.png.png"),
    "a copy's word in all masks": ("images/{:03}.png", "masks/{:03} - Copy.png"),
    "(1) in all masks": ("images/{:03}.png", "masks/{:03} (1).png"),
    "an underscore at the end of masks": ("images/{:03}.png", "masks/{:03}_.png"),
    "a date behind the masks": ("images/{:03}.png", "masks/{:03}_20240131.png"),
    "a reader behind the masks": ("images/{:03}.png", "masks/{:03}_mask_AB.png"),
    "a version behind the masks": ("images/{:03}.png", "masks/{:03}_mask_v2.png"),
    "final behind the masks": ("images/{:03}.png", "masks/{:03}_mask_final.png"),
    "a size behind both": ("images/{:03}_512x512.png", "masks/{:03}_mask_512x512.png"),
    "SuperAnnotate": ("{:03}.png", "{:03}.png___fuse.png"), "ilastik": ("{:03}.png", "{:03}_Simple Segmentation.png"),
    "Cellpose": ("{:03}.png", "{:03}_cp_masks.png"), "Labkit": ("{:03}.png", "{:03}-labeling.png"),
    "Segments.ai": ("images/{:03}.png", "labels/{:03}_label_ground-truth.png"),
    "QuPath's tiles": ("{:03} [x=0,y=0,w=96,h=96].png", "{:03} [x=0,y=0,w=96,h=96]-labelled.png"),
    "Label Studio's uploads": ("images/1a2b3c4d-film{:03}.png", "masks/film{:03}.png"),
    "HUG-ILD's lung_mask": ("18/CT-7900-{:04}.png", "18/lung_mask/lung_mask_7900-{:04}.png"),
    "CheXmask drawn beside NIH": ("images_001/images/00000{:03}_000.png", "CheXmask/00000{:03}_000_lungs.png"),
    "Google Drive's two archives": ("set-20240101T0000Z-001/set/images/{:03}.png",
                                    "set-20240101T0000Z-002/set/masks/{:03}.png"),
    "CVAT's tasks": ("task_{0}/images/f.png", "task_{0}/SegmentationClass/f.png"),
    "organs in folders of a set": ("Images/JPCLN{:03}.png", "Masks/Lungs/JPCLN{:03}.png"),
    "Windows' (2) of both folders": ("images (2)/{:03}.png", "masks (2)/{:03}.png"),
    "a blank in front of both": ("images/ {:03}.png", "masks/ {:03}.png"),
    "suffixes of two kinds in capitals": ("images/{:03}.Png", "masks/{:03}.PNG"),
    "names of 250 bytes": ("images/" + "a" * 243 + "{:03}.png", "masks/" + "a" * 243 + "{:03}.png"),
}  # fmt: skip


@cases("Names with {}.", NAMES)
def named(folder, names):  # right, or the nearest name is shown
    raw = write_set(folder, *names)
    result = judge_truth(raw, COUNT)
    shown = "no image with a mask found; put images in" in result.said
    return result._replace(verdict="explained") if result.verdict == "wrong" and shown else result


@case
def two_cases(folder):
    """Names that differ in capitals alone: A1 and a1 are two patients."""  # the second is named
    raw = folder / "set"
    for name, (image, left, right) in zip(("A1", "a1", "B1", "b1", "C", "d"), phantoms(), strict=True):
        save(raw / "images" / f"{name}.png", image)
        save(raw / "masks" / f"{name}.png", (left | right) * np.uint8(255))
    return judge_truth(raw, 4, "a1.png", "the name is taken by")


@case
def split_by_case(folder):
    """Folders Images and images, Masks and masks, as two systems made them."""  # all
    raw = write_set(folder)
    for kind in ("images", "masks"):
        (raw / kind.title()).mkdir()
        for file in files_of(raw, kind)[:3]:
            file.rename(raw / kind.title() / file.name)
    return judge_truth(raw)


SETS = ("-set", "🫁", "\u05d7\u05d6\u05d4", "set.v1.0", "set,1", "set;1", "set'1", 'set"1', "set$HOME",
    "100%",
        "train", "images", "masks", "phantoms", "CON", "montgomery 2", "results", "data", "Ünïcödé", "a b  c",
        "#1")  # fmt: skip


@cases("A data set in a folder called {}.", {name[:20]: name for name in SETS})
def sets(folder, name):
    write_set(folder).rename(folder / name)
    return judge_truth(folder / name)


# A table of patients, and how it is changed: right if no patient is in two splits, or a sentence names the table.
def judge_table(folder, before, after, *words):
    raw, table = write_set(folder), folder / "patients.csv"
    table.write_text(before)
    prepare_dataset(make_settings(str(raw), patient_file=str(table)), progress=False)
    table.write_text(after) if after is not None else table.unlink()
    count = COUNT - (words == ("006",))
    return judge_truth(raw, count, *words, patient_file=str(table))


PEOPLE = "".join(f"{n:03},P{n}\n" for n in range(1, COUNT + 1))
TABLES = {
    "two patients are one": ("id,patient\n" + PEOPLE.replace("P6", "P1"), []),
    "each two are one": ("id,patient\n001,A\n002,A\n003,B\n004,B\n005,C\n006,C\n", []),
    "a row is deleted": ("id,patient\n" + PEOPLE.replace("006,P6\n", ""), ["006"]),
    "columns are swapped": ("patient,id\n" + "".join(f"P{n},{n:03}\n" for n in range(1, 7)), []),
    "the column is called Patient ID": ("id,Patient ID\n" + PEOPLE, ["needs the columns"]),
    "all patients are empty": ("id,patient\n" + "".join(f"{n:03},\n" for n in range(1, 7)), ["patients.csv"]),
    "all are one patient": ("id,patient\n" + "".join(f"{n:03},P1\n" for n in range(1, 7)), ["patient"]),
    "the table is empty": ("", ["patients.csv"]), "the header alone is left": ("id,patient\n", ["patients.csv"]),
    "the table is deleted": (None, ["patients.csv"]),
}  # fmt: skip


@cases("After prepare, the table of patients is changed: {}.", TABLES)
def table_changed(folder, kind):
    after, words = kind
    return judge_table(folder, "id,patient\n" + PEOPLE, after, *words)
