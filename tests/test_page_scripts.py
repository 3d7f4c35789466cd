"""The scripts of the page compute what lungnb computes, tested in Node.js: pixels, ranges, masks, sentences, files."""

import io
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from helpers.films import dicom
from helpers.node import NODE, NamedFile, call_scripts
from lungnb.datasets.reading import ReadOptions
from lungnb.evaluation.films import read_films
from lungnb.formats.images import read_image, read_picture
from lungnb.formats.pixels import fit_square, to_grey, unfit_square
from lungnb.masks import clean_mask
from lungnb.phantoms.make import make_phantom
from lungnb.segmentation.inference import is_negative
from lungnb.segmentation.lungs import split_sides, why_implausible

pydicom = pytest.importorskip("pydicom", reason="needs the extra `medical`")
pytestmark = pytest.mark.skipif(not NODE, reason="needs Node.js (Debian: nodejs)")
SIZE = 128
FILM = make_phantom(2, seed=9, size=300).image


def shapes():
    return [FILM, FILM[:, :190], FILM[:141], FILM[::8, ::7], FILM[100:103], FILM[:128, :128], FILM[:1, :2]]


def test_films_become_squares_and_back_as_in_python(tmp_path):
    squares = [fit_square(film, SIZE) for film in shapes()]
    calls = [["square", "fitSquare", film.ravel(), *film.shape[::-1], SIZE] for film in shapes()]
    fitted = call_scripts(tmp_path, calls)
    for square, result in zip(squares, fitted, strict=True):
        assert np.array_equal(result["pixels"].reshape(SIZE, SIZE), square.array)
        assert [result[name] for name in ("top", "left", "height", "width")] == [*square[1:]]
    probability = np.random.default_rng(1).random((SIZE, SIZE), np.float32)
    calls = [
        ["square", "unfitSquare", probability.ravel(), result, *film.shape[::-1]]
        for film, result in zip(shapes(), fitted, strict=True)
    ]
    for film, square, result in zip(shapes(), squares, call_scripts(tmp_path, calls), strict=True):
        assert np.array_equal(result.reshape(film.shape), unfit_square(probability, square, *film.shape))


def masks():
    """Return masks of two lungs, of one, of lungs that touch, of specks, with holes, and empty and full ones."""
    random = np.random.default_rng(3)
    two = make_phantom(2, seed=9, size=97).mask
    touching = two.copy()
    touching[40:44, 20:80] = True
    above = np.zeros((80, 60), bool)
    above[5:30, 10:50] = above[40:70, 12:45] = True
    specks = [random.random((40, 51)) > share for share in (0.3, 0.5, 0.7, 0.95)]
    tilted = np.triu(np.ones((30, 70), bool)) & np.tril(np.ones((30, 70), bool), 3)
    one = two & (np.arange(97) < 48)
    big = np.kron(specks[1], np.ones((3, 4), bool))
    return [two, touching, above, *specks, tilted, one, ~one, big, np.zeros((9, 5), bool), np.ones((4, 7), bool)]


def test_masks_are_cleaned_and_divided_as_in_python(tmp_path):
    calls = [["regions", name, mask.astype(np.uint8).ravel(), mask.shape[1]]
             for mask in masks() for name in ("cleanMask", "countSides")]  # fmt: skip
    results = iter(call_scripts(tmp_path, calls))
    for number, mask in enumerate(masks()):
        assert np.array_equal(next(results).reshape(mask.shape), clean_mask(mask)), number
        right, left = split_sides(mask)
        assert next(results) == {"right": right.sum(), "left": left.sum()}, number


def test_negatives_are_those_of_python(tmp_path):
    pictures = [FILM, 255 - FILM, FILM // 2 + 60, 200 - FILM // 2, np.zeros_like(FILM)]
    cases = [(fit_square(grey, SIZE), fit_square(mask, SIZE).array > 0) for grey in pictures for mask in full_masks()]
    calls = [
        ["network", "isNegative", {"pixels": square.array.ravel(), "size": SIZE}, mask.astype(np.float32).ravel(), 0.5]
        for square, mask in cases
    ]
    expected = [is_negative(square.array, mask) for square, mask in cases]
    assert call_scripts(tmp_path, calls) == expected and 3 < sum(expected) < len(expected) - 3


def full_masks():
    """Return the mask of the film, its right lung, a speck, everything but the lungs, and an empty and a full mask."""
    mask = make_phantom(2, seed=9, size=300).mask
    right, _ = split_sides(mask)
    speck = np.zeros_like(mask)
    speck[100:120, 100:120] = True
    return [np.uint8(255 * each) for each in (mask, right, speck, ~mask, mask & False, mask | True)]


def test_a_mask_gets_the_reasons_for_a_review_that_python_gives(tmp_path):
    random = np.random.default_rng(4)
    cases = [(mask, random.random(mask.shape, np.float32) ** power) for mask in masks() for power in (0.1, 9)]
    large = np.kron(masks()[0], np.ones((8, 8), bool))  # of which some rows and columns are looked at
    cases.append((large, random.random(large.shape, np.float32)))
    calls, expected = [], []
    for mask, probability in cases:
        right, left = (int(side.sum()) for side in split_sides(mask))
        facts = {"mask": mask.astype(np.uint8).ravel(), "width": mask.shape[1], "probability": probability.ravel()}
        calls.append(["review", "reviewReasons", facts | {"sides": {"right": right, "left": left}}])
        expected.append(why_implausible(mask, right, left, None, probability))
    results = call_scripts(tmp_path, calls)
    assert [", ".join(reasons) for reasons in results] == expected and len({*expected}) > 6
    doubtful = {"chest": 0.2, "chestThreshold": 0.5}
    (reasons,) = call_scripts(tmp_path, [["review", "reviewReasons", calls[0][2] | doubtful]])
    assert reasons[0] == "does not look like an upright chest film or axial CT slice"


def deep_pictures():
    random = np.random.default_rng(5)
    film = random.normal(1500, 300, (90, 70)).clip(0, 4095)
    padded, marked, hounsfield = (film.astype(kind) for kind in (np.uint16, np.uint16, np.int16))
    padded[:, :20] = 65535
    marked[:2, :3] = 60000
    hounsfield -= 1900
    few = np.full((30, 40), 7, np.uint16)
    large = random.normal(30000, 4000, (700, 500)).clip(0, 65535).astype(np.uint16)
    return [film.astype(np.uint16), padded, marked, hounsfield, few, large, (large // 300).astype(np.uint16)]


def test_deep_pictures_have_the_greys_of_python(tmp_path):
    each = [*deep_pictures(), *(picture.astype(np.float32) / 7 for picture in deep_pictures())]
    ranges = call_scripts(tmp_path, [["ranges", "greyRange", picture.ravel(), picture.shape[1]] for picture in each])
    calls = [["ranges", "throughWindow", picture.ravel(), ends] for picture, ends in zip(each, ranges, strict=True)]
    for number, (picture, grey) in enumerate(zip(each, call_scripts(tmp_path, calls), strict=True)):
        assert np.array_equal(grey.reshape(picture.shape), to_grey(picture)), number


def saved(image, form="PNG", **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def png_files(folder):
    """Write PNG files of all kinds that Pillow writes, and of 16-bit colours, and return their paths."""
    random = np.random.default_rng(6)
    colours = random.integers(0, 256, (31, 45, 4), np.uint8)
    image = Image.fromarray(colours)
    pictures = {mode: image.convert(mode) for mode in ("1", "L", "LA", "RGB", "RGBA")}
    pictures["P"] = image.convert("RGB").quantize(200)
    pictures |= {f"P{colours}": image.convert("RGB").quantize(colours) for colours in (2, 4, 13)}
    pictures["deep"] = Image.fromarray(deep_pictures()[0])
    pictures["smooth"] = Image.fromarray(FILM)  # which uses all filters of PNG
    for name, picture in pictures.items():
        (folder / f"{name}.png").write_bytes(saved(picture))
    return sorted(folder.glob("*.png"))


def test_png_files_have_the_greys_of_python(tmp_path):
    files = png_files(tmp_path)
    results = call_scripts(
        tmp_path, [["opening", "openFilm", NamedFile(file.name, file.read_bytes())] for file in files]
    )
    for file, result in zip(files, results, strict=True):
        assert "error" not in result, result
        expected = read_image(file)
        assert np.array_equal(result["grey"].reshape(expected.shape), expected), file.name
        assert (result["height"], result["width"]) == expected.shape


def voi_table(first, entries, bits):
    table = pydicom.dataset.Dataset()
    table.LUTDescriptor = [len(entries), first, bits]
    table.add_new("LUTData", "US", list(entries))
    return [table]


def film_cases():
    """Return pixels, modality and elements of DICOM files."""
    film, signed = deep_pictures()[0], deep_pictures()[3]
    twelve = {"BitsStored": 12, "HighBit": 11}
    overlay = film.copy()
    overlay[10:20, 20:60] |= 0xF000
    padded = film.copy()
    padded[:, :30] = 65535
    cases = [(film, "DX", {}), (film, "DX", {"PhotometricInterpretation": "MONOCHROME1"}), (overlay, "DX", twelve)]
    cases += [(film, "DX", {"PhotometricInterpretation": "monochrome1"})]
    cases += [(padded, "DX", {"PixelPaddingValue": 65535}), (film << 4, "DX", {"BitsStored": 12, "HighBit": 15})]
    windows = [(1500.5, 1001), (3000.5, 4001), (-600, 100), (1400, 0), ([9, 1500], [1, 1600])]
    cases += [(film, "CR", {"WindowCenter": center, "WindowWidth": width}) for center, width in windows]
    cases += [(film, "CR", {"WindowCenter": 1500, "WindowWidth": 1000, "VOILUTFunction": name})
              for name in ("SIGMOID", "LINEAR_EXACT")]  # fmt: skip
    tables = ((1000, range(1001), 10), (0, [n // 16 for n in range(4096)], 8), (0, [5] * 4096, 8))
    cases += [(film, "CR", {"VOILUTSequence": voi_table(*table)}) for table in tables]
    window = {"WindowCenter": 2000.5, "WindowWidth": 2001, "PhotometricInterpretation": "MONOCHROME1"}
    cases.append((film, "DX", window | {"RescaleSlope": 2, "RescaleIntercept": -1000}))
    cases += [(signed, "CT", {"PixelRepresentation": 1, "RescaleSlope": 1, "RescaleIntercept": 0}), (film, "CT", {})]
    cases += [(film, modality, {"RescaleIntercept": -1024}) for modality in ("CT", "")]
    cases += [(signed, "DX", {"PixelRepresentation": 1}), (film, "DX", twelve | {"PixelRepresentation": 1})]
    cases += [(film, "DX", {"PatientOrientation": [row, column]})
              for row, column in (("L", "F"), ("R", "H"), ("F", "L"), ("A", "F"), ("H", "R"))]  # fmt: skip
    return [*cases, (film, "DX", {"ImageOrientationPatient": [0, -1, 0, 0, 0, -1], "ImagerPixelSpacing": [0.2, 0.3]}),
            (film, "DX", {"ImageOrientationPatient": [-1, 0, 0, 0, 0, 1], "PixelSpacing": [0.2, 0.3]})]  # fmt: skip


def test_dicom_films_have_the_greys_of_python_and_lie_upright(tmp_path):
    files = [dicom(tmp_path / f"{number}.dcm", *case[:2], **case[2]) for number, case in enumerate(film_cases())]
    implicit = pydicom.dcmread(files[6])
    implicit.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    for number, sequence in enumerate((False, True)):  # of a length that is stated, and that is not
        implicit.VOILUTSequence = voi_table(1000, range(1001), 10)
        implicit["VOILUTSequence"].is_undefined_length = sequence
        files.append(tmp_path / f"implicit{number}.dcm")
        implicit.save_as(files[-1], implicit_vr=True, little_endian=True)
    shallow = pydicom.dcmread(dicom(tmp_path / "shallow.dcm", FILM, "DX", BitsAllocated=8, BitsStored=8, HighBit=7))
    shallow.PixelData = FILM.tobytes()
    shallow.add_new("PixelPaddingValue", "US", 65535)  # a value that 8 bits cannot have
    shallow.save_as(tmp_path / "shallow.dcm")
    files.append(tmp_path / "shallow.dcm")
    results = call_scripts(
        tmp_path, [["opening", "openFilm", NamedFile(file.name, file.read_bytes())] for file in files]
    )
    for file, result in zip(files, results, strict=True):
        assert "error" not in result, (file.name, result)
        picture = read_picture(file)
        expected = picture.turn.upright(picture.grey)
        assert (result["height"], result["width"]) == expected.shape
        difference = np.abs(result["grey"].reshape(expected.shape).astype(int) - expected)
        assert difference.max() <= 1 and (difference > 0).mean() < 0.001, file.name  # exp() may round otherwise
        sizes = picture.pixel_mm and [*picture.pixel_mm][:: -1 if picture.turn.transposed else 1]
        assert result["pixelMm"] == (sizes and pytest.approx(sizes)), file.name


def refused_files(folder):
    """Yield files that the page does not open, and a part of the sentence on each."""
    film = dicom(folder / "film.dcm", deep_pictures()[0], "DX")
    flat = dicom(folder / "flat.dcm", deep_pictures()[0], "DX", RescaleSlope=0, RescaleIntercept=0)
    png, jpeg = saved(Image.fromarray(FILM)), saved(Image.fromarray(FILM), "JPEG")
    deep = png[:16] + 2 * (5000).to_bytes(4) + b"\x10\6" + png[26:]  # red, green, blue and opacity of 16 bits
    explicit, other = b"1.2.840.10008.1.2.1\0", b"toString".ljust(20, b"\0")
    for name, content, says in (
        ("empty.png", b"", "the file is empty"),
        ("text.png", b"no image at all", "is no image. This page opens PNG, JPEG, BMP and uncompressed DICOM files"),
        ("a.tif", saved(Image.fromarray(FILM), "TIFF"), "is a TIFF file"),
        ("a.zip", b"PK\x03\x04", "is a ZIP archive"),
        ("cut.png", png[:4000], "cannot be read; it may be damaged or cut"),
        ("cut.jpg", jpeg[:20], "cannot be read; it may be damaged or cut"),
        ("other.dcm", film.read_bytes().replace(explicit, other), "compressed or stored in an unusual way"),
        ("cut.dcm", film.read_bytes()[:-9], "its pixels are damaged or cut"),
        ("flat.dcm", flat.read_bytes(), "its RescaleSlope is 0"),
        (
            "bomb.png",
            png[:16] + b"\0\1\0\0\0\1\0\0" + png[24:],
            "65,536 x 65,536 pixels: this page opens up to 40 million",
        ),
        *(
            (f"kind{colour}-{depth}.png", png[:24] + bytes([depth, colour]) + png[26:], "it may be damaged")
            for depth, colour in ((8, 1), (8, 5), (3, 0), (16, 3), (4, 2))
        ),
        ("deep.png", deep, "5,000 x 5,000 pixels: this page opens up to 20 million"),
        ("grey.png", deep[:25] + b"\0" + deep[26:], "it may be damaged"),  # not too large
        ("thin.png", saved(Image.new("L", (303, 3))), "one side is more than 100 times the other"),
        ("nothing.png", png[:16] + bytes(8) + png[24:], "0 x 0 pixels: it shows nothing"),
        ("large.bmp", b"BM" + bytes(16) + b"\0\0\1\0\0\0\1\0", "65,536 x 65,536 pixels"),
    ):
        yield NamedFile(name, content), says
    pixels = {"frames": np.zeros((40, 30)), "colours": np.zeros((2, 6)), "none": np.zeros((1, 1))}
    tags = {"frames": {"Rows": 20, "NumberOfFrames": 2}, "none": {"Rows": 0}}
    tags["colours"] = {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3, "Columns": 2}
    sentences = {"frames": "holds several pictures", "colours": "is not a grey DICOM image", "none": "no picture, but"}
    for name, says in sentences.items():
        file = dicom(folder / f"{name}.dcm", pixels[name], "DX", **tags[name])
        yield NamedFile(file.name, file.read_bytes()), says
    packed = pydicom.dcmread(film)
    packed.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
    packed.PixelData = pydicom.encaps.encapsulate([b"0" * 90])
    packed["PixelData"].is_undefined_length = True
    packed.save_as(folder / "packed.dcm")
    yield (
        NamedFile("packed.dcm", (folder / "packed.dcm").read_bytes()),
        "compressed or stored in an unusual way. `lungnb segment`",
    )


def test_what_cannot_be_opened_gets_a_sentence_that_names_the_file(tmp_path):
    files, sentences = zip(*refused_files(tmp_path), strict=True)
    results = call_scripts(tmp_path, [["opening", "openFilm", file] for file in files])
    for file, says, result in zip(files, sentences, results, strict=True):
        assert says in result["error"] and result["error"].startswith(f"{file.name}: "), result


def test_a_saved_pair_is_what_adapt_reads(tmp_path):
    mask = make_phantom(2, seed=9, size=300).mask
    names = ["film.dcm", "a/b?c.png", "chest mask.png", ".png", "x" * 300 + ".jpg", "été 1.png"]
    calls = [["saving", "pairName", name, FILM.ravel()] for name in names]
    calls += [["saving", "pairName", "film.dcm", 255 - FILM.ravel()]]  # of another patient
    calls += [["saving", "zipPair", "film", FILM.ravel(), mask.astype(np.uint8).ravel(), FILM.shape[1]]]
    *pairs, other, archive = call_scripts(tmp_path, calls)
    stems = ["film", "a_b_c", "chest mask_image", "film", "x" * 60, "été 1"]
    assert pairs == [f"{stem}-{zlib.crc32(FILM.tobytes()):08x}" for stem in stems]
    assert other == f"film-{zlib.crc32((255 - FILM).tobytes()):08x}"
    with zipfile.ZipFile(io.BytesIO(archive.tobytes())) as file:
        assert file.testzip() is None
        file.extractall(tmp_path / "corrected")
    (film,), left_out = read_films(tmp_path / "corrected", ReadOptions(), None)
    assert film.id == "film" and np.array_equal(film.image, FILM) and np.array_equal(film.mask, mask) and not left_out


def test_the_metadata_of_the_network_are_read(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra `fast`")
    from lungnb.settings import SHIPPED

    file = SHIPPED.with_suffix(".onnx")
    (facts,) = call_scripts(tmp_path, [["network", "readMetadata", np.frombuffer(file.read_bytes(), np.uint8)]])
    assert facts == onnxruntime.InferenceSession(file).get_modelmeta().custom_metadata_map
