"""DICOM: other objects, windows, frames, padding, headers."""

import io
import warnings

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate

from lungnb.formats.images import read_image
from lungnb.segmentation.batch import segment_files
from unusual import Result, case, cases, ct_slice, explained_by, film, is_right, judge, out_folder
from unusual.pictures import judge_alike

CT, DX = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.1.1"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
NAME = "NOBODYSNAME"


def dicom(path, pixels, kind=CT, number=1, z=None, series="1.2.3.4", **tags):
    """Write a DICOM file: CT in Hounsfield units, or a film; `tags` change or (None) remove elements."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, f"{series}.{number}"
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = kind, f"{series}.{number}"
    file.StudyInstanceUID, file.SeriesInstanceUID, file.InstanceNumber = "1.2.3", series, number
    file.Modality, file.PatientName, file.PatientID = "CT" if kind in (CT, ENHANCED_CT) else "DX", NAME, NAME
    file.Rows, file.Columns = pixels.shape[-2:]
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = pixels.dtype.itemsize * 8
    file.BitsAllocated, file.BitsStored, file.HighBit = bits, bits, bits - 1
    file.PixelRepresentation, file.PixelData = int(pixels.dtype.kind == "i"), pixels.tobytes()
    if kind == CT:
        file.RescaleIntercept, file.RescaleSlope, file.ImageType = 0, 1, ["ORIGINAL", "PRIMARY", "AXIAL"]
        file.PixelSpacing, file.ImageOrientationPatient = [1.4, 1.4], [1, 0, 0, 0, 1, 0]
        file.FrameOfReferenceUID, file.SliceThickness = "1.2.9", 5
        if z is not None:
            file.ImagePositionPatient = [-180, -180, float(z)]
    for name, value in tags.items():
        if value is not None:
            setattr(file, name, value)
        elif name in file:
            delattr(file, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)
    return path


def series(folder, places=range(0, 30, 5), **tags):
    """Write a series of equal slices at these places (mm)."""
    for number, place in enumerate(places, 1):
        dicom(folder / f"IM{number:03}.dcm", ct_slice(), number=number, z=place, **tags)
    return folder


def without_picture(path, kind, modality):
    """Write an object without a picture, such as a structure set."""
    names = ("PixelData", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated")
    return dicom(path, np.zeros((2, 2), np.uint16), kind, series="1.2.3.7", Modality=modality, **dict.fromkeys(names))


@case
def plain_series(folder):
    """An ordinary series."""
    return judge(series(folder / "ct"), "ct")


for position in ("AA", "ZZ"):
    for modality, kind in (("RTSTRUCT", "481.3"), ("SR", "88.67"), ("PR", "11.1")):

        def beside(folder, position=position, modality=modality, kind=kind):
            series(folder / "ct")
            without_picture(folder / "ct" / f"{position}.dcm", f"1.2.840.10008.5.1.4.1.1.{kind}", modality)
            return judge(folder / "ct", "ct")

        beside.__doc__ = f"A series with a {modality} {'before' if position == 'AA' else 'after'} it."
        case(beside)


@case
def screenshot_beside(folder):
    """A series with a screenshot beside it."""
    series(folder / "ct")
    dicom(folder / "ct" / "shot.dcm", film(), "1.2.840.10008.5.1.4.1.1.7", series="1.2.3.8", Modality="OT")
    return judge(folder / "ct", "ct")


@case
def scout_beside(folder):
    """A series with a scout."""
    series(folder / "ct")
    dicom(
        folder / "ct" / "A.dcm", np.full((300, 200), -500, np.int16), number=99, z=0,
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], ImageOrientationPatient=[0, 1, 0, 0, 0, -1],
    )  # fmt: skip
    return judge(folder / "ct", "ct")


@case
def copies(folder):
    """A series with copies of two slices."""
    series(folder / "ct")
    for number in (1, 2):
        dicom(folder / "ct" / f"copy{number}.dcm", ct_slice(), number=number, z=5 * (number - 1))
    return judge(folder / "ct", "ct")


@case
def two_acquisitions(folder):
    """A series of two acquisitions."""
    series(folder / "ct")
    for number in range(6):
        dicom(folder / "ct" / f"P{number}.dcm", ct_slice() + 1, number=50 + number, z=5 * number, AcquisitionNumber=2)
    return judge(folder / "ct", "ct", "acquisition")


@cases("A series with {} slices in each folder.", {"1": 1, "3": 3})
def several_folders(folder, count):
    """A warning that names two of the folders."""
    for number, place in enumerate(range(0, 30, 5)):
        dicom(folder / "ct" / f"{number // count}" / f"IM{number}.dcm", ct_slice(), number=number, z=place)
    with out_folder() as out, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        segment_files(folder / "ct", out, progress=False)
    said = "; ".join(str(each.message) for each in caught)
    return explained_by(said, "one series", f"lie in {6 // count} folders", "Put them into one folder")


@case
def high_bit(folder):
    """A series whose 12 bits end at bit 15."""
    bits = {"BitsAllocated": 16, "BitsStored": 12, "HighBit": 15}
    for number in range(1, 7):
        pixels = ((ct_slice().astype(np.int32) + 1024).clip(0, 4095) << 4).astype(np.uint16)
        dicom(folder / "ct" / f"{number}.dcm", pixels, number=number, z=5 * number, RescaleIntercept=-1024, **bits)
    return judge(folder / "ct", "ct")


@case
def uneven(folder):
    """A series with slices 3 and 6 mm apart."""
    return judge(series(folder / "ct", [*range(0, 18, 3), *range(18, 42, 6)]), "ct", "even")


@case
def one_missing(folder):
    """A series with a slice missing."""
    return judge(series(folder / "ct", [0, 5, 10, 20, 25, 30]), "ct", "missing")


@case
def without_preamble(folder):
    """A series without preamble and suffix."""
    for file in [*series(folder / "ct").iterdir()]:
        file.with_suffix("").write_bytes(file.read_bytes()[132:])
        file.unlink()
    return judge(folder / "ct", "ct")


@case
def data_alone(folder):
    """A series of data without any file header."""
    for file in [*series(folder / "ct").iterdir()]:
        data = pydicom.dcmread(file)
        data.file_meta = FileMetaDataset()
        data.preamble = None
        data.save_as(file.with_suffix(""), implicit_vr=True, little_endian=True, enforce_file_format=False)
        file.unlink()
    return judge(folder / "ct", "ct")


@case
def ima_files(folder):
    """A series of .IMA files."""
    for file in [*series(folder / "ct").iterdir()]:
        file.rename(file.with_suffix(".IMA"))
    return judge(folder / "ct", "ct")


STORED = {"BitsStored": 12, "HighBit": 11}
WINDOWS = {
    "width 1": {"WindowCenter": 0, "WindowWidth": 1},
    "width 0.5": {"WindowCenter": 2048, "WindowWidth": 0.5},
    "of 8 bits": {"WindowCenter": 127, "WindowWidth": 255},
    "of 16 bits": {"WindowCenter": 32768, "WindowWidth": 65535},
    "below all": {"WindowCenter": -600, "WindowWidth": 100},
    "above all": {"WindowCenter": 9000, "WindowWidth": 100},
    "with an unknown function": {"WindowCenter": 2048, "WindowWidth": 4096, "VOILUTFunction": "LOG"},
    "with an empty function": {"WindowCenter": 2048, "WindowWidth": 4096, "VOILUTFunction": ""},
    "with one width too few": {"WindowCenter": [2048, 1000], "WindowWidth": [4096]},
    "that is empty": {"WindowCenter": "", "WindowWidth": ""},
    "that fits": {"WindowCenter": 2048, "WindowWidth": 4096},
}


@cases("DICOM film with a window {}.", WINDOWS)
def windowed(folder, tags):
    return judge(dicom(folder / "a.dcm", film().astype(np.uint16) * 16, DX, **STORED, **tags), "film")


def with_overlay():
    """Return a film in 12 bits with an overlay in the four others."""
    stored = film().astype(np.uint16) * 16
    stored[30:60, 20:200] |= 1 << 12
    return stored


@case
def overlay_bits(folder):
    """DICOM film with an overlay in its unused bits."""
    return judge(dicom(folder / "a.dcm", with_overlay(), DX, **STORED), "film")


@case
def overlay_bits_compressed(folder):
    """DICOM film as JPEG 2000 with an overlay in its unused bits."""
    path, buffer = dicom(folder / "a.dcm", with_overlay(), DX, **STORED), io.BytesIO()
    Image.fromarray(with_overlay()).save(buffer, "JPEG2000", irreversible=False, no_jp2=True)
    file = pydicom.dcmread(path)
    file.PixelData = encapsulate([buffer.getvalue()])
    file["PixelData"].is_undefined_length = True
    file.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
    file.save_as(path)
    return judge(path, "film", "decode")


def enhanced(path, frames):
    """Write an enhanced CT, whose rescale and geometry are in functional groups."""
    pixels = np.stack([(ct_slice().astype(np.int32) + 1024).clip(0)] * frames).astype(np.uint16)
    dicom(path, pixels, ENHANCED_CT, NumberOfFrames=frames)
    file = pydicom.dcmread(path)
    rescale, measures, orientation, shared = Dataset(), Dataset(), Dataset(), Dataset()
    rescale.RescaleIntercept, rescale.RescaleSlope, rescale.RescaleType = -1024, 1, "HU"
    measures.PixelSpacing, measures.SliceThickness = [1.4, 1.4], 5
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelValueTransformationSequence, shared.PixelMeasuresSequence = [rescale], [measures]
    shared.PlaneOrientationSequence = [orientation]
    file.SharedFunctionalGroupsSequence, file.PerFrameFunctionalGroupsSequence = [shared], []
    for number in range(frames):
        frame, place = Dataset(), Dataset()
        place.ImagePositionPatient = [-180, -180, 5.0 * number]
        frame.PlanePositionSequence = [place]
        file.PerFrameFunctionalGroupsSequence.append(frame)
    file.save_as(path)
    return path


@case
def enhanced_frame(folder):
    """Enhanced CT of one frame."""
    return judge(enhanced(folder / "a.dcm", 1), "ct")


@case
def enhanced_frames(folder):
    """Enhanced CT of several frames."""
    return judge(enhanced(folder / "a.dcm", 5), "ct")


@case
def no_rescale(folder):
    """CT without rescale."""
    stored = (ct_slice().astype(np.int32) + 1024).clip(0).astype(np.uint16)
    return judge(dicom(folder / "a.dcm", stored, RescaleIntercept=None, RescaleSlope=None), "ct", "CT")


@case
def no_rescale_but_a_window(folder):
    """CT without rescale whose window is in HU."""
    stored = (ct_slice().astype(np.int32) + 1024).clip(0).astype(np.uint16)
    window = {"WindowCenter": -600, "WindowWidth": 1500, "RescaleIntercept": None, "RescaleSlope": None}
    return judge(dicom(folder / "a.dcm", stored, **window), "ct", "CT")


@case
def padding_range(folder):
    """DICOM film with a range of padding."""
    stored, plain = film().astype(np.uint16) * 16, film().copy()
    stored[:, :10], stored[:, -10:], stored[:6] = 65535, 65000, 64900
    plain[:, :10] = plain[:, -10:] = plain[:6] = 0
    Image.fromarray(plain).save(folder / "plain.png")
    tags = {"PixelPaddingValue": 65535, "PixelPaddingRangeLimit": 64000}
    return judge_alike(dicom(folder / "a.dcm", stored, DX, **tags), folder / "plain.png")


@case
def padding_of_another_depth(folder):
    """8-bit DICOM film with a padding value of 16 bits."""
    return judge(dicom(folder / "a.dcm", film(), DX, PixelPaddingValue=65535), "film")


@cases("CT with {}.", {"a slope of 0": {"RescaleSlope": 0}, "an empty intercept": {"RescaleIntercept": ""}})
def rescaled(folder, tags):
    return judge(dicom(folder / "a.dcm", ct_slice(), **tags), "ct", "Rescale")


@case
def no_modality(folder):
    """A series without a modality."""
    return judge(series(folder / "ct", Modality=None), "ct")


@case
def two_directions(folder):
    """A series of two directions."""
    series(folder / "ct")
    for number in range(6):
        place = {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1], "ImagePositionPatient": [-180, 5 * number, 180]}
        dicom(folder / "ct" / f"C{number}.dcm", ct_slice(), number=50 + number, **place)
    return judge(folder / "ct", "ct", "orientation", "folder of their own")


ELEMENTS = ("SamplesPerPixel", "PhotometricInterpretation", "PixelRepresentation")


@cases("DICOM film without {}.", dict(zip(ELEMENTS, ELEMENTS, strict=True)))
def thin(folder, element):
    return judge(dicom(folder / "a.dcm", film(), DX, **{element: None}), "film", element)


KINDS = {"monochrome1": ("MONOCHROME1", 0), "monochrome2": ("MONOCHROME2", 0), "monochrome1, RLE": ("MONOCHROME1", 1)}


@cases("DICOM film in {}.", KINDS)
def small_letters(folder, kind):
    colours, is_packed = kind
    pixels = 255 - film() if colours == "MONOCHROME1" else film()
    file = pydicom.dcmread(dicom(folder / "a.dcm", pixels, DX, PhotometricInterpretation=colours))
    if is_packed:
        file.compress(pydicom.uid.RLELossless)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of small letters
        file.PhotometricInterpretation = colours.lower()
        file.save_as(folder / "a.dcm")
    return Result("right" if np.array_equal(read_image(folder / "a.dcm"), film()) else "wrong")


HEADERS = {
    "no patient": {"PatientName": None, "PatientID": None},
    "no study": {"StudyInstanceUID": None},
    "an odd date of birth": {"PatientBirthDate": "1950"},
    "a long patient ID": {"PatientID": "P" * 66},
}


@cases("DICOM Segmentation of a film with {}.", HEADERS)
def exported(folder, tags):
    return judge_seg(dicom(folder / "a.dcm", film(), DX, **tags), "film")


@case
def seg_without_frame_of_reference(folder):
    """DICOM Segmentation of a series without frame of reference."""
    return judge_seg(series(folder / "ct", FrameOfReferenceUID=None), "ct")


@case
def seg_without_thickness(folder):
    """DICOM Segmentation of a series without slice thickness."""
    return judge_seg(series(folder / "ct", SliceThickness=None), "ct")


def judge_seg(path, kind):
    """Ask for a DICOM Segmentation: the mask has to be there; if there is no SEG, a sentence says why."""
    with out_folder() as out:
        row = segment_files(path, out, dicom_segs=True, progress=False).astype(object).fillna("").iloc[0]
        if not row["mask"] or not is_right(out / row["mask"], kind):
            return Result("wrong", row["error"])
        return Result("right" if [*out.glob("*_seg.dcm")] else "explained" if row["error"] else "wrong", row["error"])


@case
def seg_as_picture(folder):
    """A DICOM Segmentation given as a picture."""
    with out_folder() as out:
        segment_files(series(folder / "ct"), out, dicom_segs=True, progress=False)
        (seg,) = out.glob("*_seg.dcm")
        seg.rename(folder / "a.dcm")
    return judge(folder / "a.dcm", "ct", "egmentation")
