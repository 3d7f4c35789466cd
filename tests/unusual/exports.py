"""What other programs export, and names as people give them."""

import json
import shutil

import nibabel
import numpy as np
import pydicom
from PIL import Image

from lungnb.datasets.check import check_dataset
from lungnb.presets import make_settings
from unusual import Result, case, cases, film, judge
from unusual.dicoms import DX, dicom
from unusual.masks import BOTH, judge_mask, labelled, save
from unusual.pictures import png16, tiff
from unusual.sets import AFFINE, COUNT, ROWS, judge_set, judge_volumes, phantoms, slices, write_set

PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0]  # of Pascal VOC: background, first and second class


def judge_check(raw, *words):
    """Check a data set: explained if an error or a warning has one of the words."""
    try:
        findings = check_dataset(make_settings(str(raw)), progress=False)
    except ValueError as error:
        return Result("explained" if any(word in str(error) for word in words) else "wrong", str(error))
    said = findings.loc[findings["severity"] != "note", "what"]
    is_said = any(said.str.contains(word).any() for word in words)
    return Result("explained" if is_said else "wrong", "; ".join(said.unique()))


def resave(folder, change):
    """Save each mask of a data set anew: `change` takes its path, the left and the right lung."""
    for file, (_, left, right) in zip(sorted(folder.iterdir()), phantoms(), strict=True):
        change(file, left, right)
    return folder.parent


# Right: read as the lungs.
def voc(file, left, right):
    image = Image.fromarray((left + 2 * right).astype(np.uint8), "P")
    image.putpalette(PALETTE)
    image.save(file)


def black_palette(file, left, right):
    image = Image.fromarray((left | right).astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 1, 1, 1])
    image.save(file)


def logical(file, left, right):
    Image.fromarray(left | right).save(file)


def dim_blue(file, left, right):
    Image.fromarray(np.dstack([0 * left, 0 * left, left | right]).astype(np.uint8)).save(file)


def opaque(file, left, right):
    mask = (left | right) * np.uint8(255)
    Image.fromarray(np.dstack([mask, 0 * mask, 0 * mask, 0 * mask + 255])).save(file)


def deep_labels(file, left, right):
    png16(file, (left + 2 * right).astype(np.uint16))


def with_profile(file, left, right):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray((left | right) * np.uint8(255)).convert("RGB").save(file, icc_profile=profile, gamma=0.45)


def inverted_palette(file, left, right):
    image = Image.fromarray((~(left | right)).astype(np.uint8), "P")
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.save(file)


PICTURES = {
    "CVAT (Pascal VOC palette)": voc, "a palette of nearly black colours": black_palette, "MATLAB (logical)": logical,
    "dim blue": dim_blue, "red, opaque": opaque, "16 bits, labels 1 and 2": deep_labels,
    "a colour profile and gamma": with_profile, "a palette that begins with white": inverted_palette,
}  # fmt: skip


@cases("PNG masks of {}.", PICTURES)
def pictures_of(folder, change):
    return judge_set(resave(write_set(folder) / "masks", change))


# Right: read as the lungs.
TIFFS = {
    "LZW": {"compression": "tiff_lzw"}, "PackBits": {"compression": "packbits"},
    "CCITT group 4": {"compression": "group4"}, "JPEG": {"compression": "jpeg"},
    "Deflate": {"compression": "tiff_deflate"},
}  # fmt: skip


@cases("TIFF mask packed with {}.", TIFFS)
def packed(folder, options):
    array = BOTH if options["compression"] == "group4" else BOTH * np.uint8(255)
    return judge_mask(save(folder / "a.tif", array, **options))


# Right: read as the lungs (ImageJ writes labels, and its own description).
IMAGEJ = {"16-bit labels": labelled(1, 2, np.uint16), "32-bit floats up to 255": labelled(255, 255, np.float32)}


@cases("ImageJ's TIFF mask of {}.", IMAGEJ)
def of_imagej(folder, array):
    return judge_mask(tiff(folder / "a.tif", array, imagej=True))


@case
def inverting_table(folder):
    """ImageJ's TIFF masks with an inverting lookup table."""  # shown black on white: a sentence that they are inverted
    raw = write_set(folder)
    for file, (_, left, right) in zip(sorted((raw / "masks").iterdir()), phantoms(), strict=True):
        file.unlink()
        tiff(file.with_suffix(".tif"), (left | right) * np.uint8(255), photometric="miniswhite")
    return judge_check(raw, "inverted")


@case
def stack_of_image_and_mask(folder):
    """TIFF of two pages, image and mask, without other masks."""  # a sentence that there is no mask
    for number, (image, left, right) in enumerate(phantoms()):
        (folder / "set" / "images").mkdir(parents=True, exist_ok=True)
        pages = [Image.fromarray(image), Image.fromarray((left | right) * np.uint8(255))]
        pages[0].save(folder / "set" / "images" / f"{number}.tif", save_all=True, append_images=pages[1:])
    return judge_check(folder / "set", "no image with a mask")


# A sentence that names the kind of file that is not read, or that there is no mask.
FILES = {
    "MATLAB (.mat)": ".mat",
    "NumPy (.npy)": ".npy",
    "3D Slicer (.seg.nrrd)": ".seg.nrrd",
    "LabelMe (.json)": ".json",
}


@cases("Masks as files of {}.", FILES)
def as_files(folder, suffix):
    raw = write_set(folder)
    for file in (raw / "masks").iterdir():
        file.with_name(file.stem + suffix).write_bytes(b"0" * 999)
        file.unlink()
    return judge_check(raw, suffix.split(".")[-1])


@case
def labelme_folders(folder):
    """LabelMe's folders: img.png, label.png, label_viz.png."""  # the label is the mask, the picture of it is not
    for number, (image, left, right) in enumerate(phantoms()):
        case_folder = folder / "set" / f"case{number}_json"
        save(case_folder / "img.png", image)
        voc(case_folder / "label.png", left, right)
        save(
            case_folder / "label_viz.png",
            np.dstack([image, image // 2 + np.uint8(100) * left, image // 2 + np.uint8(100) * right]),
        )
    return judge_set(folder / "set")


@case
def cvat_folders(folder):
    """CVAT's folders JPEGImages and SegmentationClass."""  # read as pairs
    raw = write_set(folder, "JPEGImages/{:03}.jpg", "SegmentationClass/{:03}.png")
    resave(raw / "SegmentationClass", voc)
    shutil.copytree(raw / "SegmentationClass", raw / "SegmentationObject")
    (raw / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nlung:128,0,0::\n")
    return judge_set(raw, "no image with a mask")


@case
def coco(folder):
    """Images with a COCO file."""  # a sentence that there are no masks
    raw = write_set(folder)
    shutil.rmtree(raw / "masks")
    (raw / "annotations.json").write_text(json.dumps({"images": [], "annotations": []}))
    return judge_check(raw, "json")


# Right: read as pairs of the whole lungs.
NAMES = {
    "blanks, dots and brackets": ("images/Case {:03} (2).v1 [a].png", "masks/Case {:03} (2).v1 [a]_mask.png"),
    "UIDs": ("images/1.2.840.113619.2.{:03}.png", "masks/1.2.840.113619.2.{:03}.png"),
    "letters of three alphabets": ("images/Größe_肺_{:03}.png", "masks/Größe_肺_{:03}_mask.png"),
    "German folders": ("Bilder/{:03}.png", "Masken/{:03}.png"),
    "a percent sign, a hash and a comma": ("images/50%25 #{:03}, a.png", "masks/50%25 #{:03}, a.png"),
    "a blank at the end": ("images/{:03} .png", "masks/{:03}.png"),
    "TIF in capitals": ("images/{:03}.PNG", "masks/{:03}.png"),
    "Lungs in the name of the set": ("images/lungs_{:03}.png", "masks/lungs_{:03}.png"),
    "train and mask of one folder": ("train/{:03}.png", "train/{:03}_mask.png"),
    "_mask before the suffix of a copy": ("images/{:03}.jpg", "masks/{:03}.jpg_mask.png"),
    "DICOM's ending before that of a picture": ("images/IM{:03}.dcm.png", "masks/IM{:03}.dcm.png"),
    "numbers in brackets": ("images/img ({}).png", "masks/mask ({}).png"),
    "several dots": ("images/1.2.{}.0.png", "masks/1.2.{}.0.png"),
    "masks of left and right in the name": ("images/left_{:03}.png", "masks/left_{:03}_mask.png"),
    "lung_mask": ("images/case_{:03}.png", "masks/case_{:03}_lung_mask.png"),
    "-lungs": ("images/case-{:03}.png", "masks/case-{:03}-lungs.png"),
    "numbers that join": ("images/p1_{}1.png", "masks/p1_{}1.png"),
    "image and mask as endings in capitals": ("all/{:03}_IMAGE.PNG", "all/{:03}_MASK.PNG"),
    "JPEG in capitals": ("images/{:03}.JPEG", "masks/{:03}.png"),
}  # fmt: skip


@cases("Files named with {}.", NAMES)
def odd_names(folder, places):
    return judge_set(write_set(folder, *places))


# Read, or a sentence with the folders or names that are not understood.
FOREIGN = {"French": ("images/{:03}.png", "masques/{:03}.png"), "Spanish": ("images/{:03}.png", "mascaras/{:03}.png")}


@cases("Folders with {} names.", FOREIGN)
def foreign(folder, places):
    return judge_set(write_set(folder, *places), "images/ and masks")


@case
def brackets_in_the_folder(folder):
    """A folder whose name has brackets, blanks and an umlaut."""  # read
    raw = write_set(folder)
    return judge_set(raw.rename(folder / "Lungen [v1] (März) 100%"))


@case
def litter(folder):
    """Folders with files of macOS and Windows."""  # ignored
    raw = write_set(folder)
    for place in (raw, raw / "images", raw / "masks"):
        for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._001.png"):
            (place / name).write_bytes(b"\0\5\x16\7" * 9)
    (raw / "__MACOSX" / "images").mkdir(parents=True)
    (raw / "__MACOSX" / "images" / "._001.png").write_bytes(b"\0\5\x16\7" * 9)
    return judge_set(raw)


@case
def copy_of_a_mask(folder):
    """A copy of a mask beside it, as Windows names it."""  # read without it, or a sentence that names the copy
    raw = write_set(folder)
    shutil.copy(raw / "masks" / "001.png", raw / "masks" / "001 - Copy.png")
    return judge_set(raw)


# Read, or a sentence on the ids or the column.
IDS = {
    "Windows paths": ("id", "images\\{:03}.png"), "paths": ("id", "images/{:03}.png"), "a date": ("id", "{}-Jan"),
    "numbers in scientific notation": ("id", "{}.00E+00"), "a column called ID": ("ID", "{:03}"),
    "a column called file name": ("file name", "{:03}"), "blanks around ids": ("id", " {:03} "),
    "capital suffixes": ("id", "{:03}.PNG"),
}  # fmt: skip


@cases("A table of patients with {}.", IDS)
def ids(folder, column):
    title, form = column
    raw = write_set(folder)
    rows = [f"{title},patient", *(f"{form.format(number)},P{number}" for number in range(1, COUNT + 1))]
    (folder / "patients.csv").write_text("\n".join(rows))
    return judge_set(raw, "patients.csv", patient_file=str(folder / "patients.csv"))


# Right: the mask of the ordinary film.
def cmyk(folder):
    path = folder / "a.jpg"
    Image.fromarray(film()).convert("CMYK").save(path, quality=98)
    return path


def screenshot(folder):
    return save(folder / "a.png", np.dstack([*[film()] * 3, np.full_like(film(), 255)]))


def interlaced_gif(folder):
    return save(folder / "a.gif", film(), interlace=1)


def bmp_of_32_bits(folder):
    return save(folder / "a.bmp", np.dstack([*[film()] * 3, np.full_like(film(), 255)]))


FILMS = {"a CMYK JPEG": cmyk, "a screenshot with opacity": screenshot, "an interlaced GIF": interlaced_gif,
         "a BMP of 32 bits": bmp_of_32_bits}  # fmt: skip


@cases("Film as {}.", FILMS)
def films(folder, make):
    return judge(make(folder), "film")


# Right: the mask of the ordinary film; JPEG-LS without a decoder needs a sentence.
def jpeg_ls(file):
    import imagecodecs

    pixels = film().astype(np.uint16) * 16
    file.PixelData = pydicom.encaps.encapsulate([imagecodecs.jpegls_encode(pixels)])
    file["PixelData"].is_undefined_length = True
    file.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLSLossless
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, 12, 11


def rle(file):
    file.compress(pydicom.uid.RLELossless)


def deflated(file):
    file.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian


def colours(file):
    file.PixelData, file.SamplesPerPixel, file.PlanarConfiguration = np.dstack([film()] * 3).tobytes(), 3, 0
    file.PhotometricInterpretation = "RGB"


def planes(file):
    file.PixelData, file.SamplesPerPixel, file.PlanarConfiguration = np.stack([film()] * 3).tobytes(), 3, 1
    file.PhotometricInterpretation = "RGB"


def one_frame(file):
    file.NumberOfFrames = 1


def ybr(file):
    grey = np.full_like(film(), 128)
    file.PixelData, file.SamplesPerPixel, file.PlanarConfiguration = np.dstack([film(), grey, grey]).tobytes(), 3, 0
    file.PhotometricInterpretation = "YBR_FULL"


DICOMS = {"12-bit JPEG-LS": jpeg_ls, "RLE": rle, "deflated": deflated, "RGB": colours, "RGB in planes": planes,
          "one frame": one_frame, "YBR_FULL": ybr}  # fmt: skip


@cases("DICOM film, {}.", DICOMS)
def dicom_film(folder, change):
    path = dicom(folder / "a.dcm", film(), DX)
    file = pydicom.dcmread(path)
    change(file)
    file.save_as(path)
    return judge(path, "film", "JPEG-LS")


def write_volumes(folder, write_image=None, write_mask=None, image="images/{}.nii.gz", mask="masks/{}.nii.gz"):
    """Write CT volumes of four slices with masks; `write_image` and `write_mask` take an array and return an image."""
    plain = lambda array: nibabel.Nifti1Image(array, AFFINE)  # noqa: E731
    for number, (hounsfield, left, right) in enumerate(slices()):
        of_lungs = (left | right).astype(np.uint8)
        for name, array, write in ((image, hounsfield, write_image), (mask, of_lungs, write_mask)):
            file = folder / "set" / name.format(f"case{number}")
            file.parent.mkdir(parents=True, exist_ok=True)
            written = (write or plain)(np.stack([array.T] * 4, -1))
            file.write_bytes(written.to_bytes())
    return folder / "set"


def flipped(array):
    """Return a volume that is stored from the patient's right to the left, and from posterior to anterior."""
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    flip[:2, 3] = np.array(array.shape[:2]) - 1
    return nibabel.Nifti1Image(array[::-1, ::-1], AFFINE @ flip)


def one_time(array):
    return nibabel.Nifti1Image(array[..., None], AFFINE)


def scaled(array):
    image = nibabel.Nifti1Image((array * 255).astype(np.uint8), AFFINE)
    image.header.set_slope_inter(1 / 255, 0)
    return image


def noisy(array):
    return nibabel.Nifti1Image((array * 0.99998).astype(np.float64), AFFINE)


# Right: read as the lungs.
VOLUMES = {
    "masks stored the other way round": {"write_mask": flipped},
    "images stored the other way round": {"write_image": flipped},
    "one time point": {"write_image": one_time, "write_mask": one_time}, "masks of 0.99998": {"write_mask": noisy},
    "masks scaled by 1/255": {"write_mask": scaled},
    "3D Slicer's names": {"image": "{}/ct.nii", "mask": "{}/ct-label.nii"},
    "ITK-SNAP's names": {"image": "{}.nii", "mask": "{}_seg.nii"},
    "names in capitals": {"image": "images/{}.NII", "mask": "masks/{}.NII"},
}  # fmt: skip


@cases("NIfTI volumes with {}.", VOLUMES)
def volumes(folder, options):
    return judge_volumes(write_volumes(folder, **options))


def without_codes(array):
    image = nibabel.Nifti1Image(array, None)
    image.header.set_zooms((1.4, 1.4, 5.0))
    return image


def identity(array):
    return nibabel.Nifti1Image(array, np.eye(4))


def fewer(array):
    return nibabel.Nifti1Image(array[..., 1:], AFFINE)


def placed(array):
    place = AFFINE.copy()
    place[:3, 3] = 180, 170, -300
    return nibabel.Nifti1Image(array, place)


# Read, or a sentence that the mask lies elsewhere or has another size.
MISFITS = {
    "no codes of place": {"write_image": placed, "write_mask": without_codes},
    "an affine of 1": {"write_image": placed, "write_mask": identity}, "a slice too few": {"write_mask": fewer},
}  # fmt: skip


@cases("NIfTI masks with {}.", MISFITS)
def misfits(folder, options):
    raw = write_volumes(folder, **options)
    result = judge_volumes(raw, "elsewhere")
    return result if result.verdict != "wrong" else judge_volumes(raw, "voxels")


@case
def contours(folder):
    """Masks that draw the outline of the lungs only."""
    from scipy import ndimage

    raw = write_set(folder)
    resave(
        raw / "masks",
        lambda file, left, right: save(file, (left | right) & ~ndimage.binary_erosion(left | right, None, 2)),
    )
    return judge_check(raw, "outline", "covers")


@case
def overlays(folder):
    """Masks that are films with red lungs."""  # a sentence that they are not masks
    raw = write_set(folder)
    for file, (image, left, right) in zip(sorted((raw / "masks").iterdir()), phantoms(), strict=True):
        lungs = (left | right)[..., None]
        tinted = np.where(lungs, image[..., None] // 2 + np.array([120, 0, 0]), image[..., None])
        save(file, tinted.astype(np.uint8))
    return judge_check(raw, "not a mask")


@case
def stored_as_capture(folder):
    """Masks as DICOM secondary captures."""  # read, or a sentence
    raw = write_set(folder)
    for file, (_, left, right) in zip(sorted((raw / "masks").iterdir()), phantoms(), strict=True):
        file.unlink()
        dicom(file.with_suffix(".dcm"), (left | right).astype(np.uint8), "1.2.840.10008.5.1.4.1.1.7", Modality="OT")
    return judge_set(raw, "not a Segmentation")


def coloured(name):
    """Return a function that writes a mask as Matplotlib's `imsave` does with a colour map."""

    def write(file, left, right):
        import matplotlib.pyplot as plt

        plt.imsave(file, (left | right).astype(np.uint8), cmap=name)

    return write


# Read as the lungs, or a sentence that the mask is inverted: dark lungs on a light background.
MAPS = {name: coloured(name) for name in ("viridis", "gray", "jet", "bwr", "hot", "tab10", "Reds", "gray_r")}


@cases("Masks saved by Matplotlib with the colour map {}.", MAPS)
def matplotlib_masks(folder, change):
    raw = resave(write_set(folder) / "masks", change)
    result = judge_set(raw)
    return result if result.verdict == "right" else judge_check(raw, "inverted")


# A sentence that names the file; all other pairs are used.
BROKEN = {
    "an empty file": b"", "a page of a server": b"<!DOCTYPE html><html><body>404</body></html>",
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "a file of zeros": bytes(5000),
}  # fmt: skip


@cases("A mask that is {}.", BROKEN)
def broken_mask(folder, content):
    raw = write_set(folder)
    (raw / "masks" / "003.png").write_bytes(content)
    findings = check_dataset(make_settings(str(raw)), progress=False)
    said = findings.loc[findings["severity"] == "error", "what"].str.cat(sep="; ")
    return Result("explained" if "masks/003.png" in said else "wrong", said)


# Right: read by their content.
def renamed(suffix, wrong):
    def write(file, left, right):
        file.unlink()
        Image.fromarray((left | right) * np.uint8(255)).save(file.with_suffix(suffix))
        file.with_suffix(suffix).rename(file.with_suffix(wrong))

    return write


WRONG = {"PNG called .jpg": renamed(".png", ".jpg"), "TIFF called .png": renamed(".tif", ".png"),
         "BMP called .tif": renamed(".bmp", ".tif")}  # fmt: skip


@cases("Masks as {}.", WRONG)
def wrong_suffix(folder, change):
    return judge_set(resave(write_set(folder) / "masks", change))


# Read, or a sentence about the table.
SHEETS = {
    "Excel's line sep=;": "sep=;\nid;patient\n" + "".join(f"{n:03};P{n}\n" for n in range(1, 7)),
    "line ends of old Macs": "id,patient\r" + "".join(f"{n:03},P{n}\r" for n in range(1, 7)),
    "quotation marks around all cells": '"id","patient"\n' + "".join(f'"{n:03}","P{n}"\n' for n in range(1, 7)),
    "a decimal comma": "id;patient;pixel_mm\n" + "".join(f"{n:03};P{n};0,175\n" for n in range(1, 7)),
    "an id twice, of two patients": "id,patient\n001,P9\n" + ROWS,
    "empty lines": "\n\nid,patient\n\n" + "".join(f"{n:03},P{n}\n\n" for n in range(1, 7)),
    "a title above": "Patients of 2026\nid,patient\n" + ROWS,
    "an error of Excel as patient": "id,patient\n" + "".join(f"{n:03},#REF!\n" for n in range(1, 7)),
}  # fmt: skip


@cases("A table of patients with {}.", SHEETS)
def sheets(folder, text):
    raw = write_set(folder)
    (folder / "patients.csv").write_bytes(text.encode())
    return judge_set(raw, "patients.csv", patient_file=str(folder / "patients.csv"))


# A sentence that the format is not read.
UNREAD = {".webp": "WEBP", ".jp2": "JPEG2000", ".jfif": "JPEG", ".pgm": "PPM"}


@cases("Film as a {} file.", {suffix: suffix for suffix in UNREAD})
def unread(folder, suffix):
    Image.fromarray(film()).save(folder / f"a{suffix}", UNREAD[suffix])
    return judge(folder / f"a{suffix}", "film", "not an image format", "Convert")


@case
def structure_sets(folder):
    """Masks as DICOM structure sets."""  # a sentence
    from unusual.dicoms import without_picture

    raw = write_set(folder)
    for file in [*(raw / "masks").iterdir()]:
        file.unlink()
        without_picture(file.with_suffix(".dcm"), "1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT")
    return judge_set(raw, "not a Segmentation")


@case
def disc_of_a_hospital(folder):
    """A CD with DICOMDIR and a series in folders without suffixes."""  # the series is segmented
    from unusual.dicoms import series

    for file in [*series(folder / "PA0" / "ST0" / "SE0").iterdir()]:
        file.rename(file.with_suffix(""))
    dicom(
        folder / "DICOMDIR",
        np.zeros((2, 2), np.uint16),
        "1.2.840.10008.1.3.10",
        Rows=None,
        Columns=None,
        PixelData=None,
    )
    (folder / "AUTORUN.INF").write_text("[autorun]")
    return judge(folder, "ct")


def voxels(kind):
    return {"write_image": lambda array: nibabel.Nifti1Image(array.astype(kind), AFFINE)}


def big_endian(array):
    return nibabel.Nifti1Image(array, AFFINE, nibabel.Nifti1Header(endianness=">"))


def second_version(array):
    return nibabel.Nifti2Image(array, AFFINE)


def qform_alone(array):
    image = nibabel.Nifti1Image(array, None)
    image.set_qform(AFFINE, 1)
    return image


def singular_sform(array):
    image = nibabel.Nifti1Image(array, AFFINE)
    image.set_qform(AFFINE, 1)
    image.header["srow_z"], image.header["sform_code"] = 0, 1
    return image


def vector(array):
    return nibabel.Nifti1Image(array[..., None, None], AFFINE)


# Right: read as the lungs; of a header that contradicts itself, or of rare numbers, a sentence.
HEADERS = {
    "float64": voxels("f8"),
    "int8 masks": {"write_mask": lambda array: nibabel.Nifti1Image(array.astype("i1"), AFFINE)},
    "the high byte first": {"write_image": big_endian, "write_mask": big_endian},
    "version 2": {"write_image": second_version}, "a qform alone": {"write_image": qform_alone},
    "a singular sform": {"write_image": singular_sform}, "five dimensions": {"write_image": vector},
}  # fmt: skip


@cases("NIfTI volumes of {}.", HEADERS)
def nifti_headers(folder, options):
    result = judge_volumes(write_volumes(folder, **options))
    is_said = "Convert" in result.said or "affine" in result.said
    return result._replace(verdict="explained") if result.verdict == "wrong" and is_said else result


def wide(file):
    file.PixelData, file.BitsAllocated, file.BitsStored, file.HighBit = film().astype(np.uint32).tobytes(), 32, 32, 31


def no_frames(file):
    file.NumberOfFrames = 0


def too_short(file):
    file.PixelData = file.PixelData[:-2]


def too_long(file):
    file.PixelData += bytes(2)


def signed_film(file):
    file.PixelData, file.BitsAllocated, file.BitsStored = (film().astype(np.int16) * 16 - 2048).tobytes(), 16, 16
    file.HighBit, file.PixelRepresentation = 15, 1


def big_endian_dicom(file):
    file.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian


def shown_twice(file):
    file.WindowCenter, file.WindowWidth = [128, 20], [256, 10]


# Right: the mask of the ordinary film, or a sentence that the pixels are cut.
STORED = {"32 bits": wide, "0 frames": no_frames, "two bytes too few": too_short, "two bytes too many": too_long,
          "signed": signed_film, "two windows": shown_twice}  # fmt: skip


@cases("DICOM film of {}.", STORED)
def stored_film(folder, change):
    path = dicom(folder / "a.dcm", film(), DX)
    file = pydicom.dcmread(path)
    change(file)
    file.save_as(path)
    return judge(path, "film", "cut")


# Read as the lungs, or a sentence.
LAYOUTS = {
    "a folder per patient": ("images/p{0}/{0:03}.png", "masks/p{0}/{0:03}.png"),
    "images and masks per patient": ("p{0}/images/film.png", "p{0}/masks/film.png"),
    "masks below images": ("images/{:03}.png", "images/masks/{:03}.png"),
    "a folder called labels above": ("labels/images/{:03}.png", "labels/masks/{:03}.png"),
    "masks first": ("data/{:03}_image.png", "data/{:03}_label.png"),
    "the word mask in images": ("images/unmasked_{:03}.png", "masks/unmasked_{:03}.png"),
    "names of hashes": ("set/{0:03}a9/images/{0:03}a9.png", "set/{0:03}a9/masks/f{0}c77.png"),
    "numbers of other lengths": ("images/{:03}.png", "masks/{}.png"),
    "GT in capitals": ("images/{:03}.png", "GT/{:03}.png"),
    "dates in names": ("images/2026-11-{:02} 10.30.png", "masks/2026-11-{:02} 10.30.png"),
    "image and mask called alike in capitals": ("IMAGES/{:03}.png", "MASKS/{:03}.png"),
}  # fmt: skip


@cases("A data set with {}.", LAYOUTS)
def layouts(folder, places):
    return judge_set(write_set(folder, *places), "no image with a mask")


@case
def nifti_of_a_film(folder):
    """Masks of films as NIfTI."""  # read, or a sentence
    raw = write_set(folder)
    for file, (_, left, right) in zip(sorted((raw / "masks").iterdir()), phantoms(), strict=True):
        file.unlink()
        image = nibabel.Nifti1Image((left | right).T[..., None].astype(np.uint8), np.diag([-1.0, -1, 1, 1]))
        file.with_suffix(".nii").write_bytes(image.to_bytes())
    return judge_set(raw, "not a mask format", "Convert")


@case
def folder_of_windows(folder):
    """A path of Windows in place of a folder."""  # a sentence
    return judge_check("C:\\Users\\me\\my lungs", "C:", "folder")


@case
def transposed(folder):
    """Scored masks with rows and columns swapped."""  # a sentence
    from unusual.masks import judge_scored

    return judge_scored(folder, np.transpose, "saved with rows and columns swapped")


@case
def thumbnail_first(folder):
    """Scanner's TIFF whose first page is a small copy of the film."""  # a note on the pages
    pages = [Image.fromarray(film()).resize((64, 64)), Image.fromarray(film())]
    pages[0].save(folder / "a.tif", save_all=True, append_images=pages[1:])
    return judge(folder / "a.tif", "film", "first")


# A sentence that the format is not read.
@cases("A volume as {}.", {".nrrd": ".nrrd", ".mha": ".mha", ".dcm.gz": ".dcm.gz"})
def unread_volumes(folder, suffix):
    (folder / f"a{suffix}").write_bytes(b"NRRD0004" + bytes(500))
    return judge(folder / f"a{suffix}", "ct", "not an image format")
