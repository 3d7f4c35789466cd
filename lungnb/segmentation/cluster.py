"""Segment very many files on one machine or many: Ray Data gives chunks of files to workers that hold the network.

The driver never sees the files. Workers list folders, segment a chunk of one folder at a time, and write its masks and
its table, a Parquet file. If a worker dies, another one takes its chunk. A chunk that is done is not done again.
"""

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

from lungnb.artefacts import environment, given_path
from lungnb.engines.engines import network_path
from lungnb.files import locked, read_json, refuse_foreign, remove, writable, write_json, written
from lungnb.formats.opening import digest_of_file
from lungnb.formats.tables import escape, unescape
from lungnb.messages import printable
from lungnb.segmentation import listing
from lungnb.segmentation.batch import TABLE_COLUMNS, segment_inputs
from lungnb.segmentation.journal import (
    UNSURE,
    WHOLE_NUMBERS,
    JournalRow,
    is_up_to_date,
    kept_row,
    result_plan,
    without_kept,
)
from lungnb.segmentation.listing import NO_EXTRAS, TABLE, InputFile, Options
from lungnb.segmentation.predict import network_name, open_model

CHUNK = 64  # files; few are lost with a worker, and several workers share a large folder
TRIES = 5  # of a chunk whose worker dies; after them, one of its files is held to kill workers
ALONE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # as a side effect, all processes listen on 127.0.0.1 only
    "RAY_agent_register_timeout_ms": "100000",  # because a busy machine starts the agent slowly
}
# When Ray starts, it asks the web in which cloud the machine is. At this proxy, a local port, nothing listens.
NO_WEB = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9") | {"no_proxy": "127.0.0.1,localhost"}
_PLAN = ".plan.json"  # hidden, because readers of Parquet skip hidden files
_HIDDEN = ("stem", "stamp", "plan", "written")  # columns for later runs
_TEXT = ("file", "status", "review", "note", "mask", "network", "error", *_HIDDEN)


def segment_on_cluster(
    paths: str | Path | Iterable[str | Path], out: str | Path, address: str, model: str | Path | None = None,
    options: Options = NO_EXTRAS, workers: int | None = None, progress: bool = True, engine: str = "auto",
) -> Counter[str]:  # fmt: skip
    """Segment as `segment_files` does, on a Ray cluster; return the numbers of `images`, `failed` and `review`.

    `incomplete` is the number of images that lack an output on request, `kept` that of masks that somebody changed.

    The masks are in `out`, in the same subfolders as the images. The table is a folder, `segmentation.parquet`, which
    pandas, DuckDB and Spark read as one table. Its paths are absolute. From its last four columns, a later run sees
    which files are done, and which masks were changed since.

    `address` is `local` for workers on this machine, `auto` for the cluster that it belongs to, or `host:port`. Each of
    the `workers` has one core; by default, there are as many as cores. Every machine must see the files, `out` and the
    model under the same path, and have the same lungnb and the engine. `progress` also shows the errors of files.

    Raises ValueError if there is nothing to segment or ray is missing, FileNotFoundError if there is no model,
    RuntimeError if no cluster answers or another run works in `out`.
    """
    out = given_path(out, "the folder for masks").absolute()
    model = None if model is None else network_path(model).absolute()
    folders = _folders(paths)
    if not folders:
        raise ValueError("no image files in an empty list: name files or folders.")
    _, window_hu = open_model(model, None, engine)
    with locked(out / TABLE), _ray(address, workers):
        given = [Path(unescape(folder["folder"])) for folder in folders]
        listing.refuse_foreign_masks(out, out / TABLE, given, "**/*")
        plan, before = result_plan(model, window_hu, options), read_json(out / TABLE / _PLAN)
        plan["network"] = network_name(model)
        listing.refuse_other_network(out, {str(before.get("network", plan["network"]))}, plan["network"])
        digest, earlier = (
            hashlib.sha256(json.dumps(each, sort_keys=True).encode()).hexdigest()[:16] for each in (plan, before)
        )
        if before != plan:  # the results are those of another model or other options
            refuse_foreign(out / TABLE, _PLAN)
            write_json(out / TABLE / _PLAN, plan)
        total: Counter[str] = Counter()
        parts = set()
        with tqdm(desc="Segmenting", unit="file", file=sys.stdout, disable=not progress) as bar:
            work = {"model": model, "out": out, "options": options, "plan": digest, "earlier": earlier}
            for chunk in _run(folders, workers, engine=engine, **work):
                for error in chunk["errors"] if progress else ():
                    bar.write(printable(f"lungnb: {error}"), file=sys.stderr)
                bar.update(chunk["images"])
                total.update({name: chunk[name] for name in ("images", "failed", "incomplete", "review", "kept")})
                parts.add(chunk["part"])
    if not total["images"]:
        raise ValueError(f"no image files in {', '.join(folder['folder'] for folder in folders)}.")
    for old in {file.name for file in (out / TABLE).glob("*.parquet")} - parts:
        remove(out / TABLE / old)  # of files that are gone or are not named this time
    return total


class _Worker:
    """Holds the network, and segments one chunk after another."""

    def __init__(
        self, model: Path | None, out: Path, options: Options, engine: str = "auto", plan: str = "", earlier: str = ""
    ) -> None:  # fmt: skip
        for pool in ("INTRA", "INTER"):  # before TensorFlow is imported, because workers of a machine share its cores
            os.environ[f"TF_NUM_{pool}OP_THREADS"] = "1"
        self.engine, self.window_hu = open_model(model, None, engine)
        self.out, self.options, self.network = out, options, network_name(model)
        self.plan, self.earlier = plan, earlier  # the latter is of rows of earlier versions, which do not name theirs

    def __call__(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """Segment the files of a chunk that are not done, write its table, and return how many files it has."""
        paths_and_stems = zip(map(unescape, chunk["files"]), map(unescape, chunk["stems"]), strict=True)
        inputs = [InputFile(Path(path), stem) for path, stem in paths_and_stems]
        table = self.out / TABLE / chunk["part"]
        stored = {file: {"plan": self.earlier} | row for file, row in _read_rows(table).items()}
        rows = {str(each.path): without_kept(stored.get(str(each.path), {})) for each in inputs}
        kept = {file: row for file in rows if (row := kept_row(stored.get(file), self.out))}
        of_plan = [row for row in stored.values() if row["plan"] == self.plan]
        done = {(row["file"], row["stem"]) for row in of_plan if is_up_to_date(row, self.out, self.options)}
        done |= {(file, row["stem"]) for file, row in kept.items()}
        to_do = [input_file for input_file in inputs if (str(input_file.path), input_file.stem) not in done]
        rows |= kept
        if again := {str(each.path) for each in to_do} & {*stored}:  # this worker may die after it has replaced masks
            _write_rows([row | UNSURE if file in again else row for file, row in stored.items()], table)
        for row in self._segment(to_do, table.with_name(f".{table.stem}.tries")):
            digest = digest_of_file(self.out / row["mask"]) if row.get("mask") else ""
            rows[row["file"]] = {"review": "", "network": self.network, "plan": self.plan, "written": digest} | row
        complete = [row for row in rows.values() if row]
        if complete != [*stored.values()]:
            _write_rows(complete, table)
        errors = [escape(row["error"]) for row in complete if row.get("error")]
        failed = sum(row["status"] == "failed" for row in complete)
        review = sum(row["review"] != "" for row in complete)
        counts = {"images": len(complete), "failed": failed, "incomplete": len(errors) - failed}
        counts |= {"review": review, "kept": len(kept)}
        return {"part": table.name, "errors": errors} | counts

    def _segment(self, inputs: list[InputFile], tries: Path) -> Iterator[JournalRow]:
        """Segment inputs; give them up if workers died of them several times, because Ray would never stop trying."""
        with writable(tries), tries.open("a", encoding="utf-8") as file:
            file.write(".")
        try:
            if tries.stat().st_size <= TRIES:
                yield from segment_inputs(inputs, self.engine, self.window_hu, self.out, self.options)
            else:
                for path, stem, stamp in inputs:
                    error = f"{path}: {TRIES} workers died of this file, or of one beside it; segment it alone."
                    yield {"file": str(path), "stem": stem, "stamp": stamp, "status": "failed", "error": error}
        finally:  # not reached by a worker that dies
            tries.unlink()


def _read_rows(table: Path) -> dict[str, JournalRow]:
    """Return the rows of a chunk's table by the path of the file; nothing if the chunk is new."""
    from pyarrow import parquet

    rows = parquet.read_table(table).to_pylist() if table.exists() else []
    return {row["file"]: row for row in (_with_text(row, unescape) for row in rows)}


def _write_rows(rows: list[JournalRow], table: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    types = {name: pyarrow.string() for name in _TEXT} | {name: pyarrow.int64() for name in WHOLE_NUMBERS}
    schema = pyarrow.schema([(name, types.get(name, pyarrow.float64())) for name in (*TABLE_COLUMNS, *_HIDDEN)])
    escaped = [_with_text(row, escape) for row in rows]  # because Arrow takes no bytes that are not UTF-8
    with written(table) as temporary:
        parquet.write_table(pyarrow.Table.from_pylist(escaped, schema), temporary)


def _with_text(row: JournalRow, change: Callable[[str], str]) -> JournalRow:
    """Return a row with its texts changed by a function."""
    return {name: change(value) if isinstance(value, str) else value for name, value in row.items()}


def _run(folders: list[dict[str, str]], workers: int | None, **arguments: object) -> Iterator[dict[str, Any]]:
    """Let Ray Data list folders and segment their chunks; yield what `_Worker` returns for each chunk."""
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.target_max_block_size = 1  # so that each chunk is handed out as soon as it is listed
    most = workers or int(ray.cluster_resources()["CPU"])
    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=most, initial_size=workers)  # without workers, Ray decides
    listed = ray.data.from_items(folders)
    chunks = listed.map_batches(_chunks, fn_kwargs={"out": arguments["out"]}, batch_size=1, num_cpus=0)
    yield from chunks.map(_Worker, fn_constructor_kwargs=arguments, compute=pool, num_cpus=1).iter_rows()


def _chunks(batch: dict[str, Any], out: Path) -> Iterator[dict[str, Any]]:
    """Yield the files of a folder and of those below it, or only its named files, a chunk at a time."""
    root, base, names = Path(unescape(batch["folder"][0])), unescape(batch["base"][0]), json.loads(batch["names"][0])
    for folder, files in [(root, [root / name for name in names])] if names else listing.list_folders(root, out):
        within = Path(os.path.relpath(folder, base))
        key = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
        inputs = listing.name_images(files, {})
        for number, start in enumerate(range(0, len(inputs), CHUNK)):
            chunk = inputs[start : start + CHUNK]
            files = [escape(str(input_file.path)) for input_file in chunk]
            stems = [escape(str(within / input_file.stem)) for input_file in chunk]
            yield {"part": [f"{key}-{number:06}.parquet"], "files": [files], "stems": [stems]}


def _folders(paths: str | Path | Iterable[str | Path]) -> list[dict[str, str]]:
    """Return one row per folder to list; `names` (JSON) limits a folder to some files. No folder lies in another."""
    given: set[Path] = set()
    for path in [paths] if isinstance(paths, (str, Path)) else paths:
        if "://" in str(path):
            raise ValueError(f"{path}: not a folder or file that every machine sees; mount the storage, and name that.")
        path = os.path.abspath(listing.as_path(path))
        given.update(map(Path, [path] if os.path.lexists(path) else glob.glob(path, recursive=True) or [path]))
    roots, single = {path for path in given if path.is_dir()}, defaultdict(list)
    for path in sorted(given - roots):
        if not roots & {*path.parents}:
            single[path.parent].append(path.name)
    folders: dict[Path, list[str]] = {root: [] for root in sorted(roots) if not roots & {*root.parents}}
    folders |= single
    base = os.path.commonpath(folders) if folders else ""
    return [
        {"folder": escape(str(folder)), "base": escape(str(base)), "names": json.dumps(names)}
        for folder, names in folders.items()
    ]


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
    options = {"include_dashboard": False, "num_cpus": workers} if address == "local" else {}
    try:
        with environment(NO_WEB if address == "local" else {}):  # the processes that Ray starts inherit it
            ray.init(address, log_to_driver=False, logging_level="ERROR", **options)
    except Exception as error:  # because Ray also raises bare exceptions
        raise RuntimeError(f"{address}: no Ray cluster answers there, or none can be started: {error}") from error
    try:
        yield
    except RayError as error:
        in_traceback = r"^[\w.]*(?:Error|Refused|NotWritten|DiskFull): (.+)"
        sentences = re.findall(in_traceback, str(error), re.MULTILINE)
        raise RuntimeError(sentences[-1] if sentences else f"the cluster gave up: {error}") from error
    finally:
        ray.shutdown()
