import gzip
import re
import tomllib
from base64 import b64decode

import pytest

import lungnb
from helpers.paths import ROOT
from lungnb.formats.opening import digest_of_file
from lungnb.page.writing import BUNDLE, write_page
from lungnb.settings import SHIPPED

SMALL = "<p>{{VERSION}} {{DIGEST}} {{OTHER}}</p><script id=network>{{NETWORK}}</script>"


def test_the_page_holds_the_shipped_network(tmp_path):
    (tmp_path / "bundle.html").write_text(SMALL)
    page = write_page(tmp_path / "new" / "lungs.html", tmp_path / "bundle.html")
    text = page.read_text()
    assert text.startswith(f"<p>{lungnb.__version__} {digest_of_file(SHIPPED)[:8]} {{{{OTHER}}}}</p>")
    packed = b64decode(re.search("id=network>(.*)</script>", text)[1])
    assert gzip.decompress(packed) == SHIPPED.with_suffix(".onnx").read_bytes()
    assert packed[4:8] == bytes(4)  # no time, so that the same parts always give the same page
    for name in ("lungs.htm", "LUNGS.HTML"):
        assert write_page(tmp_path / name, tmp_path / "bundle.html").read_bytes() == page.read_bytes()


@pytest.mark.parametrize("name", ["lungs", "lungs.png", "lungs.html.txt"])
def test_a_name_that_is_not_html_is_refused(tmp_path, name):
    (tmp_path / "bundle.html").write_text(SMALL)
    with pytest.raises(ValueError, match=rf"{name}: the page needs a name that ends in \.html"):
        write_page(tmp_path / name, tmp_path / "bundle.html")


def test_wheels_hold_the_bundle():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert any(BUNDLE.match(pattern) for pattern in project["tool"]["setuptools"]["package-data"]["*"])


def test_a_checkout_without_the_bundle_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"bundle\.html: the page is not built yet\. Run `make page`"):
        write_page(tmp_path / "lungs.html", tmp_path / "bundle.html")
    assert not (tmp_path / "lungs.html").exists()
