"""Exports of hospitals: studies with other objects, headers that do not fit, cut streams, and names of files."""

import os
import zipfile

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from lungnb.segmentation.batch import segment_files
from unusual import Result, case, cases, ct_slice, film, is_right, judge, out_folder
from unusual.dicoms import DX, dicom, series, without_picture
from unusual.exports import judge_check, save
from unusual.scans import changed, film_of_12_bits, jpeg_2000, packed
from unusual.sets import judge_set, write_set
from unusual.storage import png

CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def judge_rows(paths, expected):
    """Segment files: each one named in `expected` is a `film`, a `ct`, or has an error, review or note with the words.

    Right if there are no other rows.
    """
    with out_folder() as out:
        rows = segment_files(paths, out, progress=False).astype(object).fillna("").to_dict("records")
        said = {
            os.path.basename(row["file"]): " ".join(str(row.get(k, "")) for k in ("error", "review", "note"))
            for row in rows
        }
        wrong = [name for name in expected if name not in said] + [name for name in said if name not in expected]
        for row in rows:
            name = os.path.basename(row["file"])
            what = expected.get(name)
            if isinstance(what, str):
                wrong += [] if row["mask"] and is_right(out / row["mask"], what) else [name]
            elif what:
                wrong += [] if all(word in said[name] for word in what) else [name]
    text = "; ".join(f"{name}: {each}" for name, each in said.items() if each.strip())
    return Result("wrong" if wrong else "right", f"{' '.join(wrong)} | {text}" if wrong else text)


@case
def study_of_films(folder):
    """A study with a film, a report, a presentation state, key images and a PDF."""  # the film; a sentence for others
    study = folder / "study"
    dicom(study / "film.dcm", film(), DX)
    expected = {"film.dcm": "film"}
    for name, kind, modality in (
        ("SR", "88.22", "SR"),
        ("PR", "11.1", "PR"),
        ("KO", "88.59", "KO"),
        ("PDF", "104.1", "DX"),
    ):
        without_picture(study / f"{name}.dcm", f"1.2.840.10008.5.1.4.1.1.{kind}", modality)
        expected[f"{name}.dcm"] = ("Leave it out",)
    return judge_rows(study, expected)


@case
def frontal_and_lateral(folder):
    """A study with a frontal and a lateral film."""  # the frontal film; a word that the other is lateral
    dicom(folder / "study" / "pa.dcm", film(), DX, ViewPosition="PA")
    dicom(folder / "study" / "lat.dcm", film(), DX, ViewPosition="LL", series="1.2.3.5", number=2)
    return judge_rows(folder / "study", {"pa.dcm": "film", "lat.dcm": ("lateral",)})


@case
def lateral_by_code(folder):
    """A lateral film whose view is a code."""  # a word that it is lateral
    file = pydicom.dcmread(dicom(folder / "a.dcm", film(), DX))
    view = Dataset()
    view.CodeValue, view.CodingSchemeDesignator, view.CodeMeaning = "R-10236", "SNM3", "left lateral"
    file.ViewCodeSequence = [view]
    file.save_as(folder / "a.dcm")
    return judge_rows(folder / "a.dcm", {"a.dcm": ("lateral",)})


@case
def repeated_film(folder):
    """A study with a film that was repeated."""  # a row for each
    for number in (1, 2):
        dicom(folder / "study" / f"{number}.dcm", film(), DX, number=number)
    return judge_rows(folder / "study", {"1.dcm": "film", "2.dcm": "film"})


@case
def dose_sheet(folder):
    """A series with a dose sheet, a capture of Modality CT."""  # the volume; the sheet left out with a note
    series(folder / "ct")
    dicom(folder / "ct" / "dose.dcm", film(), CAPTURE, number=99, Modality="CT", ImageType=["DERIVED", "SECONDARY"])
    return judge(folder / "ct", "ct")


@case
def dose_sheet_as_ct(folder):
    """A series with a dose sheet that calls itself a CT image of the series."""  # the volume
    series(folder / "ct")
    tags = {
        "ImageOrientationPatient": None,
        "RescaleIntercept": None,
        "ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"],
    }
    dicom(folder / "ct" / "dose.dcm", film(), number=99, **tags)
    return judge(folder / "ct", "ct")


@case
def pet_beside_ct(folder):
    """A series of CT with a series of PET in one folder."""  # the volume of CT, or a sentence on two series
    series(folder / "ct")
    for number in range(6):
        path, kind = folder / "ct" / f"P{number}.dcm", "1.2.840.10008.5.1.4.1.1.128"
        dicom(path, film().astype(np.uint16), kind, number, 5 * number,
              "1.2.3.9", Modality="PT", PixelSpacing=[4, 4], ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
              ImagePositionPatient=[-180, -180, 5.0 * number], RescaleIntercept=0, RescaleSlope=1)  # fmt: skip
    return judge(folder / "ct", "ct", "series")


@cases("A series of {}.", {"effective atomic numbers": "Z_EFF", "densities of iodine": "MGML"})
def of_other_units(folder, unit):  # a sentence on the units
    pixels = ct_slice()
    for number, place in enumerate(range(0, 30, 5), 1):
        dicom(folder / "ct" / f"{number}.dcm", pixels, number=number, z=place, RescaleType=unit)
    return judge_words(folder / "ct", unit)


def judge_words(path, *words):
    """Segment files: explained if each row has all the words."""
    with out_folder() as out:
        rows = segment_files(path, out, progress=False).astype(object).fillna("").to_dict("records")
    said = [" ".join(str(row.get(name, "")) for name in ("error", "review", "note")) for row in rows]
    is_said = bool(said) and all(all(word in text for word in words) for text in said)
    return Result("explained" if is_said else "wrong", "; ".join(said))


# Right: the mask of the ordinary film; if the header does not fit, a sentence.
def rows_halved(path):
    return dicom(path, film(), DX, Rows=128)


def bits_halved(path):
    return dicom(path, film().astype(np.uint16) * 16, DX, BitsAllocated=8, BitsStored=8, HighBit=7)


def colours_in_one_sample(path):
    return dicom(path, film(), DX, PixelData=np.dstack([film()] * 3).tobytes())


def too_few_bits_stored(path):
    return dicom(path, film().astype(np.uint16) * 16, DX, BitsStored=10, HighBit=9)


def eight_of_twelve_bits(path):
    return dicom(path, film().astype(np.uint16) * 16, DX, BitsStored=8, HighBit=7)


def sign_of_16_bits(path):
    return dicom(path, film().astype(np.uint16) * 257, DX, PixelRepresentation=1)


def frames_unsaid(path):
    return dicom(path, np.stack([film(), np.fliplr(film())]), DX)


def high_bit_of_15(path):
    return dicom(path, film().astype(np.uint16) * 16, DX, BitsStored=12, HighBit=15)


def with_overlay_group(path):
    file = pydicom.dcmread(film_of_12_bits(path))
    file.add_new((0x6000, 0x0010), "US", 256)
    file.add_new((0x6000, 0x0011), "US", 256)
    file.add_new((0x6000, 0x0040), "CS", "G")
    file.add_new((0x6000, 0x0050), "SS", [1, 1])
    file.add_new((0x6000, 0x0100), "US", 1)
    file.add_new((0x6000, 0x0102), "US", 0)
    file.add_new((0x6000, 0x3000), "OW", b"\xff" * (256 * 256 // 8))
    file.save_as(path)
    return path


def voi_table(path, entries, first, bits, table, **tags):
    file = pydicom.dcmread(film_of_12_bits(path, **tags))
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [entries, first, bits])
    item.add_new("LUTData", "OW", table.astype("<u2").tobytes())
    file.VOILUTSequence = [item]
    file.save_as(path)
    return path


def with_table(path):
    return voi_table(path, 4096, 0, 12, np.arange(4096))


def table_of_eight_bits(path):
    return voi_table(path, 4096, 0, 8, np.arange(4096) // 16)


def falling_table(path):
    file = pydicom.dcmread(voi_table(path, 4096, 0, 12, np.arange(4096)[::-1]))
    file.PixelData = (4095 - film().astype(np.uint16) * 16).tobytes()
    file.save_as(path)
    return path


def table_of_other_values(path):
    return voi_table(path, 256, 0, 8, np.arange(256))


def two_tables(path):
    file = pydicom.dcmread(with_table(path))
    flat = Dataset()
    flat.add_new("LUTDescriptor", "US", [4096, 0, 12])
    flat.add_new("LUTData", "OW", np.full(4096, 4095, "<u2").tobytes())
    file.VOILUTSequence = [flat, *file.VOILUTSequence]
    file.save_as(path)
    return path


def table_of_modality(path):
    file = pydicom.dcmread(film_of_12_bits(path))
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, 16])
    item.add_new("LUTData", "OW", (np.arange(4096) * 16).astype("<u2").tobytes())
    item.ModalityLUTType = "OD"
    file.ModalityLUTSequence = [item]
    file.save_as(path)
    return path


def packed_called_plain(path):
    packed(film_of_12_bits(path), jpeg_2000, pydicom.uid.JPEG2000Lossless)
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.1\0\0\0"))
    return path


def plain_called_packed(path):
    content = film_of_12_bits(path).read_bytes()
    old = b"1.2.840.10008.1.2.1\0"
    place = content.index(old)
    longer = b"1.2.840.10008.1.2.4.90"
    content = content[: place - 2] + len(longer).to_bytes(2, "little") + longer + content[place + len(old) :]
    path.write_bytes(content)
    return path


def of_text(path):
    """Write numbers of the header as text of an unknown kind (UN)."""
    file = pydicom.dcmread(film_of_12_bits(path))
    for name, text in {
        "WindowCenter": b"2048",
        "WindowWidth": b"4096",
        "RescaleIntercept": b"0 ",
        "RescaleSlope": b"1 ",
    }.items():
        file.add_new(name, "UN", text)
    file.save_as(path)
    return path


def text_in_a_window(path):
    content = film_of_12_bits(path, WindowCenter="2048", WindowWidth="4096").read_bytes()
    path.write_bytes(content.replace(b"DS\x04\x002048", b"DS\x04\x00auto"))
    return path


def in_fragments(path):
    file = pydicom.dcmread(packed(film_of_12_bits(path), jpeg_2000, pydicom.uid.JPEG2000Lossless))
    frame = pydicom.encaps.get_frame(file.PixelData, 0, number_of_frames=1)
    file.PixelData = pydicom.encaps.encapsulate([frame], fragments_per_frame=5, has_bot=False)
    file["PixelData"].is_undefined_length = True
    file.save_as(path)
    return path


def raw_of_detector(path):
    return dicom(path, (255 - film()).astype(np.uint16) * 16, DX, BitsStored=12, HighBit=11,
                 PresentationIntentType="FOR PROCESSING", PixelIntensityRelationship="LIN")  # fmt: skip


def capture(path):
    return dicom(path, film(), CAPTURE, Modality="OT")


def without_modality(path):
    return dicom(path, film(), DX, Modality=None)


def inverse_window(path):
    return dicom(
        path,
        4095 - film().astype(np.uint16) * 16,
        DX,
        BitsStored=12,
        HighBit=11,
        PhotometricInterpretation="MONOCHROME1",
        WindowCenter=2048,
        WindowWidth=4096,
    )


def padded_with_zero(path):
    stored = film().astype(np.uint16) * 16
    stored[:, :10] = 0
    return dicom(path, stored.clip(16), DX, BitsStored=12, HighBit=11, PixelPaddingValue=0)


HEADERS = {
    "half of its rows in the header": (rows_halved, "header"),
    "8 bits in the header, 16 in the data": (bits_halved, "header"),
    "three samples in the data, one in the header": (colours_in_one_sample, "header"),
    "10 bits stored of 12": (too_few_bits_stored, "BitsStored"),
    "8 bits stored of 12": (eight_of_twelve_bits, "BitsStored"),
    "a sign that its 16 bits lack": (sign_of_16_bits, "none"),
    "two frames, one in the header": (frames_unsaid, "header"), "a high bit of 15": (high_bit_of_15, "none"),
    "an overlay of group 6000": (with_overlay_group, "none"), "a VOI LUT": (with_table, "none"),
    "a VOI LUT of 8 bits": (table_of_eight_bits, "none"), "a VOI LUT that falls": (falling_table, "none"),
    "a VOI LUT for other values": (table_of_other_values, "none"),
    "two VOI LUTs, the first white": (two_tables, "none"), "a modality LUT": (table_of_modality, "none"),
    "numbers of unknown kind": (of_text, "none"), "a word for a window": (text_in_a_window, "none"),
    "JPEG 2000 in five fragments": (in_fragments, "none"),
    "JPEG 2000 called uncompressed": (packed_called_plain, "Export"),
    "uncompressed data called JPEG 2000": (plain_called_packed, "Export"),
    "raw values of the detector": (raw_of_detector, "FOR PROCESSING"), "a secondary capture": (capture, "none"),
    "no modality": (without_modality, "none"), "MONOCHROME1 and a window": (inverse_window, "none"),
    "padding of 0": (padded_with_zero, "none"),
}  # fmt: skip


@cases("Film of a hospital with {}.", HEADERS)
def headers(folder, kind):
    make, *words = kind
    return judge(make(folder / "a.dcm"), "film", *words)


def cut(encode, syntax):
    """Return a function that writes a film whose compressed stream is cut in half."""

    def write(path):
        pixels = film() if syntax == pydicom.uid.JPEGBaseline8Bit else film().astype(np.uint16) * 16
        bits = 8 * pixels.itemsize
        stored = 8 if bits == 8 else 12
        dicom(path, pixels, DX, BitsStored=stored, HighBit=stored - 1)
        return packed(path, lambda array: halved(encode(array)), syntax)

    return write


def halved(stream):
    half = bytes(stream)[: len(stream) // 2]
    return half + bytes(len(half) % 2)


def baseline(pixels):
    import imagecodecs

    return imagecodecs.jpeg8_encode(pixels, level=95)


def lossless(pixels):
    import imagecodecs

    return imagecodecs.ljpeg_encode(pixels)


def near_lossless(pixels):
    import imagecodecs

    return imagecodecs.jpegls_encode(pixels)


def high_throughput(pixels):
    import imagecodecs

    return imagecodecs.htj2k_encode(pixels, reversible=True)


STREAMS = {
    "JPEG": cut(baseline, pydicom.uid.JPEGBaseline8Bit), "JPEG 2000": cut(jpeg_2000, pydicom.uid.JPEG2000Lossless),
    "lossless JPEG": cut(lossless, pydicom.uid.JPEGLosslessSV1),
    "JPEG-LS": cut(near_lossless, pydicom.uid.JPEGLSLossless),
    "high-throughput JPEG 2000": cut(high_throughput, pydicom.uid.HTJ2KLossless),
}  # fmt: skip


@cases("DICOM film of {}, cut in half.", STREAMS)
def streams(folder, make):  # a sentence that it is damaged or cut, or that nothing decodes it
    result = judge(make(folder / "a.dcm"), "film", "cut")
    return result if result.verdict != "wrong" else judge(folder / "a.dcm", "film", "decodes")


@case
def run_lengths_cut(folder):
    """DICOM film of run lengths, cut in half."""  # a sentence
    file = pydicom.dcmread(dicom(folder / "a.dcm", film(), DX))
    file.compress(pydicom.uid.RLELossless)
    frame = halved(pydicom.encaps.get_frame(file.PixelData, 0, number_of_frames=1))
    file.PixelData = pydicom.encaps.encapsulate([frame])
    file.save_as(folder / "a.dcm")
    return judge(folder / "a.dcm", "film", "cut")


# Right: the mask of the ordinary slice, or a sentence with the word.
def unsigned_flag(file, number):
    file.PixelRepresentation = 0


def gap_in_the_middle(file, number):
    if number == 3:
        file.PixelData = file.PixelData[: len(file.PixelData) // 2]


def no_rescale_anywhere(file, number):
    del file.RescaleIntercept, file.RescaleSlope
    file.PixelRepresentation = 0
    file.PixelData = (ct_slice().astype(np.int32) + 1024).clip(0).astype(np.uint16).tobytes()


def intercept_of_text(file, number):
    del file.RescaleIntercept
    file.add_new("RescaleIntercept", "UN", b"0 ")


def other_padding(file, number):
    yy, xx = np.mgrid[:256, :256] - 127.5
    pixels = ct_slice().copy()
    pixels[np.hypot(yy, xx) > 127] = -32768
    file.PixelData = pixels.tobytes()
    file.add_new("PixelPaddingValue", "SS", -32768)


def padding_without_a_word(file, number):
    yy, xx = np.mgrid[:256, :256] - 127.5
    pixels = ct_slice().copy()
    pixels[np.hypot(yy, xx) > 127] = -32768
    file.PixelData = pixels.tobytes()


def unsigned_padding(file, number):
    yy, xx = np.mgrid[:256, :256] - 127.5
    pixels = (ct_slice().astype(np.int32) + 1024).clip(0)
    pixels[np.hypot(yy, xx) > 127] = 63536
    file.PixelRepresentation, file.RescaleIntercept = 0, -1024
    file.PixelData = pixels.astype(np.uint16).tobytes()


def headers_of_two_sizes(file, number):
    if number == 2:
        file.Rows = 128


def thickness_of_zero(file, number):
    file.SliceThickness = 0


SERIES = {
    "unsigned values in the header": (unsigned_flag, "none"), "a slice cut in half": (gap_in_the_middle, "cut"),
    "no rescale": (no_rescale_anywhere, "Rescale"), "an intercept of unknown kind": (intercept_of_text, "none"),
    "padding of -32768": (other_padding, "none"),
    "padding of -32768 that no header names": (padding_without_a_word, "none"),
    "unsigned padding of 63536": (unsigned_padding, "none"),
    "a slice of half its rows in the header": (headers_of_two_sizes, "Take one out"),
    "a thickness of 0": (thickness_of_zero, "none"),
}  # fmt: skip


@cases("A series of a hospital with {}.", SERIES)
def of_a_series(folder, kind):
    change, *words = kind
    return judge(changed(folder / "ct", change), "ct", *words)


@case
def empty_slice(folder):
    """A series with an empty file in it."""  # a sentence that names the file
    series(folder / "ct")
    (folder / "ct" / "IM003.dcm").write_bytes(b"")
    return judge(folder / "ct", "ct", "IM003.dcm", "empty")


@case
def list_of_a_disc(folder):
    """The list of a CD (DICOMDIR) in place of its folder."""  # a sentence that says to name the folder
    series(folder / "cd" / "PA0")
    dicom(
        folder / "cd" / "DICOMDIR",
        np.zeros((2, 2), np.uint16),
        "1.2.840.10008.1.3.10",
        Rows=None,
        Columns=None,
        PixelData=None,
    )
    return judge(folder / "cd" / "DICOMDIR", "ct", "folder")


@case
def zipped(folder):
    """A zip archive of a study."""  # a sentence that says to unpack it
    dicom(folder / "a.dcm", film(), DX)
    with zipfile.ZipFile(folder / "study.zip", "w") as archive:
        archive.write(folder / "a.dcm", "a.dcm")
    return judge(folder / "study.zip", "film", "npack")


def judge_error(path, *words):
    """Segment files: explained if the whole run ends with a sentence that has the words."""
    with out_folder() as out:
        try:
            table = segment_files(path, out, progress=False)
        except (ValueError, OSError) as error:
            text = str(error)
            return Result("explained" if all(word in text for word in words) else "wrong", text)
    return Result("wrong", f"{len(table)} rows")


# A sentence that names the kind of file that is there.
@cases("A folder of {} files alone.", {ending: ending for ending in (".zip", ".nrrd", ".heic", ".pdf", ".icloud")})
def of_one_kind(folder, ending):
    (folder / "films").mkdir()
    for number in range(3):
        (folder / "films" / f"{number}{ending}").write_bytes(b"PK\3\4" + bytes(200))
    return judge_error(folder / "films", ending)


# Right: the mask of the ordinary film.
NAMES = {
    "a byte that is not UTF-8": b"M\xfcller.png", "a line break": b"film\n1.png", "a dash in front": b"-o.png",
    "250 letters": b"x" * 250 + b".png", "120 letters of Chinese": "肺".encode() * 80 + b".png",
    "a formula": b"=1+2.png", "a star and a question mark": b"film*?.png",
}  # fmt: skip


@cases("A film whose name has {}.", NAMES)
def names(folder, name):
    (folder / "films").mkdir()
    save(folder / "a.png", film())
    place = os.fsdecode(os.fsencode(folder / "films") + b"/" + name)
    os.rename(folder / "a.png", place)
    return judge(folder / "films", "film")


@case
def long_names_of_a_set(folder):
    """A data set with names of 245 letters."""  # read
    return judge_set(write_set(folder, "images/" + "x" * 242 + "{:03}.png", "masks/" + "x" * 242 + "{:03}.png"))


@case
def bytes_in_the_names_of_a_set(folder):
    """A data set whose names have a byte that is not UTF-8."""  # read
    name = os.fsdecode(b"M\xfcller")
    return judge_set(write_set(folder, "images/" + name + "{:03}.png", "masks/" + name + "{:03}.png"))


@case
def links_that_lead_nowhere(folder):
    """A data set with an image that is a link to a missing file."""  # a sentence that names it
    raw = write_set(folder)
    (raw / "images" / "003.png").unlink()
    (raw / "images" / "003.png").symlink_to(folder / ".git" / "annex" / "003.png")
    return judge_check(raw, "no such file", "003")


@case
def links_to_files(folder):
    """A data set of links to files elsewhere."""  # read
    raw = write_set(folder)
    for file in [*raw.rglob("*.png")]:
        place = folder / "objects" / f"{file.parent.name}-{file.name}"
        place.parent.mkdir(exist_ok=True)
        file.rename(place)
        file.symlink_to(place)
    return judge_set(raw)


# Right: the mask of the ordinary film or slice, or a sentence on the format.
def dicom_called(name):
    return lambda folder: dicom(folder / "a.dcm", film(), DX).rename(folder / name)


def png_called_dicom(folder):
    return save(folder / "a.png", film()).rename(folder / "a.dcm")


def nifti_called_dicom(folder):
    from unusual.volumes import nifti, volume

    return nifti(folder / "a.nii", volume()).rename(folder / "a.dcm")


def zip_called_dicom(folder):
    with zipfile.ZipFile(folder / "a.dcm", "w") as archive:
        archive.writestr("a.txt", "report")
    return folder / "a.dcm"


def page_called_png(folder):
    (folder / "a.png").write_text("<!DOCTYPE html><html><body>Sign in</body></html>")
    return folder / "a.png"


RENAMED = {
    "a DICOM file called .jpg": dicom_called("a.jpg"), "a DICOM file called .png": dicom_called("a.png"),
    "a DICOM file called .001": dicom_called("IM.001"), "a PNG file called .dcm": png_called_dicom,
    "a NIfTI file called .dcm": nifti_called_dicom, "a zip archive called .dcm": zip_called_dicom,
    "a page of a portal called .png": page_called_png,
}  # fmt: skip


@cases("A film that is {}.", RENAMED)
def renamed(folder, make):
    return judge(make(folder), "film", "named after its format")


@case
def zeros_in_the_second_half(folder):
    """A JPEG film whose second half was never copied."""  # a sentence, or a word in the review
    content = save(folder / "a.jpg", film(), quality=95).read_bytes()
    half = len(content) // 2
    (folder / "a.jpg").write_bytes(content[:half] + bytes(len(content) - half))
    return judge(folder / "a.jpg", "film", "whole")


@case
def text_in_a_png(folder):
    """A grey PNG film with a gamma and text in its header."""  # right
    return judge(
        png(folder / "a.png", film(), (b"gAMA", (45455).to_bytes(4, "big")), (b"tEXt", b"Patient\0NOBODYSNAME")), "film"
    )
