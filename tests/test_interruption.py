"""Killed with SIGKILL while it works, the same work is begun again until it ends as if nothing had happened.

The killer waits until files show that the work is where it is to be killed: a training has finished an epoch or is
writing its backup, a preparation has written images into its hidden folder. LUNGNB_KILLS says how often it kills: 3
times in `make test-slow`, 30 times before a release (`make robust`), of them 8 times in test_whole_report.py.
"""

import http.server
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import ExitStack, closing, suppress
from functools import partial

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers.processes import exit_code, start_forked
from lungnb import settings as settings_module
from lungnb.datasets.fetch import download
from lungnb.datasets.prepare import prepare_dataset
from lungnb.datasets.sources import CATALOGUE, RemoteFile, Source
from lungnb.engines.engines import load_model
from lungnb.evaluation import evaluation
from lungnb.figures import plots
from lungnb.networks.training import train
from lungnb.phantoms.make import write_phantoms
from lungnb.report.page import write_report
from lungnb.report.publishing import save_artefact
from lungnb.settings import Settings

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("LUNGNB_KILLS", 3))
SHARES = {"download": 2, "prepare": 10, "train": 12}  # of 30 kills
TIMES = ["seconds", "milliseconds", "training_minutes", "milliseconds_per_image"]
STAGES = ("download", "prepare", "train", "evaluate", "report")


def settings_of(epochs):
    return Settings(
        dataset="tiny", image_size=32, filters=2, depth=2, epochs=epochs, stop_patience=epochs, batch_size=4,
        models=("unet",), deterministic=True,
    )  # fmt: skip


def compare(settings):
    evaluation.evaluate(settings, "unet", progress=False)
    save_artefact(settings, "comparison", evaluation.compare(settings, ["unet"]))
    save_artefact(settings, "scores", plots.score_boxes(evaluation.read_scores(settings, ["unet"])))


def work(home, address, epochs="4", stages=STAGES):
    """Do the work that the tests interrupt, in a separate process."""
    os.environ["LUNGNB_HOME"] = str(home)
    file = RemoteFile("scans.zip", (address,))
    settings_module.DATASETS += ("tiny",)
    CATALOGUE["tiny"] = Source("tiny", "Tiny", "xray", "MIT", "None", files=(file,))
    settings = settings_of(int(epochs))
    works = {
        "download": lambda: download("tiny", progress=False),
        "prepare": lambda: prepare_dataset(settings, progress=False),
        "train": lambda: train(settings, "unet", progress=False),
        "evaluate": lambda: compare(settings),
        "report": lambda: write_report(settings, []),
    }
    for stage in stages:
        print(stage, flush=True)
        works[stage]()
    print("done", flush=True)


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
        with suppress(OSError):  # who asked was killed
            super().handle()

    def log_message(self, *_):
        pass


@pytest.fixture
def serve(tmp_path):
    """Call with a number of images and their size (px): the address of an archive of them."""
    with ExitStack() as stack:

        def serve(count, size):
            write_phantoms(tmp_path / "scans", count, size=size, progress=False)
            with zipfile.ZipFile(tmp_path / "scans.zip", "w") as archive:
                for file in sorted((tmp_path / "scans").rglob("*.*")):
                    archive.write(file, file.relative_to(tmp_path))
            Slow.content = (tmp_path / "scans.zip").read_bytes()
            server = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_port}/scans.zip"

        yield serve


@pytest.fixture
def address(serve):
    return serve(24, 48)


@pytest.fixture(scope="module")
def forked():
    """Call with arguments of `work` to start it in a process that begins with all modules imported."""
    return partial(start_forked, work)


def begin(home, address):
    command = [sys.executable, "-u", __file__, str(home), address]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process):
    """Wait for the work to end well."""
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0 and output.endswith("done\n"), output


def at_download(home):
    """Return a function that says whether a file has begun to arrive."""
    return lambda: any((home / "data" / "raw" / ".tiny.download").glob("*"))


def at_images(home):
    """Return a function that says whether a preparation has written an image."""
    return lambda: any((home / "data" / "prepared").glob(".tiny.*.part/*/images/*.png"))


def at_record(home):
    """Return a function that says whether a preparation is about to put its folder in place."""
    return lambda: any((home / "data" / "prepared").glob(".tiny.*.part/*.csv"))


def at_epoch(home):
    """Return a function that says whether training has finished another epoch."""
    folder = home / "results" / "tiny" / "unet"
    before = epochs_in(folder)
    return lambda: epochs_in(folder) > before and (folder / "training" / "backup" / "latest.weights.h5").exists()


def epochs_in(folder):
    history = folder / "history.csv"
    return history.read_text().count("\n") - 1 if history.exists() else 0


def at_checkpoint(home):
    """Return a function that says whether training is writing its best weights, after the first epoch."""
    folder = home / "results" / "tiny" / "unet"
    return lambda: epochs_in(folder) > 0 and (folder / ".model.part.keras").exists()


def at_backup(home):
    """Return a function that says whether training is writing what it would go on with, after the first epoch."""
    folder = home / "results" / "tiny" / "unet"
    return lambda: epochs_in(folder) > 0 and (folder / "training" / "backup" / ".part.latest.weights.h5").exists()


# Where each stage is killed, in turn, and how long after at most, in seconds: 0 hits what is being written.
POINTS = {
    "download": [(at_download, 0.8)],
    "prepare": [(at_images, 0.5), (at_record, 0)],
    "train": [(at_epoch, 0.5), (at_backup, 0), (at_checkpoint, 0)],
}


def kill(process, is_there, delay):
    """Kill a process some seconds after it is where it is to be; return whether it was still at work."""
    limit = time.monotonic() + 300
    while process.is_alive() and not is_there():
        assert time.monotonic() < limit, "the work did not come to where it is to be killed"
        time.sleep(0.001)
    time.sleep(delay)
    process.kill()
    process.join(60)
    return process.exitcode == -9


def all_whole(home):
    """Read every file that a reader would take for whole."""
    for file in sorted(path for path in home.rglob("*") if path.is_file()):
        place = file.relative_to(home)
        if any(part.startswith(".") for part in place.parts) or "training" in place.parts:
            continue
        if file.suffix in (".png", ".bmp"):
            Image.open(file).load()
        elif file.suffix == ".csv" and file.name != "history.csv":  # one row per epoch, while training goes on
            assert len(pd.read_csv(file).columns), file
        elif file.suffix == ".json":
            json.loads(file.read_text())
        elif file.suffix == ".keras":
            load_model(file)
        elif file.suffix == ".html":
            assert file.read_text().rstrip().endswith("</html>"), file


def results(home):
    """Return the results of the work, without times."""
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
    """Return the names of all files except locks."""
    return sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.suffix != ".lock")


def anew(home, stage, number):
    """Make sure that there is work for a stage to do; half of the preparations replace a folder that is whole."""
    if stage == "prepare" and number % 4 > 1:
        for image in (home / "data" / "raw" / "tiny").rglob("*_001_image_1.bmp"):
            image.touch()
    elif stage == "prepare":
        shutil.rmtree(home / "data" / "prepared" / "tiny", ignore_errors=True)
    elif (home / "results" / "tiny" / "unet" / "run.json").exists():  # a training that no kill hit
        shutil.rmtree(home / "results" / "tiny")


def test_work_that_was_killed_ends_as_work_that_was_not(tmp_path, serve, forked):
    whole, broken, rng = tmp_path / "whole", tmp_path / "broken", random.Random(KILLS)
    kills = {stage: max(KILLS * share // 30, 1) for stage, share in SHARES.items()}
    address, epochs = serve(60, 128), 4 + 4 * kills["train"]
    assert exit_code(forked(whole, address, epochs)) == 0
    for stage in kills:
        hits = 0
        for number in range(10 * kills[stage]):
            point, latest = POINTS[stage][hits % len(POINTS[stage])]
            anew(broken, stage, number)
            is_there = point(broken)
            with closing(forked(broken, address, epochs, [stage])) as process:
                hits += kill(process, is_there, rng.uniform(0, latest))
            all_whole(broken)
            if hits == kills[stage]:
                break
        assert hits == kills[stage], f"only {hits} of {stage} were at work when they were killed"
        assert exit_code(forked(broken, address, epochs, [stage])) == 0
    assert exit_code(forked(broken, address, epochs)) == 0
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
    """Each run ends well, or says in a sentence that another run is at work."""
    together = [begin(tmp_path / "home", address) for _ in range(2)]
    outputs = [process.communicate(timeout=300)[0] for process in together]
    assert any(output.endswith("done\n") for output in outputs), outputs
    for output in outputs:
        assert output.endswith("done\n") or "another run is at work there; wait until it is done" in output, output
    all_whole(tmp_path / "home")
    finish(begin(tmp_path / "home", address))


if __name__ == "__main__":
    work(*sys.argv[1:])
