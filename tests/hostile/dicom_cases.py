"""The DICOM cases, made by `hostile.dicom`."""

import struct
from collections.abc import Iterator
from functools import partial

from hostile import Case, of_bytes
from hostile.dicom import (
    DEFLATED,
    EXPLICIT,
    JPEG,
    JPEG_2000,
    JPEG_LS,
    OPEN,
    PIXELS,
    RLE,
    element,
    encapsulated,
    film,
    jpeg_2000,
    jpeg_ls,
    mark,
    meta,
    named,
    nested,
    run_lengths,
    sequence,
    series,
    table,
)  # fmt: skip
from hostile.jpeg import jpeg, resized, scans
from hostile.streams import GB, chest_rows

CT = {"Modality": "CT", "RescaleSlope": "1", "RescaleIntercept": "-1024"}
NUMBERS = {  # of elements that hold numbers: sizes, depths, frames
    "Rows": (0, 1, 9_999, 65_535),
    "Columns": (0, 1, 65_535),
    "SamplesPerPixel": (0, 2, 3, 65_535),
    "BitsAllocated": (0, 1, 12, 16, 32, 64, 65_535),
    "BitsStored": (0, 1, 64, 65_535),
    "HighBit": (0, 65_535),
    "PixelRepresentation": (1, 65_535),
    "PlanarConfiguration": (1, 65_535),
    "NumberOfFrames": ("1000000000", "-5", "0", "1e9", "x"),
}
TEXTS = {  # of elements that hold numbers as text
    "PixelSpacing": ("inf\\inf", "nan\\nan", "1e200\\1e200", "1e-200\\1e-200", "-1\\-1", "0\\0", "1\\1\\1", "1", "x"),
    "ImagerPixelSpacing": ("inf\\inf", "1e308\\1e308", "1\\inf"),
    "WindowCenter": ("1e308", "nan", "inf", "-1e308", "x", "1\\2\\3", ""),
    "WindowWidth": ("1e308", "nan", "inf", "0", "-1", "1e-300", "x", "0\\1", ""),
    "RescaleSlope": ("1e38", "1e308", "nan", "inf", "0", "x", "1\\2"),
    "RescaleIntercept": ("1e308", "-1e308", "nan", "inf", "x"),
    "PixelPaddingValue": ("99999999999", "x"),
    "ImageOrientationPatient": ("0\\0\\0\\0\\0\\0", "1\\0", "nan\\0\\0\\0\\1\\0", "inf\\inf\\inf\\inf\\inf\\inf", "x"),
    "PatientOrientation": ("Q\\Z", "L", "\\", "L\\L", ""),
    "PhotometricInterpretation": ("PALETTE COLOR", "YBR_FULL_422", "RGB", "MONOCHROME1", "", "SECRET^PATIENT"),
    "VOILUTFunction": ("SIGMOID", "SECRET"),
}  # fmt: skip


def odd_values() -> Iterator[Case]:
    """Yield films, and slices of CT, with one odd value each."""
    for keyword, values in NUMBERS.items():
        for value in values:
            yield of_bytes(f"{keyword}_{value}.dcm", film, **{keyword: value})
    for keyword, values in TEXTS.items():
        window = {"WindowCenter": "128", "WindowWidth": "256"} if keyword.startswith(("Window", "VOI")) else {}
        for number, value in enumerate(values):
            name = f"{keyword}_{number}_{''.join(filter(str.isalnum, value))[:12].lower()}"
            yield of_bytes(f"{name}.dcm", film, **window | {keyword: value})
            if keyword.startswith(("Rescale", "Window")):
                yield of_bytes(f"{name}_ct.dcm", film, **CT | window | {keyword: value})
    yield of_bytes("rows_and_columns_65535.dcm", film, Rows=65_535, Columns=65_535)
    yield of_bytes("rows_and_columns_9999.dcm", film, Rows=9_999, Columns=9_999)
    yield of_bytes("rows_text.dcm", film, vrs={"Rows": "LO"}, Rows="SECRET")
    yield of_bytes("rows_many.dcm", film, Rows=(256, 256, 256))
    yield of_bytes("rows_double.dcm", film, vrs={"Rows": "FD"}, Rows=1e300)


def sizes() -> Iterator[Case]:
    """Yield files that grow, or hold elements without number."""
    for millions in (300, 1_500, 3_800, 4_200):
        yield of_bytes(f"deflated_{millions}MB.dcm", film, DEFLATED, zeros=millions * 10**6)
    yield of_bytes(
        "deflated_black_9999.dcm",
        lambda: film(
            DEFLATED,
            Rows=9_999,
            Columns=9_999,
            PixelData=b"".join(content * count for content, count in chest_rows(9_999, 9_999)),
        ),
    )
    yield of_bytes("deflated_items.dcm", lambda: film(DEFLATED, sequence(*[b""] * 3_000_000)))
    yield of_bytes("deflated_cut.dcm", lambda: film(DEFLATED)[:-500])
    yield of_bytes("deflated_junk.dcm", lambda: meta(DEFLATED) + b"\xff" * 1000)
    for depth in (500, 5_000, 100_000, 250_000):
        yield of_bytes(f"nested_{depth}.dcm", lambda depth: film(extra=nested(depth)), depth)
    for count in (100_000, 1_000_000):
        yield of_bytes(f"items_{count}.dcm", lambda count: film(extra=sequence(*[b""] * count)), count)
        tags = partial(_tags, count)
        yield of_bytes(f"elements_{count}.dcm", lambda tags: film(extra=tags()), tags)
    yield of_bytes("items_full_300k.dcm", lambda: film(extra=sequence(*[named("CodeValue", "x")] * 300_000)))
    yield of_bytes("voi_items_1M.dcm", lambda: film(extra=sequence(*[b""] * 1_000_000, tag=(0x28, 0x3010))))
    yield of_bytes("values_4M.dcm", lambda: film(extra=element(0x41, 0x1010, "UC", b"1\\" * 4_000_000)))
    yield of_bytes("windows_30k.dcm", lambda: film(WindowCenter="1\\" * 30_000 + "1", WindowWidth="2\\" * 30_000 + "2"))
    yield of_bytes("length_4GB.dcm", lambda: film(extra=element(0x41, 0x1010, "OB", b"", OPEN - 1)))
    yield of_bytes(
        "sequence_open.dcm", lambda: film(extra=element(0x40, 0xA730, "SQ", mark((0xFFFE, 0xE000), OPEN), OPEN))
    )
    yield of_bytes("overlay_65535.dcm", lambda: film(extra=_overlay(65_535, 65_535)))
    yield of_bytes("overlay.dcm", lambda: film(extra=_overlay(256, 256)), answer="mask")


def tables() -> Iterator[Case]:
    """Yield look-up tables that cannot be."""
    kinds = {"US": (4, 0, 16), "SS": (4, -5, 16), "UL": (300_000_000, 0, 16), "SL": (-5, 10, 16)}
    kinds |= {"FL": (1e9, 0.0, 16.0), "FD": (1e300, 0.0, 16.0), "UV": (2**62, 0, 16), "SV": (-(2**62), 0, 16)}
    descriptors = ((4,), (4, 0), (0, 0, 16), (4, 0, 0), (4, 0, 64), (4, 0, 65_535), (4, 0, 8), (65_535, 0, 16))
    for kind in ("VOILUTSequence", "ModalityLUTSequence"):
        for vr, descriptor in kinds.items():
            yield of_bytes(f"{kind}_{vr}.dcm", _with_table, kind, descriptor, vr)
        for descriptor in descriptors:
            yield of_bytes(f"{kind}_{'_'.join(map(str, descriptor))}.dcm", _with_table, kind, descriptor)
        yield of_bytes(f"{kind}_4G.dcm", _with_table, kind, (2**32 - 1, 0, 16), "UL")
        yield of_bytes(f"{kind}_no_data.dcm", _with_table, kind, (4, 0, 16), data=b"")
        yield of_bytes(f"{kind}_long.dcm", _with_table, kind, (0, 0, 16), data=bytes(8_000_000))
    for descriptor in ((0, 0, 16), (4, 0, 8), (256, 0, 64)):
        palette = {f"{colour}PaletteColorLookupTable{part}": value for colour in ("Red", "Green", "Blue")
                   for part, value in (("Descriptor", descriptor), ("Data", bytes(range(8))))}  # fmt: skip
        vrs = {keyword: "US" if keyword.endswith("Descriptor") else "OW" for keyword in palette}
        name = "_".join(map(str, descriptor))
        yield of_bytes(f"palette_{name}.dcm", film, vrs=vrs, PhotometricInterpretation="PALETTE COLOR", **palette)


def coded() -> Iterator[Case]:
    """Yield pictures whose code is larger than the file says, or damaged."""
    large = {"Rows": 10_000, "Columns": 10_000}
    yield of_bytes("runs_10000.dcm", lambda: encapsulated(run_lengths(b"\x81\0" * 781_250), RLE, **large))
    yield of_bytes("runs_too_long.dcm", lambda: encapsulated(run_lengths(b"\x81\0" * 4_000_000), RLE))
    yield of_bytes("runs_segments.dcm", lambda: encapsulated(run_lengths(b"\x81\0" * 99, 15, (OPEN,) * 15), RLE))
    yield of_bytes("runs_segments_4G.dcm", lambda: encapsulated(run_lengths(b"\x81\0" * 99, OPEN), RLE))
    yield of_bytes("runs_cut.dcm", lambda: encapsulated(b"\1\0\0\0", RLE))
    for side in (300, 6_000, 20_000, 65_535):
        yield of_bytes(f"jpeg_{side}.dcm", lambda side: encapsulated(resized(jpeg(), side, side), JPEG), side)
    yield of_bytes("jpeg_scans_3000.dcm", lambda: encapsulated(scans(3_000, 9_999, 9_999), JPEG))
    yield of_bytes("jpeg_junk.dcm", lambda: encapsulated(b"junk" * 100, JPEG))
    for side in (300, 9_000):
        yield of_bytes(f"jpeg_2000_{side}.dcm", lambda side: encapsulated(jpeg_2000(side), JPEG_2000), side)
        yield of_bytes(f"jpeg_2000_{side}_said.dcm", lambda side: _said(jpeg_2000(side), JPEG_2000, side), side)
    small, huge = struct.pack(">II", 256, 256), struct.pack(">II", 2**31, 2**31)
    yield of_bytes("jpeg_2000_2G.dcm", lambda: encapsulated(jpeg_2000(256).replace(small, huge, 1), JPEG_2000))
    yield of_bytes("jpeg_2000_cut.dcm", lambda: encapsulated(jpeg_2000(256)[:50], JPEG_2000))
    for side in (256, 9_999, 65_535):
        yield of_bytes(f"jpeg_ls_{side}.dcm", lambda side: encapsulated(jpeg_ls(side, side), JPEG_LS), side)
        yield of_bytes(f"jpeg_ls_{side}_said.dcm", lambda side: _said(jpeg_ls(side, side), JPEG_LS, side), side)
    yield of_bytes("fragments_1M.dcm", lambda: encapsulated(b"", JPEG, 1_000_000))
    yield of_bytes("fragments_frames.dcm", lambda: encapsulated(jpeg(), JPEG, 500, NumberOfFrames="500"))
    yield of_bytes("syntax_unknown.dcm", film, "1.2.3.4.5")
    yield of_bytes("syntax_secret.dcm", film, "SECRET^PATIENT")


def damaged() -> Iterator[Case]:
    """Yield files that are cut, or are not what they seem, or hold secrets where messages may repeat them."""
    yield of_bytes("no_preamble.dcm", lambda: film()[132:], answer="mask")
    yield Case("no_preamble_no_suffix", lambda path: path.write_bytes(film()[132:]))
    for length in (0, 100, 132, 140, 300, 500, 3_000):
        yield of_bytes(f"cut_at_{length}.dcm", lambda length: film()[:length], length)
    yield of_bytes("zeros_9MB.dcm", lambda: bytes(9_000_000))
    yield of_bytes("zeros_after_start.dcm", lambda: film()[:132] + bytes(1000))
    yield of_bytes("ones_9MB.dcm", lambda: b"\xff" * 9_000_000)
    yield of_bytes("zip.dcm", lambda: b"PK\3\4" + bytes(1000))
    yield of_bytes("no_pixels.dcm", film, PixelData=None, answer="sentence")
    yield of_bytes("few_pixels.dcm", film, PixelData=bytes(100))
    yield of_bytes("big_endian_said.dcm", film, "1.2.840.10008.1.2.2")
    yield of_bytes("implicit_said.dcm", film, "1.2.840.10008.1.2")
    yield of_bytes("meta_length_4G.dcm", lambda: film()[:140] + b"\xff" * 4 + film()[144:])
    bad = "SECRET^PATIENT \xff"
    for keyword in (
        "SeriesInstanceUID",
        "Modality",
        "SpecificCharacterSet",
        "ImageType",
        "WindowCenter",
        "PixelSpacing",
        "NumberOfFrames",
        "RescaleIntercept",
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PatientOrientation",
        "SOPClassUID",
    ):
        yield of_bytes(f"secret_{keyword}.dcm", film, **{keyword: bad, "WindowWidth": "10"})
        yield of_bytes(f"secret_{keyword}_long.dcm", film, **{keyword: bad * 20, "Modality": bad})
    for vr in ("IS", "DS", "UI", "DA", "TM", "AS", "PN", "AT", "XX", "UN", "SQ"):
        yield of_bytes(f"secret_vr_{vr}.dcm", film, vrs={"Rows": vr, "WindowCenter": vr}, Rows=bad, WindowCenter=bad)
    yield of_bytes(
        "secret_meta.dcm", lambda: meta(EXPLICIT, named("SourceApplicationEntityTitle", bad * 3)) + film()[400:]
    )
    yield of_bytes("secret_private_creator.dcm", lambda: film(extra=element(0x41, 0x10, "LO", b"SECRET" * 100)))
    with_segmentation = ("segment", "{path}", "--out", "{out}", "--engine", "onnx", "--dicom-seg")
    yield of_bytes("secret_to_segmentation.dcm", film, StudyInstanceUID=bad, PatientBirthDate=bad)._replace(
        command=with_segmentation
    )


def folders() -> Iterator[Case]:
    """Yield series with one hostile slice."""
    ct = CT | {"PixelSpacing": "1\\1", "ImageOrientationPatient": "1\\0\\0\\0\\1\\0", "SOPInstanceUID": "1.2.3.3"}
    ct["ImagePositionPatient"] = "0\\0\\2"
    slices = {
        "whole": partial(film, **ct),
        "cut": lambda: film(**ct)[:300],
        "pixels_cut": partial(film, **ct, PixelData=b""),
        "far": partial(film, **ct | {"ImagePositionPatient": "0\\0\\1e300"}),
        "nan": partial(film, **ct | {"ImagePositionPatient": "0\\0\\nan"}),
        "spacing_inf": partial(film, **ct | {"PixelSpacing": "inf\\inf"}),
        "spacing_zero": partial(film, **ct | {"PixelSpacing": "0\\0"}),
        "large": partial(film, **ct, Rows=65_535, Columns=65_535),
        "deflated": partial(film, DEFLATED, zeros=3 * GB, **ct),
        "nested": partial(film, extra=nested(100_000), **ct),
        "series_secret": partial(film, **ct | {"SeriesInstanceUID": "SECRET"}),
        "slope_inf": partial(film, **ct | {"RescaleSlope": "1e308"}),
    }
    for name, hostile in slices.items():
        yield Case(f"series_{name}", partial(series, hostile=hostile), "mask" if name == "whole" else "either")


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for part in (odd_values, sizes, tables, coded, damaged, folders):
        yield from part()


def _tags(count: int) -> bytes:
    return b"".join(struct.pack("<HH2sH", 0x41 + 2 * (k >> 15), 0x1000 + (k & 0x7FFF), b"LO", 0) for k in range(count))


def _overlay(rows: int, columns: int) -> bytes:
    size = element(0x6000, 0x10, "US", struct.pack("<H", rows)) + element(
        0x6000, 0x11, "US", struct.pack("<H", columns)
    )
    return size + element(0x6000, 0x100, "US", b"\1\0") + element(0x6000, 0x3000, "OW", bytes(8192))


def _with_table(kind: str, descriptor: tuple, vr: str = "US", data: bytes = PIXELS[:8]) -> bytes:
    return film(extra=table(descriptor, vr, data, kind))


def _said(code: bytes, syntax: str, side: int) -> bytes:
    return encapsulated(code, syntax, Rows=side, Columns=side)
