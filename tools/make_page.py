"""Join the scripts of lungnb/page with onnxruntime-web, and write lungnb/page/bundle.html. `make page` calls this.

The bundle is a page without a network. `lungnb page` puts the network into it. The files of ONNX Runtime must have the
checksums below, so that a registry cannot deliver other files.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
from base64 import b64encode
from html import escape
from pathlib import Path
from zipfile import ZipFile

from PIL import Image

import lungnb
from lungnb.files import written
from lungnb.formats.pixels import to_grey
from lungnb.page.writing import BUNDLE, fill

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "lungnb" / "page"
FETCHED = ROOT / "tools" / "node_modules"  # `make page` downloads into this folder
PACKAGE = FETCHED / "onnxruntime-web" / "dist"
RUNTIME, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
NOTICES = (
    "onnxruntime/ThirdPartyNotices.txt"  # in the Python wheel of the same version, because the npm package has none
)
VERSION = json.loads((ROOT / "tools" / "package.json").read_text(encoding="utf-8"))["dependencies"]["onnxruntime-web"]
CHECKSUMS = {  # SHA-256 of these files
    RUNTIME: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    WASM: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    NOTICES: "143764b952fdb1a7c69ce653bfba74a7744d6a8a573bfb73e235fba356c83de3",
}
# Each script imports only from scripts above it. The brush is also used in JupyterLab.
MODULES = (
    *("square.js", "ranges.js", "regions.js", "review.js", "png.js", "dicom.js", "film.js", "opening.js"),
    *("network.js", "saving.js", "../browser/brush.js", "page.js"),
)
EXAMPLES = (  # name, kind and number of a phantom
    ("Chest film", "film", 5),
    ("With disease", "film", 9),
    ("CT slice", "ct", 5),
    ("A head", "other", 12),
)
EXAMPLE_PX = 400
_IMPORT = re.compile(r'^import (\{[^}]*\}|\w+) from "\./([\w-]+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?:async )?(?:function|class|const) (\w+)", re.MULTILINE)
# Forbid connections, frames and forms. Allow the script with this checksum, WebAssembly, styles, pictures of the page.
POLICY = (
    "default-src 'none'; script-src 'sha256-{digest}' 'wasm-unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; connect-src 'none'; base-uri 'none'; form-action 'none'"
)


def join_modules(modules: dict[str, str]) -> str:
    """Return one script from modules, whose names are without `.js`; each module sees only what it imports."""
    return "".join(f"const module_{name} = {_as_function(text)};\n" for name, text in modules.items())


def _as_function(text: str) -> str:
    """Return a module as a function that is called at once and returns what the module exports."""

    def bind(match: re.Match[str]) -> str:
        names, module = match.groups()
        return f"const {names if names.startswith('{') else f'{{ default: {names} }}'} = module_{module};\n"

    names = _EXPORT.findall(text)
    text = _IMPORT.sub(bind, text)
    text = re.sub(
        r"(?m)^export default ", "const anywidget = ", text
    )  # the page does not need it, only JupyterLab does
    text = re.sub(r"(?m)^export ", "", text)
    return f"(() => {{\n{text}return {{ {', '.join(names)} }};\n}})()"


def runtime_module(text: str) -> str:
    """Return onnxruntime-web as a function that returns the parts that the page uses."""
    text = re.sub(r"(?m)^//# sourceMappingURL=.*\n?", "", text)
    code, _, exports = text.rpartition("export{")
    names = dict(reversed(each.split(" as ")) for each in exports.partition("}")[0].split(","))
    parts = ", ".join(f"{name}: {names[name]}" for name in ("InferenceSession", "Tensor", "env"))
    return f"(() => {{\n{code}\nreturn {{ default: {{ {parts} }} }};\n}})()"


def page_script(runtime: str) -> str:
    """Return the whole script of the page."""
    texts = {Path(name).stem: (SOURCES / name).read_text(encoding="utf-8") for name in MODULES}
    script = f"const module_ort = {runtime_module(runtime)};\n{join_modules(texts)}"
    if re.search(r"<!--|</?script", script, re.IGNORECASE):
        raise ValueError(
            "The script contains <!-- or a script tag, which would end it inside the page. Remove it from lungnb/page."
        )
    return script


def read_package(name: str) -> bytes:
    """Return a file of ONNX Runtime that `make page` fetched. Raises ValueError if it is not the pinned one."""
    if name == NOTICES:
        with ZipFile(next(FETCHED.glob(f"onnxruntime-{VERSION}-*.whl"))) as archive:
            content = archive.read(name)
    else:
        content = (PACKAGE / name).read_bytes()
    if hashlib.sha256(content).hexdigest() != CHECKSUMS[name]:
        raise ValueError(f"{name}: the checksum differs from the one in tools/make_page.py. Use the pinned version.")
    return content


def licences() -> str:
    """Return the licences of all parts of the page, in HTML."""
    texts = ((SOURCES / "LICENCES.md").read_text(encoding="utf-8"), read_package(NOTICES).decode())
    return "\n".join(f"<pre>{escape(text.strip(), quote=False)}</pre>" for text in texts)


def examples() -> str:
    """Return buttons in HTML, one for each drawn example, with its picture."""
    return "\n".join(_example(*example) for example in EXAMPLES)


def _example(name: str, kind: str, index: int) -> str:
    png = io.BytesIO()
    grey = to_grey(lungnb.make_phantom(index, kind=kind, size=EXAMPLE_PX).image)
    Image.fromarray(grey).save(png, "PNG", optimize=True)
    picture = f'<img alt="" src="data:image/png;base64,{b64encode(png.getvalue()).decode()}">'
    return f'<button type="button" data-name="{name.lower().replace(" ", "-")}">{picture}{name}</button>'


def make_bundle(file: Path = BUNDLE) -> Path:
    """Write the bundle and return its path."""
    script = page_script(read_package(RUNTIME).decode())
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    wasm = gzip.compress(read_package(WASM), 9, mtime=0)
    page, style = ((SOURCES / name).read_text(encoding="utf-8") for name in ("page.html", "page.css"))
    parts = {
        "POLICY": POLICY.format(digest=digest), "STYLE": style, "EXAMPLES": examples(),
        "LICENCES": licences(), "WASM": b64encode(wasm).decode(), "SCRIPT": script,
    }  # fmt: skip
    with written(file) as temporary:
        temporary.write_text(fill(page, parts), encoding="utf-8", newline="\n")
    return file


if __name__ == "__main__":
    made = make_bundle()
    print(f"{made.relative_to(ROOT)}: {made.stat().st_size / 1e6:.1f} MB. Next: lungnb page OUT.html")
