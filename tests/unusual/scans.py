"""CT series, films and volumes: syntaxes, directions, places, and headers that differ from slice to slice."""

import gzip
import warnings

import nibabel
import numpy as np
import pydicom
from pydicom.dataset import Dataset

from lungnb.segmentation.batch import segment_files
from unusual import SIZE, Result, case, cases, ct_slice, explained_by, film, judge, out_folder
from unusual.dicoms import DX, dicom, enhanced, series
from unusual.volumes import AFFINE, nifti, volume


def packed(path, encode, syntax, **changes):
    """Write the pixels of a DICOM file anew, as `encode` packs them."""
    file = pydicom.dcmread(path)
    file.PixelData = pydicom.encaps.encapsulate([encode(file.pixel_array)])
    file["PixelData"].is_undefined_length = True
    file.file_meta.TransferSyntaxUID = syntax
    for name, value in changes.items():
        setattr(file, name, value)
    file.save_as(path)
    return path


def film_of_12_bits(path, **tags):
    return dicom(path, film().astype(np.uint16) * 16, DX, BitsStored=12, HighBit=11, **tags)


def lossless_jpeg(pixels):
    import imagecodecs

    return imagecodecs.ljpeg_encode(pixels.view(np.uint16))


def jpeg_2000(pixels):
    import imagecodecs

    return imagecodecs.jpeg2k_encode(pixels, reversible=True, codecformat="j2k")


def jpeg_2000_without_sign(pixels):
    return jpeg_2000(pixels.view(np.uint16))


def htj2k(pixels):
    import imagecodecs

    return imagecodecs.htj2k_encode(pixels, reversible=True)


def jpeg_colours(pixels):
    import imagecodecs

    return imagecodecs.jpeg8_encode(np.dstack([pixels] * 3), level=98)


COLOURS = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "PhotometricInterpretation": "YBR_FULL_422"}


def big_endian(path):
    """Write a DICOM file anew with the high byte first; of 8 bits a pixel, two pixels are a word."""
    file = pydicom.dcmread(path)
    file.PixelData = np.frombuffer(file.PixelData, "<u2").astype(">u2").tobytes()
    file["PixelData"].VR = "OW"
    file.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
    pydicom.dcmwrite(path, file, implicit_vr=False, little_endian=False, force_encoding=True)
    return path


# Right: the mask of the ordinary film.
FILMS = {
    "lossless JPEG": lambda path: packed(film_of_12_bits(path), lossless_jpeg, pydicom.uid.JPEGLosslessSV1),
    "JPEG 2000": lambda path: packed(film_of_12_bits(path), jpeg_2000, pydicom.uid.JPEG2000Lossless),
    "colours as JPEG": lambda path: packed(
        dicom(path, film(), DX), jpeg_colours, pydicom.uid.JPEGBaseline8Bit, **COLOURS
    ),
    "16 bits, the high byte first": lambda path: big_endian(film_of_12_bits(path)),
    "8 bits, the high byte first": lambda path: big_endian(dicom(path, film(), DX)),
}  # fmt: skip


@cases("DICOM film of {}.", FILMS)
def films(folder, make):
    return judge(make(folder / "a.dcm"), "film")


# Right: the mask of the ordinary slice, or a sentence that no package decodes it.
SYNTAXES = {
    "lossless JPEG": (lossless_jpeg, pydicom.uid.JPEGLosslessSV1),
    "JPEG 2000": (jpeg_2000, pydicom.uid.JPEG2000Lossless),
    "JPEG 2000 without a sign": (jpeg_2000_without_sign, pydicom.uid.JPEG2000Lossless),
    "high-throughput JPEG 2000": (htj2k, pydicom.uid.HTJ2KLossless),
}


@cases("CT slice with a sign, {}.", SYNTAXES)
def signed_syntaxes(folder, syntax):
    return judge(packed(dicom(folder / "a.dcm", ct_slice()), *syntax), "ct", "decodes")


@case
def big_endian_series(folder):
    """A series, the high byte first."""  # right
    for file in series(folder / "ct").iterdir():
        big_endian(file)
    return judge(folder / "ct", "ct")


def sign_too_many(path):
    return film_of_12_bits(path, PixelRepresentation=1)


def magnified(path):
    return dicom(path, film(), DX, ImagerPixelSpacing=[0.2, 0.2], EstimatedRadiographicMagnificationFactor=1.1)


def with_icon(path):
    file = pydicom.dcmread(dicom(path, film(), DX))
    icon = Dataset()
    icon.Rows = icon.Columns = 8
    icon.SamplesPerPixel, icon.PhotometricInterpretation, icon.PixelData = 1, "MONOCHROME2", bytes(64)
    icon.BitsAllocated, icon.BitsStored, icon.HighBit, icon.PixelRepresentation = 8, 8, 7, 0
    file.IconImageSequence = [icon]
    file.save_as(path)
    return path


def of_floats(path):
    file = pydicom.dcmread(dicom(path, film(), DX, BitsAllocated=32, PixelData=None))
    file.FloatPixelData = (film() / 255).astype(np.float32).tobytes()
    for name in ("BitsStored", "HighBit", "PixelRepresentation"):
        del file[name]
    file.save_as(path)
    return path


def set_table(file, colour):
    file.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [256, 0, 16])


def through_palette(path):
    file = pydicom.dcmread(dicom(path, 255 - film(), DX, PhotometricInterpretation="PALETTE COLOR"))
    for colour in ("Red", "Green", "Blue"):
        set_table(file, colour)
        table = (np.arange(255, -1, -1) * 257).astype(np.uint16)
        setattr(file, f"{colour}PaletteColorLookupTableData", table.tobytes())
    file.save_as(path)
    return path


def segmented_palette(path):
    file = pydicom.dcmread(dicom(path, film(), DX, PhotometricInterpretation="PALETTE COLOR"))
    for colour in ("Red", "Green", "Blue"):
        set_table(file, colour)
        table = np.array([0, 1, 0, 1, 255, 65535], np.uint16)  # one value of 0, then a line to the largest
        setattr(file, f"Segmented{colour}PaletteColorLookupTableData", table.tobytes())
    file.save_as(path)
    return path


def with_commas(path):
    """Write a pixel size with decimal commas, which the standard forbids."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = pydicom.dcmread(dicom(path, film(), DX))
        file.add(pydicom.DataElement("ImagerPixelSpacing", "LO", "0,143\\0,143"))
        file.save_as(path)
    return path


def cine(path):
    pixels = np.stack([film(), np.fliplr(film()), np.flipud(film())])
    return dicom(path, pixels, "1.2.840.10008.5.1.4.1.1.12.1", NumberOfFrames=3)


def document(path):
    return dicom(path, film(), "1.2.840.10008.5.1.4.1.1.104.1", Modality="DOC", PixelData=None, Rows=None, Columns=None)


# Right: the mask of the ordinary film; a sentence for a cine, a document and a table that is not read.
HEADERS = {
    "a sign that its 12 bits lack": sign_too_many, "a magnification": magnified, "an icon": with_icon,
    "floats": of_floats, "a palette of 16 bits": through_palette, "a palette in segments": segmented_palette,
    "three frames": cine, "a document": document,
    "decimal commas": with_commas,
}  # fmt: skip


@cases("DICOM film with {}.", HEADERS)
def headers(folder, make):
    words = {cine: "first", document: "document", segmented_palette: "Palette"}.get(make, "none")
    return judge(make(folder / "a.dcm"), "film", words)


@case
def imager_spacing_alone(folder):
    """DICOM film whose pixel size is that of the detector."""  # areas in mm2 of pixels of 0.2 mm
    path = dicom(folder / "a.dcm", film(), DX, ImagerPixelSpacing=[0.2, 0.2])
    with out_folder() as out:
        row = segment_files(path, out, progress=False).iloc[0]
        return Result("right" if np.isclose(row["right_mm2"], row["right_px"] * 0.04, rtol=0.01) else "wrong", str(row))


def stored(folder, planes, orientation, places, **tags):
    """Write a series of these planes, `(slices, height, width)`, with these directions and positions."""
    for number, (plane, place) in enumerate(zip(planes, places, strict=True)):
        tags |= {"ImageOrientationPatient": orientation, "ImagePositionPatient": [float(x) for x in place]}
        dicom(folder / f"{number:03}.dcm", np.ascontiguousarray(plane), number=number, **tags)
    return folder


def sagittal(folder):
    planes = np.stack([ct_slice()] * 8)[::-1].transpose(2, 0, 1)  # left to right, from the head, from the front
    places = [(-180 + 1.4 * column, -180, 35) for column in range(SIZE)]
    return stored(folder, planes, [0, 1, 0, 0, 0, -1], places, PixelSpacing=[5, 1.4])


def coronal(folder):
    planes = np.stack([ct_slice()] * 8)[::-1].transpose(1, 0, 2)
    places = [(-180, -180 + 1.4 * row, 35) for row in range(SIZE)]
    return stored(folder, planes, [1, 0, 0, 0, 0, -1], places, PixelSpacing=[5, 1.4])


def axial(folder, orientation=(1, 0, 0, 0, 1, 0), turn=lambda plane: plane, step=(0, 0, 5), **tags):
    places = np.arange(8)[:, None] * np.array(step) + (-180, -180, 0)
    return stored(folder, [turn(ct_slice())] * 8, list(orientation), places, **tags)


def tilted(folder):
    angle = np.radians(20)
    return axial(folder, (1, 0, 0, 0, np.cos(angle), -np.sin(angle)))


def turned_in_plane(folder):
    angle = np.radians(12)
    return axial(folder, (np.cos(angle), np.sin(angle), 0, -np.sin(angle), np.cos(angle), 0))


# Right: the mask of the ordinary slice.
DIRECTIONS = {
    "sagittal slices": sagittal, "coronal slices": coronal, "a tilted gantry": tilted,
    "slices turned by 12 degrees": turned_in_plane,
    "a prone patient": lambda folder: axial(folder, (-1, 0, 0, 0, -1, 0), lambda plane: plane[::-1, ::-1]),
    "feet first": lambda folder: axial(folder, (-1, 0, 0, 0, 1, 0), np.fliplr),
    "the head first": lambda folder: axial(folder, step=(0, 0, -5)),
    "rows from back to front": lambda folder: axial(folder, (1, 0, 0, 0, -1, 0), np.flipud),
}  # fmt: skip


@cases("A series with {}.", DIRECTIONS)
def directions(folder, make):
    return judge(make(folder / "ct"), "ct")


def changed(folder, change):
    """Write a series, of which `change` takes the header and the number of each slice."""
    for number, path in enumerate(sorted(series(folder).iterdir())):
        file = pydicom.dcmread(path)
        change(file, number)
        file.save_as(path)
    return folder


def other_slope(file, number):
    slope = 1 + number % 3
    file.RescaleSlope, file.RescaleIntercept = slope, -1024
    file.PixelData = np.rint((ct_slice() + 1024.0) / slope).astype(np.int16).tobytes()


def no_place(file, number):
    file.ImagePositionPatient = [0, 0, 0]
    file.PixelData = (ct_slice() + number).astype(np.int16).tobytes()


def alike_at_one_place(file, number):
    file.ImagePositionPatient = [0, 0, 0]


def without_place(file, number):
    del file.ImagePositionPatient


def two_kernels(file, number):
    file.ImagePositionPatient = [-180, -180, 5.0 * (number // 2)]
    file.ConvolutionKernel = ("B31f", "B70f")[number % 2]
    file.PixelData = (ct_slice() + 5 * (number % 2)).astype(np.int16).tobytes()


def two_series(file, number):
    file.SeriesInstanceUID = f"1.2.3.{number % 2}"


def two_sizes(file, number):
    file.PixelSpacing = [1.4, 1.4] if number < 4 else [0.7, 0.7]


def small_error(file, number):
    file.PixelSpacing, file.ImageOrientationPatient = [1.4 + 1e-4 * number, 1.4], [1, 1e-5 * number, 0, 0, 1, 0]


def one_film_in_it(file, number):
    if number == 2:
        file.RescaleIntercept = None


def uncertain_number(file, number):
    file.InstanceNumber = 1


def comma(file, number):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        del file.PixelSpacing
        file.add(pydicom.DataElement("PixelSpacing", "LO", "1,4\\1,4"))


# Right: the mask of the ordinary slice, or a sentence with the word.
SERIES = {
    "a slope for each slice": (other_slope, "none"), "one number for all slices": (uncertain_number, "none"),
    "rounded directions": (small_error, "none"), "one position for all slices": (no_place, "position"),
    "equal slices at one position": (alike_at_one_place, "position"),
    "no position": (without_place, "ImagePositionPatient"), "two kernels": (two_kernels, "reconstructions"),
    "two series mixed": (two_series, "series"), "two pixel sizes": (two_sizes, "spacing"),
    "a slice without rescale": (one_film_in_it, "missing"), "decimal commas": (comma, "PixelSpacing"),
}  # fmt: skip


@cases("A series with {}.", SERIES)
def of_a_series(folder, kind):
    change, *words = kind
    return judge(changed(folder / "ct", change), "ct", *words)


def per_frame(path, change):
    """Write an enhanced CT whose frames have their own rescale and place."""
    file = pydicom.dcmread(enhanced(path, 6))
    shared, frames = file.SharedFunctionalGroupsSequence[0], file.PerFrameFunctionalGroupsSequence
    pixels = file.pixel_array.copy()
    for number, frame in enumerate(frames):
        change(shared, frame, number, pixels)
    file.PixelData = pixels.tobytes()
    file.save_as(path)
    return path


def own_rescale(_, frame, number, pixels):
    rescale = Dataset()
    rescale.RescaleIntercept, rescale.RescaleSlope, rescale.RescaleType = -1024 - 100 * number, 1, "HU"
    frame.PixelValueTransformationSequence = [rescale]
    pixels[number] += 100 * number


def backwards(_, frame, number, pixels):
    frame.PlanePositionSequence[0].ImagePositionPatient = [-180, -180, -5.0 * number]


def own_direction(shared, frame, number, pixels):
    orientation = Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    frame.PlaneOrientationSequence = [orientation]
    if number == 5:
        del shared.PlaneOrientationSequence


def two_phases(_, frame, number, pixels):
    frame.PlanePositionSequence[0].ImagePositionPatient = [-180, -180, 5.0 * (number // 2)]
    pixels[number] += number


FRAMES = {"a rescale for each frame": own_rescale, "frames from the head": backwards,
          "a direction for each frame": own_direction, "two phases": two_phases}  # fmt: skip


@cases("Enhanced CT with {}.", FRAMES)
def frames(folder, change):
    return judge(per_frame(folder / "a.dcm", change), "ct", "phases")


def other_qform(array):
    image = nibabel.Nifti1Image(array, AFFINE)
    image.set_sform(AFFINE, 1)
    image.set_qform(np.diag([1.4, -1.4, 5.0, 1.0]), 1)
    return image


def with_offset(array):
    image = nibabel.Nifti1Image((array + 1024).clip(0).astype(np.uint16), AFFINE)
    image.header.set_slope_inter(1, -1024)
    return image


def axes_swapped(array):
    """Store slices first, then rows from the head's view, then columns."""
    swap = np.zeros((4, 4))
    swap[:3, 0], swap[:3, 1], swap[:3, 2], swap[3, 3] = AFFINE[:3, 2], AFFINE[:3, 1], AFFINE[:3, 0], 1
    return nibabel.Nifti1Image(np.ascontiguousarray(array.transpose(2, 1, 0)), swap)


def slices_in_time(array):
    return nibabel.Nifti1Image(array[:, :, None, :], AFFINE)


def shares(array):
    return nibabel.Nifti1Image(((array.clip(-1000, 400) + 1000) / 1400).astype(np.float32), AFFINE)


def standardised(array):
    values = array.clip(-1000, 400).astype(np.float32)
    return nibabel.Nifti1Image((values - values.mean()) / values.std(), AFFINE)


def in_bytes(array):
    return nibabel.Nifti1Image(np.rint((array.clip(-1000, 400) + 1000.0) * 255 / 1400).astype(np.uint8), AFFINE)


def no_size(array):
    image = nibabel.Nifti1Image(array, None)
    image.set_qform(AFFINE, 1)
    image.header["pixdim"][1:4] = 0
    return image


def rgba(array):
    voxels = np.zeros(array.shape, [(name, "u1") for name in "RGBA"])
    return nibabel.Nifti1Image(voxels, AFFINE)


# Right: the mask of the ordinary slice; a sentence with the word for the others.
VOLUMES = {
    "whose qform and sform differ": (other_qform, "sform"), "with an offset in its header": (with_offset, "none"),
    "with slices along the first axis": (axes_swapped, "none"),
    "whose slices are time points": (slices_in_time, "volumes"),
    "of the window of the lungs, 0 to 1": (shares, "CT"), "of mean 0 and deviation 1": (standardised, "CT"),
    "of the window of the lungs in bytes": (in_bytes, "CT"), "with voxels of 0 mm": (no_size, "mm"),
    "of colours with opacity": (rgba, "colours"),
}  # fmt: skip


@cases("NIfTI {}.", VOLUMES)
def volumes(folder, kind):
    make, *words = kind
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (folder / "a.nii").write_bytes(make(volume()).to_bytes())
    return judge(folder / "a.nii", "ct", *words)


def twice(content):
    return gzip.compress(gzip.compress(content))


def half(content):
    return gzip.compress(content)[: len(gzip.compress(content)) // 2]


def analyze(content):
    return gzip.compress(content[:344] + bytes(4) + content[348:])


# Right, or a sentence on the file.
FILES = {"packed twice": (twice, "compressed twice"), "cut in half": (half, "whole"),
         "without its last letters (Analyze)": (analyze, "NIfTI")}  # fmt: skip


@cases("NIfTI file {}.", FILES)
def nifti_files(folder, kind):
    change, word = kind
    content = nifti(folder / "b.nii", volume()).read_bytes()
    (folder / "a.nii.gz").write_bytes(change(content))
    return judge(folder / "a.nii.gz", "ct", word)


@case
def litter_beside_a_series(folder):
    """A series with thumbnails of a network storage below it."""  # right: one volume, and no other row
    place = series(folder / "ct") / "@eaDir" / "IM001.dcm"
    place.mkdir(parents=True)
    from unusual.exports import save

    save(place / "SYNOPHOTO_THUMB_M.jpg", film())
    return judge(folder, "ct")


@case
def seg_of_a_nodule(folder):
    """A DICOM Segmentation of a nodule as a mask."""  # a sentence, because a nodule is no lung
    from lungnb.formats.images import read_mask

    with out_folder() as out:
        segment_files(dicom(folder / "film.dcm", film(), DX), out, dicom_segs=True, progress=False)
        (path,) = out.glob("*_seg.dcm")
        file = pydicom.dcmread(path)
    for segment in file.SegmentSequence:
        segment.SegmentLabel = "Nodule 1 - Annotation IL057"
        for kind in segment.SegmentedPropertyTypeCodeSequence:
            kind.CodeMeaning = "Nodule"
    file.save_as(folder / "a.dcm")
    try:
        return Result("wrong", f"{read_mask(folder / 'a.dcm').mean():.0%} lung")
    except ValueError as error:
        return explained_by(error, "a.dcm", "lung")
