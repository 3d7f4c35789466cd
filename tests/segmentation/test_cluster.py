import json
import os
import shutil
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
import pytest

from helpers import watching
from helpers.networks import BLOCKS, bright
from lungnb.__main__ import main
from lungnb.engines.engines import Engine
from lungnb.formats.images import write_png
from lungnb.formats.tables import unescape
from lungnb.phantoms.make import make_phantom
from lungnb.segmentation import cluster
from lungnb.segmentation.batch import segment_files
from lungnb.segmentation.cluster import CHUNK, TRIES, segment_on_cluster
from lungnb.segmentation.journal import KEPT
from lungnb.segmentation.listing import TABLE, Options

# Ray gives a node half a minute to start, which it needs beside other tests.
needs_cluster = pytest.mark.skipif(
    "LUNGNB_CLUSTER" not in os.environ, reason="starts a cluster: run `make cluster`, which sets LUNGNB_CLUSTER"
)


@pytest.fixture(scope="module")
def address():
    """Two nodes, of one core each, that listen on 127.0.0.1 alone."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (cluster.ALONE | cluster.NO_WEB).items():
            patch.setenv(name, value)
        pytest.importorskip("ray.data", reason="needs ray: pip install 'lungnb[cluster]'")
        from ray.cluster_utils import Cluster

        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        nodes.add_node(num_cpus=1)
        yield nodes.address
        nodes.shutdown()


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """A folder with more films than fit into a chunk, one of them damaged, and more below it; and a model."""
    folder = tmp_path_factory.mktemp("films")
    images = [make_phantom(number, 64).image for number in range(7)]  # each several times, for drawing takes time
    for number in range(CHUNK + 40):
        write_png(folder / ("ward" if number % 5 == 0 else "") / f"{number:03}.png", images[number % len(images)])
    (folder / "ward" / "damaged.png").write_bytes(b"nothing")
    model = folder.parent / "bright.keras"
    bright().save(model)
    return folder, model


def assert_as_alone(out, films, options=Options()):  # noqa: B008
    """The rows and the masks, byte by byte, are those that `segment_files` writes; return the rows, by file."""
    folder, model = films
    alone = segment_files(folder, out.parent / "alone", model, **options._asdict(), progress=False).set_index("file")
    alone = alone.drop(columns="milliseconds").sort_index()
    rows = pd.read_parquet(out / TABLE).set_index("file").sort_index()
    pd.testing.assert_frame_equal(rows[[*alone]].drop(columns="mask"), alone.drop(columns="mask"), check_dtype=False)
    for file, name in alone["mask"].dropna().items():
        place = Path(file).relative_to(folder).parent / name  # in folders as the films are
        assert rows.loc[file, "mask"] == str(place)
        assert (out / place).read_bytes() == (out.parent / "alone" / name).read_bytes()
    assert sorted(rows.index) == sorted(alone.index)
    return rows


@needs_cluster
def test_a_cluster_writes_what_one_machine_writes(tmp_path, address, films, capsys):
    (folder, model), out = films, tmp_path / "cluster"
    arguments = ["segment", str(folder), "--out", str(out), "--model", str(model), "--ray", address]
    assert main(arguments) == 1  # for the one that is damaged
    output = capsys.readouterr()
    assert f"{CHUNK + 40} of {CHUNK + 41} images segmented" in output.out
    assert f"{folder / 'ward' / 'damaged.png'}: cannot be read as an image" in output.err
    rows = assert_as_alone(out, films)

    # Again for some of them, one touched, the mask of another gone: only that one is done again.
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    (out / "001_mask.png").unlink()
    os.utime(folder / "ward" / "000.png")
    some = [folder / "ward", *folder.glob("00*.png")]
    total = segment_on_cluster(some, out, address, model, progress=False)
    assert {path for path, at in before.items() if path.stat().st_mtime_ns != at} == {out / "001_mask.png"}
    fewer = pd.read_parquet(out / TABLE).set_index("file").sort_index()
    assert len(fewer) == total["images"] == 22 + 8 and total["failed"] == 1
    ignored = ["milliseconds", "stamp"]
    pd.testing.assert_frame_equal(fewer.drop(columns=ignored), rows.loc[fewer.index].drop(columns=ignored))


@needs_cluster
def test_killed_workers_cost_nothing_but_time(tmp_path, address, films):
    import psutil

    (folder, model), out, killed, done = films, tmp_path / "killed", [], []

    def kill():
        """Kill every worker as soon as a mask is there."""
        while not [*out.rglob("[!.]*_mask.png")]:
            time.sleep(0.01)
        done.append(len([*(out / TABLE).glob("*.parquet")]))
        for process in psutil.process_iter(["cmdline"]):
            name = (process.info["cmdline"] or [""])[0]
            if name.startswith("ray::") and "_Worker" in name:
                process.kill()
                killed.append(process.pid)

    thread = threading.Thread(target=kill)
    thread.start()
    total = segment_on_cluster(folder, out, address, model, Options(overlays=True), progress=False)
    thread.join()
    chunks = len([*(out / TABLE).glob("*.parquet")])
    assert killed and done[0] < chunks == 3 and total["images"] == CHUNK + 41
    assert_as_alone(out, films, Options(overlays=True))
    assert len([*out.rglob("[!.]*_overlay.png")]) == CHUNK + 40


@pytest.mark.slow
def test_a_chunk_that_kills_its_workers_is_given_up(tmp_path, films):
    pytest.importorskip("pyarrow")
    folder, model = films
    chunk = {"part": "a.parquet", "files": [str(folder / "001.png")], "stems": ["001"]}
    (tmp_path / TABLE).mkdir()
    tries = tmp_path / TABLE / ".a.tries"
    tries.write_text("." * TRIES)  # which workers that died have left
    worker = cluster._Worker(model, tmp_path, Options())
    said = worker(chunk)
    assert said["failed"] == 1 and str(folder / "001.png") in said["errors"][0] and "died" in said["errors"][0]
    assert worker(chunk)["failed"] == 0 and not tries.exists()


@needs_cluster
def test_a_cluster_of_this_machine_sends_nothing_beyond_it(tmp_path, films):
    pytest.importorskip("ray.data", reason="needs ray: pip install 'lungnb[cluster]'")
    folder, model = films
    command = [sys.executable, "-m", "lungnb", "segment", folder / "001.png", "--model", model]
    result = watching.run(tmp_path, *command, "--out", tmp_path / "out", "--ray", "local")
    assert result.returncode == 0, result.stdout + result.stderr
    watching.assert_silent(tmp_path, left={"auth_token"})  # by which Ray's processes know each other


@needs_cluster
def test_what_a_worker_cannot_write_gives_a_sentence(tmp_path, address, films):
    folder, model = films
    (tmp_path / "001_mask.png" / "in the way").mkdir(parents=True)
    total = segment_on_cluster([folder / "001.png"], tmp_path, address, model, progress=False)
    assert total["images"] == total["failed"] == 1
    error = pd.read_parquet(tmp_path / TABLE)["error"][0]
    assert "001_mask.png: cannot be written: " in error and "name another place" in error


def test_names_that_are_not_utf_8_come_back(tmp_path, films):
    """Ray sends work through Arrow, which accepts only UTF-8."""
    parquet = pytest.importorskip("pyarrow.parquet")
    folder, model = films
    place = tmp_path / "ward\udcff"
    place.mkdir()
    shutil.copy(folder / "001.png", place / "a\udcfe\n.png")
    (given,) = cluster._folders(place)
    (chunk,) = cluster._chunks({name: [value] for name, value in given.items()}, tmp_path / "out")
    chunk = {name: value for name, (value,) in chunk.items()}
    for text in (*given.values(), *chunk["files"], *chunk["stems"]):
        text.encode()
    (tmp_path / "out" / TABLE).mkdir(parents=True)
    worker = cluster._Worker(model, tmp_path / "out", Options())
    assert (worker(chunk)["images"], worker(chunk)["failed"]) == (1, 0)
    (row,) = parquet.read_table(tmp_path / "out" / TABLE / chunk["part"]).to_pylist()
    assert unescape(row["file"]) == str(place / "a\udcfe\n.png")
    assert (tmp_path / "out" / unescape(row["mask"])).exists()


def test_what_a_cluster_cannot_do_is_said(tmp_path, films, monkeypatch):
    _, model = films
    with pytest.raises(ValueError, match="mount the storage"):
        segment_on_cluster("s3://films/", tmp_path / "out", "local", model)
    with pytest.raises(ValueError, match="in an empty list"):
        segment_on_cluster([], tmp_path / "out", "local", model)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"needs ray; pip install 'lungnb\[cluster\]'"):
        segment_on_cluster(tmp_path, tmp_path / "out", "local", model)


@pytest.fixture
def asked(monkeypatch):
    """Do the work of a cluster in this process, without Ray and Parquet; return the batches that the network gets."""
    batches = []

    def run(folders, _workers, **arguments):
        worker = cluster._Worker(**arguments)
        for folder in folders:
            for chunk in cluster._chunks({name: [value] for name, value in folder.items()}, arguments["out"]):
                yield worker({name: value for name, (value,) in chunk.items()})

    for pool in ("INTRA", "INTER"):  # which a worker sets
        monkeypatch.setenv(f"TF_NUM_{pool}OP_THREADS", "1")
    engine = Engine("bright", 128, lambda batch: batches.append(batch) or batch)
    monkeypatch.setattr(cluster, "CHUNK", 2)
    monkeypatch.setattr(cluster, "open_model", lambda *_: (engine, None))
    monkeypatch.setattr(cluster, "_ray", lambda *_: nullcontext())
    monkeypatch.setattr(cluster, "_run", run)
    monkeypatch.setattr(cluster, "_write_rows", lambda rows, table: table.write_text(json.dumps(rows)))
    monkeypatch.setattr(cluster, "_read_rows", lambda table: {row["file"]: row for row in rows_in(table)})
    return batches


def rows_in(*tables):
    return [row for table in sorted(tables) if table.exists() for row in json.loads(table.read_text())]


@pytest.fixture
def ward(tmp_path):
    """A folder of three films and a black one, and in it another folder with a film and a damaged file."""
    for name in ("0", "1", "2", "ward/0"):
        write_png(tmp_path / "films" / f"{name}.png", BLOCKS)
    write_png(tmp_path / "films" / "black.png", BLOCKS * 0)
    (tmp_path / "films" / "ward" / "damaged.png").write_bytes(b"nothing")
    return tmp_path / "films"


def test_a_folder_is_segmented_once_and_only_what_changed_again(tmp_path, ward, asked):
    out = tmp_path / "out"
    total = segment_on_cluster([ward, ward / "ward", ward / "1.png"], out, "local", progress=False)
    assert total == {"images": 6, "failed": 1, "incomplete": 0, "review": 1, "kept": 0} and len(asked) == 5
    masks = {"0_mask.png", "1_mask.png", "2_mask.png", "black_mask.png", "ward/0_mask.png"}
    assert {str(path.relative_to(out)) for path in out.rglob("*.png")} == masks
    assert len([*(out / TABLE).glob("*.parquet")]) == 3 and not [*(out / TABLE).glob(".*.tries")]
    for name in ("2.png", "black.png", "ward/damaged.png"):  # a whole chunk, and one file of another chunk
        (ward / name).unlink()
    total = segment_on_cluster(ward, out, "local", progress=False)
    assert total == {"images": 3, "failed": 0, "incomplete": 0, "review": 0, "kept": 0} and len(asked) == 5
    kept = rows_in(*(out / TABLE).glob("*.parquet"))
    assert sorted(row["file"] for row in kept) == sorted(map(str, ward.rglob("*.png")))
    total = segment_on_cluster(ward, out, "local", options=Options(dicom_segs=True), progress=False)
    expected = {"images": 3, "failed": 0, "incomplete": 3, "review": 0, "kept": 0}  # PNG files
    assert total == expected
    segmented = len(asked)
    segment_on_cluster(ward, out, "local", options=Options(dicom_segs=True, upright=True), progress=False)
    assert len(asked) == segmented + 3  # because another option may change the masks
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no image files in .*empty\."):
        segment_on_cluster(tmp_path / "empty", out, "local", progress=False)


def test_a_mask_that_a_person_changed_is_kept_also_by_a_run_with_other_options(tmp_path, ward, asked, monkeypatch):
    out = tmp_path / "out"
    segment_on_cluster(ward, out, "local", progress=False)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cluster._Worker, "_segment", killed)
        with pytest.raises(KeyboardInterrupt):
            segment_on_cluster(ward, out, "local", options=Options(overlays=True), progress=False)
    write_png(out / "0_mask.png", 255 - BLOCKS)  # as the run that was killed may have written it
    segment_on_cluster(ward, out, "local", progress=False)
    write_png(out / "1_mask.png", 255 - BLOCKS)
    mine = (out / "1_mask.png").read_bytes()
    for options in (Options(), Options(overlays=True), Options(overlays=True)):
        segment_on_cluster(ward, out, "local", options=options, progress=False)
        rows = rows_in(*(out / TABLE).glob("*.parquet"))
        assert [row["file"] for row in rows if row.get("note") == KEPT] == [str(ward / "1.png")]
        assert (out / "1_mask.png").read_bytes() == mine and len(rows) == 6
    assert len([*out.rglob("*_overlay.png")]) == 4


def test_a_folder_of_an_earlier_version_is_not_segmented_again(tmp_path, ward, asked):
    """Its tables lack the columns from which one sees that a mask was changed, so a changed one would be replaced."""
    out = tmp_path / "out"
    segment_on_cluster(ward, out, "local", progress=False)
    segmented = len(asked)
    for table in (out / TABLE).glob("*.parquet"):
        rows = [{name: row[name] for name in row if name not in {"plan", "written"}} for row in rows_in(table)]
        table.write_text(json.dumps(rows))
    write_png(out / "1_mask.png", 255 - BLOCKS)
    mine = (out / "1_mask.png").read_bytes()
    for _ in range(2):
        segment_on_cluster(ward, out, "local", progress=False)
        assert len(asked) == segmented and (out / "1_mask.png").read_bytes() == mine


def test_a_mask_that_is_put_back_has_no_note(tmp_path, ward, asked):
    out = tmp_path / "out"
    segment_on_cluster(ward, out, "local", progress=False)
    before = (out / "1_mask.png").read_bytes()
    for content, kept in ((b"", 0), (before[:-1], 1), (before, 0)):
        if content:
            (out / "1_mask.png").write_bytes(content)
        assert segment_on_cluster(ward, out, "local", progress=False)["kept"] == kept
        rows = rows_in(*(out / TABLE).glob("*.parquet"))
        assert sum(row.get("note") == KEPT for row in rows) == kept


@pytest.mark.parametrize(("tries", "failed"), [(TRIES - 1, 0), (TRIES, 1)])
def test_a_chunk_is_given_up_after_five_workers(tmp_path, ward, asked, tries, failed):
    (tmp_path / "out" / TABLE).mkdir(parents=True)
    (tmp_path / "out" / TABLE / ".a.tries").write_text("." * tries)  # which workers that died have left
    worker = cluster._Worker(None, tmp_path / "out", Options())
    done = worker({"part": "a.parquet", "files": [str(ward / "1.png")], "stems": ["1"]})
    assert TRIES == 5 and done["failed"] == failed == len(done["errors"]) == 1 - len(asked)


def test_files_and_folders_within_a_given_folder_are_listed_once(tmp_path, ward):
    write_png(tmp_path / "other" / "7.png", BLOCKS)
    given = cluster._folders([ward / "ward", ward, ward / "1.png", tmp_path / "other" / "7.png"])
    assert [(folder["folder"], json.loads(folder["names"])) for folder in given] == [
        (str(ward), []), (str(tmp_path / "other"), ["7.png"])
    ]  # fmt: skip
    assert {folder["base"] for folder in given} == {str(tmp_path)}
