"""Files that are not what their name says, and files of two kinds at once."""

import io
from collections.abc import Callable, Iterator

from PIL import Image

from hostile import Case, of_bytes
from hostile.archives import Member, archive
from hostile.bmp import bmp
from hostile.dicom import film
from hostile.gif import whole
from hostile.jpeg import jpeg
from hostile.nifti import nifti
from hostile.places import SUFFIXES
from hostile.png import png
from hostile.streams import gzipped
from hostile.tiff import picture, tiff


def saved(form: str, mode: str = "L") -> bytes:
    """Return a picture in a format that Pillow knows and lungnb does not read."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png(64, 64))).convert(mode).save(buffer, form)
    return buffer.getvalue()


CONTENTS: dict[str, Callable[[], bytes]] = {
    "png": lambda: png(64, 64),
    "jpeg": jpeg,
    "bmp": lambda: bmp(64, 64, bytes(4096)),
    "gif": lambda: whole(64, 64),
    "tiff": lambda: tiff(picture()),
    "dicom": film,
    "nifti": nifti,
    "nifti_gz": lambda: gzipped(nifti()),
    "zip": lambda: archive(Member("x.png")),
    "webp": lambda: saved("WEBP", "RGB"),
    "ico": lambda: saved("ICO"),
    "tga": lambda: saved("TGA"),
    "ppm": lambda: saved("PPM"),
    "jpeg_2000": lambda: saved("JPEG2000"),
    "eps": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(../escaped) (w) file closefile\n",
    "svg": lambda: (
        b'<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg xmlns="http://www.w3.org/2000/svg">&x;</svg>'
    ),
    "xpm": lambda: b'/* XPM */\nstatic char *x[] = {"1 1 999999999 1"};',
    "pdf": lambda: b"%PDF-1.4\n" + png(64, 64),
    "python": lambda: b"open('../escaped', 'w')\n",
    "zeros": lambda: bytes(100_000),
    "ones": lambda: b"\xff" * 100_000,
    "one_byte": lambda: b"\0",
}


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for name, content in CONTENTS.items():
        for suffix in SUFFIXES:
            yield of_bytes(f"{name}_named{suffix or '_nothing'}", content)
    for first, second in (("png", "zip"), ("png", "dicom"), ("gif", "python"), ("dicom", "tiff"), ("tiff", "zip")):
        for suffix in SUFFIXES[:6]:
            yield of_bytes(f"{first}_and_{second}{suffix}", lambda a, b: CONTENTS[a]() + CONTENTS[b](), first, second)
