"""Two ordinary oddities in one file, headers that describe another picture, cut-outs, and channels of masks."""

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset
from scipy import ndimage

from lungnb.segmentation.batch import segment_files
from lungnb.segmentation.predict import segment
from unusual import Result, case, cases, ct_slice, film, judge, out_folder
from unusual.dicoms import DX, dicom, series, without_picture
from unusual.exports import judge_check, resave, save
from unusual.hospitals import judge_words
from unusual.masks import BOTH, LEFT, RIGHT, judge_mask
from unusual.pictures import deep, judge_alike, png16, tiff
from unusual.scans import changed, film_of_12_bits
from unusual.sets import write_set
from unusual.students import judge_lungs
from unusual.volumes import nifti, volume


def framed_film(folder, stored, padding, **tags):
    """Write a film of 12 bits with a frame of padding, and the same film as PNG with a black frame; judge the first."""
    plain = film().copy()
    for array, value in ((stored, padding), (plain, 0)):
        array[:, :12] = array[:, -12:] = array[:10] = value
    Image.fromarray(plain).save(folder / "plain.png")
    tags |= {"BitsStored": 12, "HighBit": 11, "PixelPaddingValue": padding}
    return judge_alike(dicom(folder / "a.dcm", stored, DX, **tags), folder / "plain.png")


NEGATIVE = {"PhotometricInterpretation": "MONOCHROME1"}
FRAMES = {"4095, black": 4095, "0, white": 0}


@cases("Negative DICOM film of 12 bits with padding of {}.", FRAMES)
def negative_and_padded(folder, padding):  # right
    return framed_film(folder, (4095 - deep()).clip(16), padding, **NEGATIVE)


@case
def negative_padded_and_overlaid(folder):
    """Negative DICOM film with padding and an overlay in its unused bits."""  # right
    stored = 4095 - deep()
    stored[40:50, 40:90] |= 1 << 12
    return framed_film(folder, stored, 4095, **NEGATIVE)


@case
def negative_with_table(folder):
    """Negative DICOM film with a VOI LUT and a window that does not fit."""  # right
    tags = {"BitsStored": 12, "HighBit": 11, "WindowCenter": 10, "WindowWidth": 20, **NEGATIVE}
    file = pydicom.dcmread(dicom(folder / "a.dcm", 4095 - deep(), DX, **tags))
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, 12])
    item.add_new("LUTData", "OW", np.arange(4096, dtype="<u2").tobytes())
    file.VOILUTSequence = [item]
    file.save_as(folder / "a.dcm")
    return judge(folder / "a.dcm", "film")


@cases("DICOM film whose padding range hides {} of it.", {"the dark half": (0, 1800), "the bright half": (1800, 4095)})
def wide_padding(folder, values):  # a note
    first, last = values
    path = film_of_12_bits(folder / "a.dcm", PixelPaddingValue=first, PixelPaddingRangeLimit=last)
    return judge_words(path, "PixelPaddingRangeLimit", "hide")


SHAPES = {"128 x 512": (128, 512), "512 x 128": (512, 128), "64 x 1024": (64, 1024), "1024 x 64": (1024, 64)}


@cases("DICOM film of 256 x 256 whose header says {}.", SHAPES)
def other_shape(folder, shape):  # a note
    path = dicom(folder / "a.dcm", film(), DX, Rows=shape[0], Columns=shape[1])
    return judge_words(path, "256 rows of 256", "Rows and Columns")


@cases("DICOM film of 256 x 200 whose header says {}.", {"200 x 256": True, "256 x 200": False})
def swapped_shape(folder, is_swapped):  # a note; nothing if it is true
    pixels = np.ascontiguousarray(film()[:, 28:228])
    tags = {"Rows": 200, "Columns": 256} if is_swapped else {}
    result = judge_words(dicom(folder / "a.dcm", pixels, DX, **tags), "256 rows of 200")
    return result if is_swapped else Result("wrong" if result.verdict == "explained" else "right", result.said)


# No note: nearer pixels are more alike.
GRADIENTS = {
    "a ramp over all rows": (np.arange(240 * 320) // 2).reshape(240, 320),
    "a gradient from top to bottom": np.tile(np.arange(480)[:, None], (1, 640)),
    "a gradient to a corner": np.add.outer(60 * np.arange(512), np.arange(512)),
}


@cases("DICOM picture of {}.", GRADIENTS)
def gradients(folder, pixels):
    with out_folder() as out:
        file = dicom(folder / "a.dcm", pixels.astype(np.uint16), DX)
        (row,) = segment_files(file, out, progress=False).astype(object).fillna("").to_dict("records")
    said = " ".join(str(row.get(name, "")) for name in ("error", "review", "note"))
    return Result("right" if row["mask"] and "rows" not in said.lower() else "wrong", said)


# A word on what the header says.
MODALITIES = {"MR": "4", "US": "6.1", "PT": "128", "NM": "20", "MG": "1.2"}  # and the ends of the SOP classes
ELSEWHERE = {
    **{
        f"modality {modality}": ({"Modality": modality}, f"1.2.840.10008.5.1.4.1.1.{end}", modality)
        for modality, end in MODALITIES.items()
    },
    "a hand": ({"BodyPartExamined": "HAND"}, DX, "HAND"),
    "a scout": ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "Modality": "CT"}, DX, "scout"),
}


@cases("DICOM picture of {} by its header.", ELSEWHERE)
def elsewhere(folder, kind):
    tags, sop_class, *words = kind
    return judge_words(dicom(folder / "a.dcm", film(), sop_class, **tags), *words)


TURNS = {
    "upright": ({}, lambda array: array), "mirrored": ({"PatientOrientation": ["R", "F"]}, np.fliplr),
    "upside down": ({"PatientOrientation": ["L", "H"]}, np.flipud),
    "with rows and columns swapped": ({"PatientOrientation": ["F", "L"]}, np.transpose),
}  # fmt: skip


@cases("Right and left in a DICOM Segmentation of a film that is stored {}.", TURNS)
def sides(folder, kind):
    """The segment of the right lung lies on the left of the upright film."""
    tags, turn = kind
    path = dicom(folder / "a.dcm", np.ascontiguousarray(turn(film())), DX, **tags)
    with out_folder() as out:
        row = segment_files(path, out, dicom_segs=True, progress=False).iloc[0]
        file = pydicom.dcmread(out / "a_seg.dcm")
    middle = {}
    for frame, groups in zip(file.pixel_array, file.PerFrameFunctionalGroupsSequence, strict=True):
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        middle[file.SegmentSequence[number - 1].SegmentLabel] = np.nonzero(turn(frame))[1].mean(), int(frame.sum())
    is_right = middle["Right lung"][0] < film().shape[1] / 2 < middle["Left lung"][0]
    is_right &= [middle[name][1] for name in ("Right lung", "Left lung")] == [row["right_px"], row["left_px"]]
    return Result("right" if is_right else "wrong", str(middle))


def lungs_of_slice():
    return segment(ct_slice()).mask


# A word that the lungs are cut out.
CUT_OUTS = {
    "a film, on black": lambda place: save(place / "a.png", np.where(BOTH, film(), 0).astype(np.uint8)),
    "a film, on white": lambda place: save(place / "a.png", np.where(BOTH, film(), 255).astype(np.uint8)),
    "a film, as JPEG": lambda place: save(place / "a.jpg", np.where(BOTH, film(), 0).astype(np.uint8), quality=80),
    "a slice, on 0 HU": lambda place: tiff(place / "a.tif", np.where(lungs_of_slice(), ct_slice(), 0).astype(np.int16)),
    "a slice, on -1000 HU": lambda place: tiff(
        place / "a.tif", np.where(lungs_of_slice(), ct_slice(), -1000).astype(np.int16)
    ),
    "a volume, on 0 HU": lambda place: nifti(
        place / "a.nii", np.where(lungs_of_slice().T[..., None], volume(), 0).astype(np.int16)
    ),
}


@cases("To segment: lungs cut out of {}.", CUT_OUTS)
def cut_outs(folder, make):
    return judge_words(make(folder), "cut out")


@case
def slice_in_a_frame(folder):
    """CT slice with a black frame."""  # right, and no word of cut-outs
    path = tiff(folder / "a.tif", np.pad(ct_slice(), 20, constant_values=-1000))
    with out_folder() as out:
        note = segment_files(path, out, progress=False).iloc[0].get("note")
    return Result("wrong" if "cut" in str(note) else "right", str(note))


def shifted_twice(file, number):
    file.RescaleIntercept = -1024


# A word that the values are no Hounsfield units.
SHIFTED = {
    "NIfTI": lambda folder: nifti(folder / "a.nii", (volume() - 1024).astype(np.int16)),
    "DICOM": lambda folder: changed(folder / "ct", shifted_twice),
}


@cases("CT from which 1024 was subtracted twice, {}.", SHIFTED)
def shifted(folder, make):
    return judge_words(make(folder), "HU", "shifted")


@case
def labels_to_segment(folder):
    """NIfTI of the labels 0, 1 and 3, to segment."""  # a word
    labels = (volume() < -500).astype(np.uint8)
    labels[:, :100] *= 3
    return judge_words(nifti(folder / "a.nii.gz", labels), "mask")


@case
def gap_copies_and_scout(folder):
    """A series with a gap, a copy of a slice and a scout."""  # a sentence on the gap
    series(folder / "ct", [0, 5, 10, 20, 25, 30])
    dicom(folder / "ct" / "copy.dcm", ct_slice(), number=1, z=0)
    scout = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}
    dicom(folder / "ct" / "A.dcm", np.full((300, 200), -500, np.int16), number=99, z=0, **scout)
    return judge(folder / "ct", "ct", "missing")


@case
def copies_and_others(folder):
    """A series with a copy of a slice, a structure set and a film."""  # the volume
    series(folder / "ct")
    dicom(folder / "ct" / "copy.dcm", ct_slice(), number=1, z=0)
    without_picture(folder / "ct" / "RS.dcm", "1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT")
    dicom(folder / "ct" / "film.dcm", film(), DX, series="1.9")
    return judge(folder / "ct", "ct")


def jpeg_of_12_bits():
    import imagecodecs

    return imagecodecs.jpeg8_encode(deep(), bitspersample=12)


def lossless_jpeg():
    import imagecodecs

    return imagecodecs.ljpeg_encode(deep())


def jpeg_ls():
    import imagecodecs

    return imagecodecs.jpegls_encode(film())


STREAMS = {"JPEG of 12 bits": (jpeg_of_12_bits, "12 bits"), "lossless JPEG": (lossless_jpeg, "lossless"),
           "JPEG-LS": (jpeg_ls, "JPEG-LS")}  # fmt: skip


@cases("Film as {}, called .jpg.", STREAMS)
def streams(folder, kind):  # a sentence with the cause
    encode, word = kind
    (folder / "a.jpg").write_bytes(encode())
    return judge(folder / "a.jpg", "film", word, "Convert")


@case
def bytes_in_16_bits(folder):
    """Film of 0 to 255 in a 16-bit PNG, with a marker of 65535."""  # right
    return judge(png16(folder / "a.png", np.where(np.arange(256) < 9, 65535, film()).astype(np.uint16)), "film")


@case
def negative_with_nan(folder):
    """Negative film as TIFF of floats with a frame of NaN."""  # as without a frame of NaN
    Image.fromarray(np.pad(255 - film(), 8)).save(folder / "plain.png")
    framed = np.pad((255 - film()).astype(np.float32) / 255, 8, constant_values=np.nan)
    return judge_alike(tiff(folder / "a.tif", framed), folder / "plain.png")


def panoptic():
    picture = np.zeros((*BOTH.shape, 3), np.uint8)
    picture[LEFT], picture[RIGHT] = (1, 0, 0), (44, 1, 0)
    return picture


def half_clear(path):
    image = Image.fromarray((LEFT + 2 * RIGHT).astype(np.uint8), "P")
    image.putpalette([255, 255, 255, 255, 0, 0, 0, 0, 255])
    image.save(path, transparency=bytes([0, 128, 128]))
    return path


def two_classes(path):
    share = np.rint(ndimage.gaussian_filter(BOTH * 255.0, 1.5)).astype(np.uint8)
    return save(path, np.dstack([share, 255 - share]))


# Right: the lungs; a sentence if two channels may be either.
MASKS = {
    "instances 24001 and 24002": lambda path: png16(path, (LEFT * 24001 + RIGHT * 24002).astype(np.uint16)),
    "instances on class 7": lambda path: png16(
        path, np.where(LEFT, 24001, np.where(RIGHT, 24002, 7)).astype(np.uint16)
    ),
    "panoptic ids": lambda path: save(path, panoptic()), "half transparent palette colours": half_clear,
    "16-bit grey with opacity": lambda path: png16(
        path, np.dstack([BOTH * 65535, np.full(BOTH.shape, 65535)]).astype(np.uint16)
    ),
    "8-bit grey with opacity": lambda path: save(path, np.dstack([BOTH * 255, np.full(BOTH.shape, 255)]).astype("u1")),
    "probabilities of two classes": two_classes,
    "probabilities up to 120": lambda path: save(
        path, np.rint(ndimage.gaussian_filter(BOTH * 120.0, 1.5)).astype(np.uint8)
    ),
}  # fmt: skip


@cases("Mask as PNG of {}.", MASKS)
def masks(folder, make):
    return judge_mask(make(folder / "a.png"), "probabilities of two classes")


@case
def clear_lungs(folder):
    """Mask as PNG of a palette whose lungs are transparent."""  # the lungs, or an error
    image = Image.fromarray(BOTH.astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(folder / "a.png", transparency=1)
    return judge_lungs(folder / "a.png", "background")


@case
def palette_without_a_lung(folder):
    """Masks of Pascal VOC's palette, of which a lung is missing."""  # a finding

    def write(file, left, _):
        image = Image.fromarray(left.astype(np.uint8), "P")
        image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
        image.save(file)

    return judge_check(resave(write_set(folder) / "masks", write), "a lung may be missing")


@case
def void_around(folder):
    """Masks of the classes 0 and 1 on a background of 255."""  # a finding
    return judge_check(
        resave(
            write_set(folder) / "masks",
            lambda file, left, right: save(file, np.where(left, 0, np.where(right, 1, 255)).astype(np.uint8)),
        ),
        "inverted",
    )
