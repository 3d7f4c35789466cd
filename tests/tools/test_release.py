"""What `make release` checks before it builds."""

import subprocess

import lungnb
import release
from helpers.paths import ROOT


def project(folder, citation="0.3.0", changes="## [Unreleased]\n\n## [0.3.0] - 2026-11-27\n\n- A page.\n"):
    (folder / "CITATION.cff").write_text(f"title: lungnb\nversion: {citation}\n")
    (folder / "CHANGELOG.md").write_text(f"# Changelog\n\n{changes}")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run(["git", "add", "."], cwd=folder, check=True)
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *author, "commit", "-qm", "all"], cwd=folder, check=True)
    return folder


def test_a_project_that_is_ready(tmp_path):
    assert release.problems(project(tmp_path), "0.3.0") == []


def test_another_version_unreleased_entries_and_changed_files_are_named(tmp_path):
    folder = project(tmp_path, "0.2.0", "## [Unreleased]\n\n- A page.\n\n## [0.3.0] - 2026-11-27\n")
    (folder / "new.py").touch()
    citation, changes, uncommitted = release.problems(folder, "0.3.0")
    assert citation.startswith("CITATION.cff") and changes.startswith("CHANGELOG.md")
    assert uncommitted.endswith("?? new.py")


def test_parts_that_a_wheel_lacks_are_named():
    names = [*release.PARTS[1:-1], f"lungnb-{lungnb.__version__}.dist-info/licenses/LICENSE"]
    assert release.missing_parts(names) == ["lungnb/weights/phantom.keras"]


def test_the_container_is_not_root_and_copies_the_files_of_the_wheel():
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert lines.index("USER lungnb") < lines.index('ENTRYPOINT ["lungnb"]')
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"}
    assert {"pyproject.toml", "setup.py", "MANIFEST.in", "lungnb", "notebooks", "LICENSE", "README.md"} <= kept
    assert all((ROOT / name).exists() for name in kept)
