import hashlib
import json
import re
import shutil
import subprocess
from base64 import b64encode
from zipfile import ZipFile

import pytest

import make_page
from helpers.paths import ROOT

RUNTIME = """var a=1,b={wasm:2};class c{}
export{c as InferenceSession,a as Tensor,b as env,a as default};
//# sourceMappingURL=x.map
"""
ONE = """const hidden = 1;
export function give() {
  return hidden;
}
export const TEN = 10;
export default () => 0;
"""
TWO = """import { give, TEN } from "./one.js";
const hidden = 5;
export class Sum {
  static of = () => give() + TEN + hidden;
}
"""
THREE = """import ort from "./ort.js";
import { Sum } from "./two.js";
console.log(Sum.of(), typeof hidden, ort.env.wasm);
"""
needs_node = pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js (Debian: nodejs)")


def run_script(folder, script):
    (folder / "script.mjs").write_text(script)
    return subprocess.run(["node", "script.mjs"], cwd=folder, capture_output=True, text=True, check=True).stdout


@needs_node
def test_joined_modules_see_what_they_import_and_nothing_else(tmp_path):
    runtime = f"const module_ort = {make_page.runtime_module(RUNTIME)};\n"
    script = runtime + make_page.join_modules({"one": ONE, "two": TWO, "three": THREE})
    assert run_script(tmp_path, script) == "16 undefined 2\n"


def test_the_runtime_names_no_source_map():
    assert "sourceMappingURL" not in make_page.runtime_module(RUNTIME)


@needs_node
def test_node_can_parse_the_script_of_the_page(tmp_path):
    """Node.js parses the script, and runs it until it needs a browser."""
    script = make_page.page_script(RUNTIME)
    (tmp_path / "script.mjs").write_text(script)
    done = subprocess.run(["node", "script.mjs"], cwd=tmp_path, capture_output=True, text=True)
    assert "ReferenceError: document is not defined" in done.stderr
    assert not re.search(r"(?m)^(import|export) ", script)


def test_a_script_that_would_end_itself_is_refused():
    with pytest.raises(ValueError, match="script tag, which would end it"):
        make_page.page_script(f"{RUNTIME}".replace("class c{}", "var d='</script>';class c{}"))


def test_each_module_is_bundled_after_its_imports():
    known = {"ort"}
    for name in make_page.MODULES:
        file = make_page.SOURCES / name
        assert {*re.findall(r'from "\./([\w-]+)\.js"', file.read_text(encoding="utf-8"))} <= known
        known.add(file.stem)
    assert {file.stem for file in make_page.SOURCES.glob("*.js")} <= known


def test_a_changed_package_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(make_page, "PACKAGE", tmp_path)
    (tmp_path / make_page.WASM).write_bytes(b"other")
    with pytest.raises(ValueError, match=r"the checksum differs from the one in tools/make_page\.py"):
        make_page.read_package(make_page.WASM)


def test_the_notices_come_from_the_wheel_of_the_same_version(tmp_path, monkeypatch):
    monkeypatch.setattr(make_page, "FETCHED", tmp_path)
    with ZipFile(tmp_path / f"onnxruntime-{make_page.VERSION}-cp311-cp311-any.whl", "w") as wheel:
        wheel.writestr(make_page.NOTICES, "other")
    with pytest.raises(ValueError, match=r"ThirdPartyNotices\.txt: the checksum differs"):
        make_page.licences()
    monkeypatch.setitem(make_page.CHECKSUMS, make_page.NOTICES, hashlib.sha256(b"other").hexdigest())
    assert make_page.read_package(make_page.NOTICES) == b"other"


def test_licences_are_shown_as_text(monkeypatch):
    monkeypatch.setattr(make_page, "read_package", lambda name: b"a <b> & {c}")
    html = make_page.licences()
    assert html.endswith("<pre>a &lt;b&gt; &amp; {c}</pre>") and "Copyright (c) Microsoft Corporation" in html
    assert {*re.findall(r"<[^>]*>", html)} == {"<pre>", "</pre>"} and not re.search(r"\{\{[A-Z]+\}\}", html)


def test_the_bundle_holds_all_parts_and_its_policy_names_the_script(tmp_path, monkeypatch):
    content = {make_page.RUNTIME: RUNTIME.encode(), make_page.WASM: b"wasm", make_page.NOTICES: b"notices"}
    monkeypatch.setattr(make_page, "read_package", content.__getitem__)
    monkeypatch.setattr(make_page, "EXAMPLE_PX", 32)
    text = make_page.make_bundle(tmp_path / "bundle.html").read_text(encoding="utf-8")
    assert re.findall(r"\{\{([A-Z]+)\}\}", text) == ["VERSION", "DIGEST", "NETWORK"]
    script = re.search(r'<script type="module">(.*?)</script>', text, re.DOTALL)[1]
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1].split("; ")
    assert policy[:2] == ["default-src 'none'", f"script-src 'sha256-{digest}' 'wasm-unsafe-eval'"]
    assert "connect-src 'none'" in policy and not re.search(r"https?:", " ".join(policy))
    assert text.index("Content-Security-Policy") < text.index("<style>") < text.index("<script")
    assert "Copyright (c) Microsoft Corporation" in text and make_page.licences() in text
    assert "so rename files that name a patient" in text and text.count("data:image/png;base64,") == 4


def test_versions_are_pinned_and_no_registry_is_named():
    text = (ROOT / "tools" / "package.json").read_text()
    assert all(re.fullmatch(r"[\d.]+", version) for version in json.loads(text)["dependencies"].values())
    assert (
        "http" not in text
        and json.loads(text)["dependencies"]["onnxruntime-web"]
        in make_page.__doc__ + (ROOT / "lungnb" / "page" / "LICENCES.md").read_text()
    )
