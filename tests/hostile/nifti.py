"""NIfTI files: voxels without number, extensions, places of the voxels, scales and affines that cannot be."""

import struct
from collections.abc import Iterator

import numpy as np

from hostile import Case, of_bytes
from hostile.streams import GB, gzipped

_NO_EXTENSION = bytes(4)


def header(shape: tuple[int, ...] = (32, 32, 8), dtype: object = np.int16, **fields: object) -> bytes:
    """Return a header of 348 bytes; `fields` replace what it says, unchecked."""
    import nibabel

    made = nibabel.Nifti1Header()
    made.set_data_dtype(dtype)
    made["dim"] = [len(shape), *shape, *[1] * (7 - len(shape))]
    made["pixdim"], made["vox_offset"], made["sform_code"], made["magic"] = 1, 352, 1, b"n+1"
    made["srow_x"], made["srow_y"], made["srow_z"] = np.eye(4)[:3]
    for name, value in fields.items():
        made[name] = value
    return made.binaryblock


def nifti(shape: tuple[int, ...] = (32, 32, 8), dtype: object = np.int16, **fields: object) -> bytes:
    """Return a volume whose values run from air to bone."""
    count = int(np.prod(np.abs(shape)))
    values = (np.arange(count) % 1500 - 1000).astype(np.int16)
    return header(shape, dtype, **fields) + _NO_EXTENSION + values.astype(dtype).tobytes()


def chest(shape: tuple[int, ...], dtype: object, more: int = 2**20) -> bytes:
    """Return a compressed volume of equal slices with two dark fields, and so many bytes after it."""
    columns, rows, *others = shape
    plane = np.full((rows, columns), 40 if dtype != np.uint8 else 200, dtype)
    dark = plane[rows // 5 : -(rows // 5) or None]
    dark[:, columns // 5 : 2 * columns // 5 or None] = dark[:, 3 * columns // 5 : 4 * columns // 5] = (
        10 if dtype == np.uint8 else -800
    )
    return gzipped(header(shape, dtype) + _NO_EXTENSION, (plane.tobytes(), int(np.prod(others, dtype=int))), more)


def second_version(shape: tuple[int, int, int]) -> bytes:
    """Return the header of a NIfTI-2 file, which counts in 64 bits, and few voxels."""
    start = struct.pack("<i", 540) + b"n+2\0\r\n\x1a\n" + struct.pack("<hh8q", 4, 16, 3, *shape, 1, 1, 1, 1)
    return start.ljust(168, b"\0") + struct.pack("<q", 544) + bytes(2000)


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for name, dtype in (
        ("u8", np.uint8),
        ("i16", np.int16),
        ("f32", np.float32),
        ("f64", np.float64),
        ("c128", np.complex128),
    ):
        yield of_bytes(f"voxels_4e8_{name}.nii.gz", chest, (2000, 2000, 100), dtype)
        yield of_bytes(f"voxels_1e8_{name}.nii.gz", chest, (1000, 1000, 100), dtype)
        yield of_bytes(f"voxels_3e7_{name}.nii.gz", chest, (512, 512, 115), dtype)
    yield of_bytes("slice_20000x20000.nii.gz", chest, (20_000, 20_000, 1), np.uint8)
    yield of_bytes("slices_thin_1e8.nii.gz", chest, (32_767, 2, 1500), np.uint8)
    yield of_bytes("time_1000.nii.gz", chest, (256, 256, 20, 1000), np.uint8)
    yield of_bytes("dims_7.nii.gz", chest, (64, 64, 8, 8, 8, 8, 8), np.uint8)
    for shape in (
        (32_767, 1, 1),
        (1, 32_767, 1),
        (1, 1, 32_767),
        (2, 2, 32_767),
        (32_767, 32_767, 1),
        (64, 64, 32_767),
        (1, 1, 1),
    ):
        yield of_bytes(f"shape_{'x'.join(map(str, shape))}.nii.gz", chest, shape, np.int16)
    for shape in (
        (32_767,) * 3,
        (-32, -32, 8),
        (0, 32, 8),
        (32, 32),
        (32,),
        (32, 32, 8, 0),
        (32, 32, 8, 1, 1, 1, 1),
        (32, 32, 8, 2),
    ):
        name = "x".join(map(str, shape))
        yield of_bytes(f"says_{name}.nii", lambda shape: header(shape) + _NO_EXTENSION + bytes(16_384), shape)
    for count in (-1, 0, 8, 9, 32_767):
        yield of_bytes(f"dims_{count}.nii", nifti, dim=[count, 32, 32, 8, 1, 1, 1, 1])
    for name, size in (("2GB", 2**31 - 16), ("600MB", 600_000_000), ("negative", -16), ("zero", 0), ("odd", 17)):
        start = header(vox_offset=max(size, 0) + 368.0) + b"\1\0\0\0" + struct.pack("<ii", size, 6)
        yield of_bytes(
            f"extension_{name}.nii.gz", lambda start, size: gzipped(start, max(size, 0) + 2**20), start, size
        )
        yield of_bytes(f"extension_{name}.nii", lambda start: start + bytes(50_000), start)
    many = header(vox_offset=352 + 160 * 2**20) + b"\1\0\0\0"
    yield of_bytes("extensions_10M.nii.gz", lambda: gzipped(many, (struct.pack("<ii", 16, 6) + bytes(8), 10_000_000)))
    yield of_bytes(
        "extensions_500k.nii",
        lambda: (
            header(vox_offset=352 + 8_000_000)
            + b"\1\0\0\0"
            + (struct.pack("<ii", 16, 6) + bytes(8)) * 500_000
            + bytes(16_384)
        ),
    )
    for place in (-1.0, 0.0, 1.0, 347.0, 400.5, 4e9, 3e38, float("nan"), float("inf"), float("-inf")):
        yield of_bytes(f"voxels_at_{place:g}.nii", nifti, vox_offset=place)
    yield of_bytes("voxels_at_4GB.nii.gz", lambda: gzipped(header(vox_offset=4e9), 4 * GB + 2**20))
    for name, value in (
        ("inf", np.inf),
        ("nan", np.nan),
        ("3e38", 3e38),
        ("1e-45", 1e-45),
        ("negative", -1),
        ("zero", 0),
    ):
        yield of_bytes(f"slope_{name}.nii", nifti, scl_slope=value, scl_inter=0)
        yield of_bytes(f"inter_{name}.nii", nifti, scl_slope=1, scl_inter=value)
        yield of_bytes(
            f"affine_{name}.nii", nifti, srow_x=[value, 0, 0, 0], srow_y=[0, value, 0, 0], srow_z=[0, 0, value, 0]
        )
        yield of_bytes(f"origin_{name}.nii", nifti, srow_x=[1, 0, 0, value])
        yield of_bytes(
            f"spacing_{name}.nii", nifti, sform_code=0, qform_code=1, pixdim=[1, value, value, value, 1, 1, 1, 1]
        )
    yield of_bytes("affine_sheared.nii", nifti, srow_x=[1, 1, 1, 0], srow_y=[0, 1e-3, 1, 0], srow_z=[0, 0, 1e-3, 0])
    yield of_bytes("turn_nan.nii", nifti, sform_code=0, qform_code=1, quatern_b=np.nan, quatern_c=5)
    yield of_bytes("turn_large.nii", nifti, sform_code=0, qform_code=1, quatern_b=5, quatern_c=5, quatern_d=5)
    yield of_bytes("no_place.nii", nifti, sform_code=0, qform_code=0, answer="mask")  # and a note
    for name, code in (
        ("rgb", 128),
        ("rgba", 2304),
        ("c64", 32),
        ("c256", 2048),
        ("f128", 1536),
        ("bit", 1),
        ("unknown", 999),
        ("none", 0),
    ):
        yield of_bytes(f"values_{name}.nii", lambda code: nifti(datatype=code) + bytes(300_000), code)
    for name, values in (("nan", np.nan), ("inf", np.inf), ("large", 3e38), ("equal", 7)):
        floats = np.full(32 * 32 * 8, values, np.float32)
        yield of_bytes(
            f"all_{name}.nii", lambda floats: header(dtype=np.float32) + _NO_EXTENSION + floats.tobytes(), floats
        )
    whole = gzipped(nifti())
    yield of_bytes("cut.nii.gz", lambda: whole[:-300])
    yield of_bytes("cut_header.nii.gz", lambda: gzipped(nifti()[:200]))
    yield of_bytes("cut_start.nii.gz", lambda: whole[:5])
    yield of_bytes("few_voxels.nii.gz", lambda: gzipped(nifti()[:5000]))
    yield of_bytes("wrong_sum.nii.gz", lambda: whole[:-8] + b"\0" * 8)
    yield of_bytes("members_2.nii.gz", lambda: gzipped(nifti()[:5000]) + gzipped(nifti()[5000:]))
    yield of_bytes("members_400k.nii.gz", lambda: gzipped(nifti()[:360]) + gzipped() * 400_000 + whole)
    yield of_bytes("junk_after.nii.gz", lambda: whole + b"junk" * 1000)
    yield of_bytes("zeros_after_4GB.nii.gz", lambda: gzipped(nifti(), 4 * GB))
    yield of_bytes("not_gz.nii.gz", lambda: nifti())
    yield of_bytes("is_gz.nii", lambda: whole)
    for magic in (b"ni1", b"n+2", b"", b"xxx"):
        yield of_bytes(f"magic_{magic.decode() or 'none'}.nii", nifti, magic=magic)
    for shape in ((2**62, 2**62, 16), (-(2**62), -(2**62), 16), (2**32, 2**32, 0), (2**33, 1, 1), (2**63 - 1, 2, 1)):
        yield of_bytes(f"version_2_{'x'.join(map(str, shape))}.nii", second_version, shape)
    yield of_bytes("text.nii", lambda: b"no volume", answer="sentence")
    yield of_bytes("text.nii.gz", lambda: b"no volume", answer="sentence")
    yield of_bytes("empty.nii", lambda: b"", answer="sentence")
    yield of_bytes("zeros_9MB.nii", lambda: bytes(9_000_000))
