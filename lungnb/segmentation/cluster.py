"""Many files, on one machine or many: Ray Data hands them out in chunks to workers that hold the network each.

The driver never sees the files: workers list folders, segment a chunk of one folder at a time, and write its masks and
its rows, a Parquet file. A chunk whose worker dies goes to another; a chunk that was done is not done again.
"""

from __future__ import annotations

import glob
import hashlib
import json
import logging
import os
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lungnb.files import escape, locked, read_json, remove, remove_made, unescape, writable, write_json, written
from lungnb.messages import printable
from lungnb.segmentation.batch import TABLE_COLUMNS, Options, is_up_to_date, result_plan, segment_cases
from lungnb.segmentation.listing import TABLE, InputFile, as_path, list_folders, name_images, refuse_masks_of_others
from lungnb.segmentation.predict import open_model

CHUNK = 64  # files: few are lost with a worker, and no folder is one worker's alone
TRIES = 5  # of a chunk whose worker dies; then it is taken that one of its files kills workers
ALONE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # its side effect is wanted: all listen on 127.0.0.1 alone
    "RAY_agent_register_timeout_ms": "100000",  # a busy machine is slow to start it
}
# As it starts, Ray asks the web which cloud this machine is in. This proxy is a local port on which nothing listens.
NO_WEB = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy")} | {"no_proxy": "127.0.0.1,localhost"}
_PLAN = ".plan.json"  # hidden, so that readers of Parquet pass it by
_TEXT = ("file", "status", "review", "mask", "error", "stem", "stamp")
_COUNTS = ("height", "width", "slices", "right_px", "left_px")


def segment_on_cluster(
    paths: str | Path | Iterable[str | Path],
    out: str | Path,
    address: str,
    model: str | Path | None = None,
    options: Options = Options(),  # noqa: B008
    workers: int | None = None,
    progress: bool = True,
    engine: str = "auto",
) -> Counter:
    """Segment as `segmentation.segment_files` does, on a Ray cluster; return how many `images`, `failed`, `review`.

    Masks lie in `out` in folders as the images do; `segmentation.parquet` in it is a folder with the rows of the table,
    which pandas, DuckDB and Spark read as one, and two columns more by which a later run knows what is done: `stem` and
    `stamp`. Paths are absolute in it. Every machine must see the files, `out` and the model under the same path, and
    have the same lungnb.

    Args:
        paths: files, folders, patterns. Folders are listed by the workers, one folder in memory at a time.
        out: the folder for all that is written.
        address: `local` for workers of this machine alone, `auto` for the cluster it belongs to, or `host:port`.
        model: the path of a `model.keras`; None means the one that lungnb ships.
        options: what is written besides masks.
        workers: how many, each on one core; default: as many as there are cores.
        progress: show a progress bar, and the sentences of files that failed.
        engine: as in `inference.segment`; every machine must have what it needs.

    Raises ValueError where there is nothing to segment or ray is missing, FileNotFoundError where there is no model,
    RuntimeError where no cluster answers, or another run works in `out`.
    """
    out, model = Path(out).absolute(), model and Path(model).absolute()
    folders = _folders(paths)
    if not folders:
        raise ValueError("no image files in nothing.")
    _, window = open_model(model, None, engine)
    with locked(out / TABLE), _ray(address, workers):
        refuse_masks_of_others(out, out / TABLE, "**/*")
        _begin(out / TABLE, result_plan(model, window, options))
        total, parts = Counter(), set()
        with tqdm(desc="Segmenting", unit="file", file=sys.stdout, disable=not progress) as bar:
            for done in _run(folders, workers, model=model, out=out, options=options, engine=engine):
                for error in done["errors"] if progress else ():
                    bar.write(printable(f"lungnb: {error}"), file=sys.stderr)
                bar.update(done["images"])
                total.update({name: done[name] for name in ("images", "failed", "review")})
                parts.add(done["part"])
    if not total["images"]:
        raise ValueError(f"no image files in {', '.join(folder['folder'] for folder in folders)}.")
    for old in {file.name for file in (out / TABLE).glob("*.parquet")} - parts:
        remove(out / TABLE / old)  # of files that are gone, or were not named this time
    return total


class _Worker:
    """Holds the network, and segments one chunk after another."""

    def __init__(self, model: Path | None, out: Path, options: Options, engine: str = "auto") -> None:
        for pool in ("INTRA", "INTER"):  # before TensorFlow is imported; workers of one machine would fight for cores
            os.environ[f"TF_NUM_{pool}OP_THREADS"] = "1"
        self.network, self.window = open_model(model, None, engine)
        self.out, self.options = out, options

    def __call__(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """Segment what is not done of a chunk, write its rows, and return their numbers."""
        import pyarrow
        from pyarrow import parquet

        names = zip(map(unescape, chunk["files"]), map(unescape, chunk["stems"]), strict=True)
        cases = [InputFile(Path(file), stem) for file, stem in names]
        table = self.out / TABLE / chunk["part"]
        stored = [_changed(row, unescape) for row in parquet.read_table(table).to_pylist()] if table.exists() else []
        before = {row["file"]: row for row in stored}
        rows = {str(case.path): before.get(str(case.path)) for case in cases}
        new = [case for case in cases if not _is_done(rows[str(case.path)], case, self.out, self.options)]
        for row in self._segment(new, table.with_name(f".{table.stem}.tries")):
            rows[row["file"]] = {"review": ""} | row
        kinds = {name: pyarrow.string() for name in _TEXT} | {name: pyarrow.int64() for name in _COUNTS}
        names = (*TABLE_COLUMNS, "stem", "stamp")
        schema = pyarrow.schema([(name, kinds.get(name, pyarrow.float64())) for name in names])
        if new or len(before) != len(rows):
            with written(table) as temporary:
                escaped = [_changed(row, escape) for row in rows.values()]  # Arrow takes no bytes that are not UTF-8
                parquet.write_table(pyarrow.Table.from_pylist(escaped, schema), temporary)
        errors = [row["error"] for row in rows.values() if row["status"] == "failed"]
        review = sum(row["review"] != "" for row in rows.values())
        done = {"part": table.name, "images": len(rows), "failed": len(errors), "review": review}
        return done | {"errors": list(map(escape, errors))}

    def _segment(self, cases: list[InputFile], tries: Path) -> Iterator[dict]:
        """Segment cases, or give them up where workers died of them; Ray itself would try for ever."""
        with writable(tries), tries.open("a", encoding="utf-8") as file:
            file.write(".")
        try:
            if tries.stat().st_size <= TRIES:
                yield from segment_cases(cases, self.network, self.window, self.out, self.options)
            else:
                for file, stem in cases:
                    error = f"{file}: {TRIES} workers died of this file, or of one beside it; segment it alone."
                    yield {"file": str(file), "stem": stem, "stamp": "", "status": "failed", "error": error}
        finally:  # which a worker that dies does not come to
            tries.unlink()


def _changed(row: dict, change: Callable[[str], str]) -> dict:
    """Return a row with its text changed by a function."""
    return {name: change(value) if isinstance(value, str) else value for name, value in row.items()}


def _is_done(row: dict | None, case: InputFile, out: Path, options: Options) -> bool:
    return row is not None and row["stem"] == case.stem and is_up_to_date(row, out, options)


def _run(folders: list[dict], workers: int | None, **arguments: object) -> Iterator[dict]:
    """Let Ray Data list folders and segment their chunks; yield what each chunk came to."""
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.target_max_block_size = 1  # a block is what is handed out: one chunk, as soon as it is listed
    most = workers or int(ray.cluster_resources()["CPU"])
    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=most, initial_size=workers)  # else more come as they pay
    listed = ray.data.from_items(folders)
    chunks = listed.map_batches(_chunks, fn_kwargs={"out": arguments["out"]}, batch_size=1, num_cpus=0)
    yield from chunks.map(_Worker, fn_constructor_kwargs=arguments, compute=pool, num_cpus=1).iter_rows()


def _chunks(batch: dict[str, Any], out: Path) -> Iterator[dict[str, Any]]:
    """Yield what lies in a folder and those below it, or its files that are named, a chunk at a time."""
    root, base, names = Path(unescape(batch["folder"][0])), unescape(batch["base"][0]), json.loads(batch["names"][0])
    for folder, files in [(root, [root / name for name in names])] if names else list_folders(root, out):
        within = Path(os.path.relpath(folder, base))
        key = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
        cases = name_images(files, {})
        for number, start in enumerate(range(0, len(cases), CHUNK)):
            chunk = cases[start : start + CHUNK]
            files = [escape(str(case.path)) for case in chunk]
            stems = [escape(str(within / case.stem)) for case in chunk]
            yield {"part": [f"{key}-{number:06}.parquet"], "files": [files], "stems": [stems]}


def _folders(paths: str | Path | Iterable[str | Path]) -> list[dict[str, str]]:
    """Return the folders to be listed, and those of single files with their names, JSON; none lies in another."""
    given: set[Path] = set()
    for path in [paths] if isinstance(paths, (str, Path)) else paths:
        if "://" in str(path):
            raise ValueError(f"{path}: not a folder or file that every machine sees; mount the storage, and name that.")
        path = os.path.abspath(as_path(path))
        given.update(map(Path, [path] if os.path.lexists(path) else glob.glob(path, recursive=True) or [path]))
    roots, single = {path for path in given if path.is_dir()}, defaultdict(list)
    for path in sorted(given - roots):
        if not roots & {*path.parents}:
            single[path.parent].append(path.name)
    found = {root: [] for root in sorted(roots) if not roots & {*root.parents}} | single
    base = os.path.commonpath(found) if found else ""
    return [
        {"folder": escape(str(folder)), "base": escape(str(base)), "names": json.dumps(names)}
        for folder, names in found.items()
    ]


def _begin(table: Path, wanted: dict) -> None:
    """Remove what was done with another model or other options."""
    file = table / _PLAN
    if read_json(file) != wanted:
        remove_made(table, _PLAN)
        write_json(file, wanted)


@contextmanager
def _ray(address: str, workers: int | None) -> Iterator[None]:
    """Join a Ray cluster, or start one on this machine that nothing outside it can reach."""
    os.environ.update(ALONE if address == "local" else {})  # before the import
    try:
        import ray.data
        from ray.exceptions import RayError
    except ImportError as error:
        raise ValueError("a cluster needs ray; pip install 'lungnb[cluster]'.") from error
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    own = {"include_dashboard": False, "num_cpus": workers}
    try:
        with _environment(NO_WEB if address == "local" else {}):  # the processes that Ray starts inherit it
            ray.init(address, log_to_driver=False, logging_level="ERROR", **(own if address == "local" else {}))
    except Exception as error:  # a bare one, among others
        raise RuntimeError(f"{address}: no Ray cluster answers there, or none can be started: {error}") from error
    try:
        yield
    except RayError as error:
        ours = r"^[\w.]*(?:Error|Refused|NotWritten|DiskFull): (.+)"  # in a worker's traceback
        sentences = re.findall(ours, str(error), re.MULTILINE)
        raise RuntimeError(sentences[-1] if sentences else f"the cluster gave up: {error}") from error
    finally:
        ray.shutdown()


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables inside the block, and restore them after it."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
