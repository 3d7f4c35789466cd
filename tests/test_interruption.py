"""Killed with SIGKILL at random moments, the same work is begun again until it ends as if nothing had happened.

LUNGNB_KILLS says how often: 3 in `make test`, 30 before a release (`make robust`).
"""

import http.server
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lungnb.inference import load_model
from lungnb.phantom import write_phantoms

KILLS = int(os.environ.get("LUNGNB_KILLS", 3))
TIMES = ["seconds", "milliseconds", "training_minutes", "milliseconds_per_image"]
STAGES = ("download", "prepare", "train", "evaluate", "report")
WORK = """
import dataclasses, sys
from lungnb import datasets, evaluation, plots, prepare, report, sources, training
from lungnb.datasets import RemoteFile, Source
from lungnb.settings import Settings

file = RemoteFile("scans.zip", (sys.argv[1],))
datasets.CATALOGUE["tiny"] = Source("tiny", "Tiny", "xray", "MIT", "None", files=(file,))
settings = Settings(dataset="tiny", image_size=32, filters=2, depth=2, epochs=4, batch_size=4, models=("unet",),
                    deterministic=True)

def compare():
    evaluation.evaluate(settings, "unet", progress=False)
    report.keep(settings, "comparison", evaluation.compare(settings, ["unet"]))
    report.keep(settings, "scores", plots.score_boxes(evaluation.read_scores(settings, ["unet"])))

for stage, work in {
    "download": lambda: sources.download("tiny", progress=False),
    "prepare": lambda: prepare.prepare_dataset(settings, progress=False),
    "train": lambda: training.train(settings, "unet", progress=False),
    "evaluate": compare,
    "report": lambda: report.write_report(settings, []),
}.items():
    print(stage, flush=True)
    work()
print("done", flush=True)
"""


class Slow(http.server.BaseHTTPRequestHandler):
    """Serves one archive in a second, so that there is something to interrupt."""

    content = b""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        for part in np.array_split(np.frombuffer(self.content, np.uint8), 50):
            self.wfile.write(part.tobytes())
            time.sleep(0.02)

    def handle(self):
        try:
            super().handle()
        except OSError:
            pass  # who asked was killed

    def log_message(self, *_):
        pass


@pytest.fixture
def address(tmp_path):
    write_phantoms(tmp_path / "scans", 24, size=48, progress=False)
    with zipfile.ZipFile(tmp_path / "scans.zip", "w") as archive:
        for file in sorted((tmp_path / "scans").rglob("*.*")):
            archive.write(file, file.relative_to(tmp_path))
    Slow.content = (tmp_path / "scans.zip").read_bytes()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/scans.zip"
        server.shutdown()


def begin(home, address):
    command = [sys.executable, "-u", "-c", WORK, address]
    environment = os.environ | {"LUNGNB_HOME": str(home)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process):
    """Wait for the work to end well; return the seconds that each stage took."""
    seconds, last = {}, time.monotonic()
    output = []
    for line in process.stdout:
        now, output = time.monotonic(), [*output, line]
        if seconds or line.strip() in STAGES:
            seconds = {**seconds, line.strip(): now}
    assert process.wait(timeout=300) == 0 and output[-1] == "done\n", "".join(output)
    times = [*seconds.values(), last]
    return {stage: max(after - before, 0.05) for stage, before, after in zip(seconds, times, times[1:], strict=False)}


def kill(process, stage, delay):
    """Kill the work some seconds after it has come to a stage; return whether it was still at work."""
    for line in process.stdout:
        if line.strip() == stage:
            break
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    return process.wait(timeout=60) == -signal.SIGKILL


def all_whole(home):
    """Read every file that a reader would take for whole."""
    for file in sorted(path for path in home.rglob("*") if path.is_file()):
        place = file.relative_to(home)
        if any(part.startswith(".") for part in place.parts) or "training" in place.parts:
            continue
        if file.suffix in (".png", ".bmp"):
            Image.open(file).load()
        elif file.suffix == ".csv" and file.name != "history.csv":  # a row an epoch, while training goes on
            assert len(pd.read_csv(file).columns), file
        elif file.suffix == ".json":
            json.loads(file.read_text())
        elif file.suffix == ".keras":
            load_model(file)
        elif file.suffix == ".html":
            assert file.read_text().rstrip().endswith("</html>"), file


def results(home):
    """Return what the work came to, without times."""
    folder = home / "results" / "tiny"
    tables = {
        name: pd.read_csv(file).drop(columns=TIMES, errors="ignore")
        for name, file in (
            ("manifest", home / "data" / "prepared" / "tiny" / "manifest.csv"),
            ("history", folder / "unet" / "history.csv"),
            ("scores", folder / "unet" / "scores.csv"),
            ("comparison", folder / "comparison" / "comparison.csv"),
        )
    }  # fmt: skip
    return tables, load_model(folder / "unet" / "model.keras").get_weights()


def visible(home):
    """Return the names of all files but locks."""
    return sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.suffix != ".lock")


def test_work_that_was_killed_ends_as_work_that_was_not(tmp_path, address):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    seconds = finish(begin(whole, address))
    rng, killed = random.Random(KILLS), 0
    for _ in range(20 * KILLS):
        if killed == KILLS:
            break
        stage = STAGES[killed * len(STAGES) // KILLS]
        # Work that a kill came too late for is done, so that the next stage is the one to hit.
        killed += kill(begin(broken, address), stage, rng.uniform(0, seconds[stage]))
        all_whole(broken)
    assert killed == KILLS, f"only {killed} were at work when they were killed"
    finish(begin(broken, address))
    assert visible(broken) == visible(whole)
    (tables, weights), (others, other_weights) = results(whole), results(broken)
    for name, table in tables.items():
        pd.testing.assert_frame_equal(table, others[name], obj=name)
    for one, other in zip(weights, other_weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def small_disk(tmp_path):
    """A folder that is a disk of its own, and what to call with its size in KB; where the system lets one be made."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def resize(kilobytes, how="remount,"):
        command = ["mount", "-t", "tmpfs", "-o", f"{how}size={kilobytes}k", "none", folder]
        return subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0

    if not shutil.which("mount") or not resize(64, how=""):
        pytest.skip("no right to mount a disk in memory here")
    yield folder, resize
    subprocess.run(["umount", folder], check=True)


def test_work_on_a_disk_that_fills_says_so_and_goes_on_when_there_is_room(tmp_path, address, small_disk):
    whole, (disk, resize) = tmp_path / "whole", small_disk
    finish(begin(whole, address))
    stages, kilobytes = set(), 64
    while True:
        output, _ = (process := begin(disk / "home", address)).communicate(timeout=300)
        if process.returncode == 0:
            break
        said = ("cannot be written: the disk is full; make room, then run this again", "more than there is room for")
        assert any(sentence in output for sentence in said), output
        all_whole(disk / "home")
        stages.add([line for line in output.splitlines() if line in STAGES][-1])
        kilobytes = round(1.3 * kilobytes)
        resize(kilobytes)
    assert stages >= {"download", "train"}, stages
    assert visible(disk / "home") == visible(whole)
    for one, other in zip(results(whole)[1], results(disk / "home")[1], strict=True):
        np.testing.assert_array_equal(one, other)


def test_two_at_once_do_not_harm_each_other(tmp_path, address):
    """Each ends well, or says in a sentence that another is at work."""
    together = [begin(tmp_path / "home", address) for _ in range(2)]
    outputs = [process.communicate(timeout=300)[0] for process in together]
    assert any(output.endswith("done\n") for output in outputs), outputs
    for output in outputs:
        assert output.endswith("done\n") or "another run is at work there; wait until it is done" in output, output
    all_whole(tmp_path / "home")
    finish(begin(tmp_path / "home", address))
