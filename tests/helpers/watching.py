"""Run commands without network and in an empty home folder, and see what they send and leave behind.

Two watches: an audit hook in every Python process (`connections/sitecustomize.py`) names the code that looks up or
connects to something beyond loopback. A network namespace (`connections/namespace.sh`, Linux, if the system allows
it) counts the packets of all code.
"""

import os
import subprocess
import tempfile
from functools import cache

from helpers.paths import ROOT

TOOLS = ROOT / "tests" / "connections"
CACHES = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "KERAS_HOME", "MPLCONFIGDIR")


def environment(folder):
    """Return the variables for a watched process: the audit hook, an empty home folder, and caches outside of it."""
    for name in ("home", *CACHES):
        (folder / name).mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join([str(TOOLS), str(ROOT)])
    watch = {"PYTHONPATH": path, "LUNGNB_CONNECTIONS": str(folder / "connections")}
    homes = dict.fromkeys(("HOME", "USERPROFILE"), str(folder / "home"))
    unset = {"ORT_DISABLE_TELEMETRY", "CI", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"}  # would hide what is looked for
    return {name: value for name, value in os.environ.items() if name not in unset} | watch | homes | {
        name: str(folder / name) for name in CACHES
    }  # fmt: skip


def without_network(folder, command):
    """Return a command that runs another without network, or the same command if the system allows no namespace."""
    return [*_namespace(folder), *command] if has_namespaces() else command


@cache
def has_namespaces():
    """Return whether this user may make a network namespace with the interfaces that are needed."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return not subprocess.run([*_namespace(folder), "true"], capture_output=True, check=False).returncode
        except FileNotFoundError:  # no unshare
            return False


def assert_silent(folder, left=()):
    """Assert that nothing was sent beyond loopback, and that only files of these names are in the home folder."""
    log, packets = folder / "connections", folder / "packets"
    assert not log.exists(), log.read_text(encoding="utf-8")
    assert {path.name for path in (folder / "home").rglob("*") if path.is_file()} == {*left}
    if has_namespaces():
        assert packets.read_text() == "0\n"
        packets.unlink()


def run(folder, *command):
    """Run a command to its end under both watches; return its result, output as text."""
    return subprocess.run(
        without_network(folder, [*map(str, command)]),
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=300,
    )


def _namespace(folder):
    return ["unshare", "--map-root-user", "--net", "--mount", "sh", str(TOOLS / "namespace.sh"), str(folder)]
