"""Check a release, build it, and try it. `make release` runs the tests first, and then this script.

The script builds the wheel and the source archive in `dist`. It installs the wheel in a new environment in an empty
folder. There it segments a phantom, copies the notebooks, and writes the page and a report. It also writes a list of
all pinned packages, a CycloneDX SBOM. It publishes nothing; its last lines say how to publish.
"""

import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile

import lungnb

ROOT = Path(__file__).parents[1]
# Files that the wheel must contain: the shipped network, the series, and the licences of bundled files.
PARTS = (
    "lungnb/weights/phantom.keras", "lungnb/weights/phantom.onnx", "lungnb/weights/README.md",
    "lungnb/page/bundle.html", "lungnb/page/LICENCES.md", "lungnb/series/notebooks/00_start.ipynb",
    "lungnb/series/results/published/review/review.csv",
    "dist-info/licenses/LICENSE",
)  # fmt: skip
_TRY = (
    "import lungnb; assert 'site-packages' in lungnb.__file__; "
    "lungnb.write_png('films/7.png', lungnb.make_phantom(7).image)"
)


def problems(root: Path, version: str) -> list[str]:
    """Return a sentence for each file that does not match the version, and for changes that are not committed."""
    found = []
    if f"version: {version}\n" not in (root / "CITATION.cff").read_text(encoding="utf-8"):
        found.append(f"CITATION.cff: its version differs from {version} in lungnb/__init__.py; correct one of them.")
    changes = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    unreleased = changes.partition("## [Unreleased]")[2].partition("\n## [")[0].strip()
    if f"## [{version}]" not in changes:
        found.append(f"CHANGELOG.md: has no heading for {version}; add one.")
    if unreleased:
        found.append(f"CHANGELOG.md: has entries under Unreleased; move them under a heading for {version}.")
    status = subprocess.run(["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=True)
    if status.stdout:
        found.append(f"Commit these files first:\n{status.stdout.rstrip()}")
    return found


def missing_parts(names: Sequence[str]) -> list[str]:
    """Return which of `PARTS` are not among the names of a wheel's files."""
    return [part for part in PARTS if not any(name.endswith(part) for name in names)]


def run(*command: object, cwd: Path = ROOT) -> None:
    """Print a command and run it; exit if it fails."""
    print("$", *command, flush=True)
    if subprocess.run([str(part) for part in command], cwd=cwd).returncode:
        sys.exit(f"{command[0]} failed; the release is not ready.")


def build(out: Path) -> Path:
    """Build the source archive and the wheel into `out`; return the wheel."""
    run(sys.executable, "-m", "build", "--outdir", out)
    wheel = out / f"lungnb-{lungnb.__version__}-py3-none-any.whl"
    with ZipFile(wheel) as archive:
        if missing := missing_parts(archive.namelist()):
            sys.exit(f"{wheel.name}: lacks {', '.join(missing)}; the release is not ready.")
    return wheel


def try_wheel(wheel: Path) -> None:
    """Install a wheel in a new environment, and use it in an empty folder."""
    with tempfile.TemporaryDirectory(prefix="lungnb-") as folder:
        home = Path(folder)
        venv.create(home / "venv", with_pip=True)
        programs = home / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
        run(programs / "python", "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", f"{wheel}[fast]")
        run(programs / "python", "-c", _TRY, cwd=home)
        run(programs / "lungnb", "segment", "films", "--out", "masks", cwd=home)
        run(programs / "lungnb", "notebooks", "series", cwd=home)
        run(programs / "lungnb", "page", "lungs.html", cwd=home)
        run(programs / "lungnb", "report", cwd=home / "series")


def main() -> None:
    """Check, build and try the release, and say how to publish it."""
    os.environ.pop("PYTHONPATH", None)  # or the checkout would be tried instead of the wheel
    if found := problems(ROOT, lungnb.__version__):
        sys.exit("\n".join(found))
    out = ROOT / "dist"
    wheel = build(out)
    try_wheel(wheel)
    sbom = out / f"lungnb-{lungnb.__version__}-sbom.json"
    run(Path(sys.executable).with_name("cyclonedx-py"), "requirements", "constraints.txt", "--output-file", sbom)
    print(
        f"\n{out} holds the release. To publish it, tag the commit v{lungnb.__version__}, attach the files to the tag, "
        "and upload the wheel and the source archive with twine."
    )


if __name__ == "__main__":
    main()
