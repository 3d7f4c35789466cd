"""Write the page: the bundle that `make page` built, with a network in it."""

import gzip
import re
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

from lungnb import __version__
from lungnb.artefacts import given_path
from lungnb.files import written
from lungnb.formats.opening import digest_of_file
from lungnb.settings import SHIPPED

BUNDLE = Path(__file__).with_name("bundle.html")  # made by tools/make_page.py; wheels hold it, checkouts do not
_DIGEST_DIGITS = 8  # first digits of the network's SHA-256, as in the tables of `lungnb segment`


def write_page(out: str | Path, bundle: Path | None = None) -> Path:
    """Write a page that segments films in a browser, with the network that lungnb ships, and return its path.

    The page is one file that works from a disk, a USB stick or any server. It makes no connection. `bundle` is the file
    that `make page` built, by default BUNDLE.

    Raises FileNotFoundError if the bundle was not built, ValueError if `out` does not end in `.html` or `.htm`.
    """
    out, bundle = given_path(out, "the path of the page"), bundle or BUNDLE
    if out.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"{out}: the page needs a name that ends in .html, so that browsers open it.")
    if not bundle.exists():
        raise FileNotFoundError(f"{bundle}: the page is not built yet. Run `make page` in the project's folder first.")
    network = SHIPPED.with_suffix(".onnx")
    parts = {
        "VERSION": __version__,
        "DIGEST": digest_of_file(SHIPPED)[:_DIGEST_DIGITS],
        "NETWORK": b64encode(gzip.compress(network.read_bytes(), mtime=0)).decode(),
    }
    with written(out) as temporary:
        temporary.write_text(fill(bundle.read_text(encoding="utf-8"), parts), encoding="utf-8", newline="\n")
    return out


def fill(page: str, parts: Mapping[str, str]) -> str:
    """Return a page in which each `{{NAME}}` is replaced by the part of this name; other names stay.

    >>> fill("<p>{{A}} {{B}}</p>", {"A": "1"})
    '<p>1 {{B}}</p>'
    """
    return re.sub(r"\{\{([A-Z]+)\}\}", lambda match: parts.get(match[1], match[0]), page)
