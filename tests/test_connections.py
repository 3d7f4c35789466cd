"""Nothing is sent beyond loopback, and nothing is left in the home folder, whatever is installed."""

import json
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from helpers.paths import ROOT
from helpers.scans import TINY
from helpers.watching import assert_silent, environment, has_namespaces, run
from lungnb.engines.engines import installed
from lungnb.engines.export import FORMATS
from lungnb.formats.images import write_png
from lungnb.phantoms.make import make_phantom
from lungnb.settings import SHIPPED

LUNGNB = (sys.executable, "-m", "lungnb")


@pytest.fixture
def films(tmp_path):
    """A folder with two films."""
    for index in range(2):
        write_png(tmp_path / "films" / f"{index}.png", make_phantom(index, size=64).image)
    return tmp_path / "films"


def assert_works_in_silence(folder, *command):
    result = run(folder, *command)
    assert result.returncode == 0, result.stdout + result.stderr
    assert_silent(folder)


@pytest.mark.parametrize("engine", ["onnx", "openvino", pytest.param("keras", marks=pytest.mark.slow)])
def test_segmenting_is_silent(tmp_path, films, engine):
    if not installed(engine):
        pytest.skip(f"needs {engine}: pip install 'lungnb[fast]'")
    assert_works_in_silence(tmp_path, *LUNGNB, "segment", films, "--out", tmp_path / "masks", "--engine", engine)
    assert len([*(tmp_path / "masks").glob("*.png")]) == 2


@pytest.mark.slow
def test_training_and_exporting_are_silent(tmp_path, prepared):
    pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'lungnb[fast]'")
    changes = [f"--set={name}={value}" for name, value in (TINY | {"epochs": 1}).items()]
    verbs = [["train", prepared.dataset, "--model", "unet", *changes]]
    model = prepared.results / "unet" / "model.keras"
    verbs += [["export", str(model), "--format", each, "--out", str(tmp_path)] for each in FORMATS]
    script = "import json, sys; from lungnb.__main__ import main; sys.exit(any(map(main, json.loads(sys.argv[1]))))"
    assert_works_in_silence(tmp_path, sys.executable, "-c", script, json.dumps(verbs))


def test_libraries_are_silent_after_lungnb_is_imported(tmp_path):
    pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'lungnb[fast]'")
    script = (
        "import sys, lungnb, onnxruntime, openvino, optuna, papermill, nbconvert\n"
        "onnxruntime.InferenceSession(sys.argv[1])\n"
        "openvino.convert_model(sys.argv[1])"
    )
    assert_works_in_silence(tmp_path, sys.executable, "-c", script, SHIPPED.with_suffix(".onnx"))


def test_jupyterlab_of_make_lab_asks_for_no_news_updates_or_extensions(tmp_path):
    recipe = (ROOT / "Makefile").read_text().replace("\\\n", "")
    flags = re.search(r"jupyter lab (.+) notebooks$", recipe, re.MULTILINE)[1].split()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    command += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={tmp_path}", *flags]
    with (tmp_path / "lab.log").open("w") as log:
        server = subprocess.Popen(command, env=environment(tmp_path), stdout=log, stderr=log)
    try:
        for path in ("api/update", "api/news", "api/extensions?refresh=1", "api/extensions?query=a&refresh=1"):
            answer = ask(server, f"http://127.0.0.1:{port}/lab/{path}", token)
            assert answer is not None, (tmp_path / "lab.log").read_text()
    finally:
        server.kill()
        server.wait()
    assert not (tmp_path / "connections").exists(), (tmp_path / "connections").read_text()


def ask(server, url, token):
    """Return what a server answers in JSON, once it has started."""
    request = urllib.request.Request(url, headers={"Authorization": f"token {token}"})
    while server.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError:
            raise
        except OSError:
            time.sleep(0.2)
    return None


@pytest.mark.parametrize("call", ["create_connection(('192.0.2.9', 80), 1)", "gethostbyname('lungnb.invalid')"])
def test_the_audit_hook_sees_child_processes(tmp_path, call):
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    run(tmp_path, sys.executable, "-c", child, f"import socket; socket.{call}")
    assert call.split("'")[1] in (tmp_path / "connections").read_text()


def test_the_namespace_counts_what_no_audit_hook_sees(tmp_path):
    if not has_namespaces():
        pytest.skip("needs unshare, ip and the right to make a network namespace; what C++ code sends is not counted")
    send = "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'', ('192.0.2.9', 9))"
    run(tmp_path, sys.executable, "-E", "-c", send)  # -E: without PYTHONPATH, so without the hook
    assert not (tmp_path / "connections").exists()
    assert (tmp_path / "packets").read_text() == "1\n"
