"""Download a data set of the catalogue, or make its phantoms: fetch, check and unpack its files."""

import contextlib
import glob
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from lungnb import phantoms
from lungnb.artefacts import holds_data, home, raw_folder, raw_root
from lungnb.datasets.archives import find_fault, unpack
from lungnb.datasets.sources import PHANTOMS, RemoteFile, Source, find_source
from lungnb.datasets.web import STALL_SECONDS, Watch, WrongFile, fetch_web, room_for_download, watched
from lungnb.files import NotWritten, locked, remove, writable, written
from lungnb.messages import run_first

DRIVE_URL = "https://drive.google.com/uc?id={id}"
KAGGLE_URL = "https://www.kaggle.com/api/v1/datasets/download/{id}"  # public data sets need no account there
_MAX_CHARACTERS = 160  # of another program's error within a sentence


class DownloadError(OSError):
    """A data set could not be downloaded. The message says which file to fetch by hand and where to put it."""


def download(dataset: str, progress: bool = True) -> Path:
    """Download a data set, unless it is here already, and return its raw folder.

    Nothing is written in LUNGNB_RAW. The files are fetched, or taken from archives that someone put in the raw folder.
    They are checked and unpacked to data/raw/<dataset>, which appears whole or not at all.

    Raises DownloadError, which says what to fetch by hand and where to put it; ValueError for an unknown name;
    FileNotFoundError for a user's folder without images.
    """
    source, folder = find_source(dataset), raw_folder(dataset).resolve()  # the folder may be a link to another disk
    if holds_data(folder):
        return folder
    if source.kind == "own":
        what = "holds no images" if folder.is_dir() else "is not there"
        raise FileNotFoundError(f"{folder} {what}: put images in its subfolder images/, and their masks in masks/.")
    with locked(folder):
        if not holds_data(folder):  # another run may have done it just now
            _fetch_all(source, folder, progress)
    return folder


def _fetch_all(source: Source, folder: Path, progress: bool) -> None:
    """Fetch or make a data set, and let it appear whole in `folder`."""
    kept = folder.with_name(f".{folder.name}.kept")
    _move_entries(kept, folder)  # left by a killed run
    files = [(file, _at_hand(file, source, folder) or _fetch(file, source, folder, progress)) for file in source.files]
    try:
        with written(folder) as part:
            if not files:
                phantoms.write_phantoms(part, PHANTOMS[source.kind], kind=source.kind, progress=progress)
            for file, path in files:
                _unpack(file, path, part, source, folder, progress)
            _move_entries(folder, kept)  # archives that a person put there must survive
    finally:
        _move_entries(kept, folder)
    remove(_arrivals(folder))


def _move_entries(source: Path, target: Path) -> None:
    """Move the entries of `source` that `target` lacks to `target`; remove `source` if it is empty then."""
    for entry in source.iterdir() if source.is_dir() else ():
        target.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(target / entry.name):
            os.replace(entry, target / entry.name)
    with contextlib.suppress(OSError):
        source.rmdir()


def _unpack(file: RemoteFile, path: Path, part: Path, source: Source, folder: Path, progress: bool) -> None:
    """Unpack an archive into `part`; raise DownloadError if that fails."""
    # An archive of images and one of their masks may contain the same names.
    target = part / Path(file.name).stem if len(source.files) > 1 else part
    try:
        with writable(folder):
            unpack(path, target, source.skip, progress)
    except NotWritten:
        raise
    except Exception as error:  # zipfile and zlib raise many kinds for a damaged archive
        if path.parent == _arrivals(folder) and not isinstance(error, OSError):
            remove(path)  # so that the next run fetches it again
        raise DownloadError(f"{path} was not unpacked: {_reason(error)}. {_by_hand(file, source)}") from error


def _at_hand(file: RemoteFile, source: Source, folder: Path) -> Path | None:
    """Return the checked file in the raw folder or in LUNGNB_RAW, if it is there."""
    for path in (folder / file.name, raw_root() / source.name / file.name):
        if path.exists():
            if fault := find_fault(path, file):
                raise DownloadError(f"{path} {fault}; remove it. {_by_hand(file, source)}")
            return path
    return None


def _fetch(file: RemoteFile, source: Source, folder: Path, progress: bool) -> Path:
    """Fetch a file from the first of its addresses that works, and return its path."""
    target, reasons = _arrivals(folder) / file.name, []
    if target.exists() and not find_fault(target, file):
        return target  # from an earlier run, which failed at another file
    for fetch, address, _ in _ways(file):
        remove(target)
        try:
            with writable(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                fetch(address, target, progress)
            if not (fault := find_fault(target, file)):
                return target
            fault = f"what came {fault}"
        except NotWritten:
            raise  # because no other address helps
        except (Exception, SystemExit) as error:  # each client has its own errors; Kaggle's may try to end the program
            fault = _reason(error)
        remove(target)
        reasons.append(f"{urlsplit(address).hostname or 'the Kaggle client'}: {fault}")
    with contextlib.suppress(OSError):
        target.parent.rmdir()  # unless it holds files for the next run
    why = f"could not be fetched ({'; '.join(reasons)})" if reasons else "has no public address"
    raise DownloadError(f"{file.name}, of the data set {source.name}, {why}. {_by_hand(file, source)}")


def _ways(file: RemoteFile) -> Iterator[tuple[Callable[[str, Path, bool], None], str, str]]:
    """Yield the ways to fetch a file, in order: the function, its address, and the page for a person."""
    for address in file.addresses:
        scheme, _, rest = address.partition(":")
        if scheme == "drive":
            yield _from_drive, DRIVE_URL.format(id=rest), DRIVE_URL.format(id=rest)
        elif scheme == "kaggle":
            page = f"https://www.kaggle.com/{'datasets' if '/' in rest else 'competitions'}/{rest}"
            if "/" in rest:
                yield fetch_web, KAGGLE_URL.format(id=rest), page
            yield _from_kaggle, rest, page
        else:
            yield fetch_web, address, address


def call_gdown(url: str, target: Path, progress: bool, watch: Watch) -> None:
    """Fetch a Google Drive file with gdown. `watch` counts the bytes and can stop the download."""
    import gdown

    def count(arrived: int, total: int | None) -> None:
        watch.count(arrived - watch.arrived)
        if max(arrived, total or 0) > room_for_download(target.parent, arrived):
            raise WrongFile("its bytes are more than there is room for")

    gdown.download(  # without cookies, because it would read and write them in the user's home folder
        url, str(target), quiet=not progress, progress=count, cancel=watch.stop, resume=True,
        timeout=STALL_SECONDS, use_cookies=False,
    )  # fmt: skip


def _from_drive(url: str, target: Path, progress: bool) -> None:
    """Fetch a Google Drive file, and continue an interrupted download if that is possible."""
    import gdown

    parts = f"{glob.escape(target.name)}*.part"  # which gdown leaves from interrupted downloads
    begun = {path: path.stat().st_size for path in target.parent.glob(parts)}
    try:
        watched(partial(call_gdown, url, target, progress))
    except (gdown.exceptions.DownloadError, WrongFile) as error:
        for path in [*target.parent.glob(parts)]:
            # If the published file has changed, the part cannot be continued, but gdown would try again and again.
            is_stuck = type(error) is gdown.exceptions.DownloadError and path.stat().st_size == begun.get(path)
            if is_stuck or isinstance(error, WrongFile):
                remove(path)
        raise


def _from_kaggle(name: str, target: Path, progress: bool) -> None:
    """Fetch a data set (`owner/name`) or a competition with Kaggle's client, which sets the file's name."""
    try:
        from kaggle.api.kaggle_api_extended import KaggleApi  # importing it signs in
    except ImportError as error:
        raise OSError("not installed, run `pip install 'lungnb[kaggle]'`") from error
    except SystemExit as error:
        raise OSError("no Kaggle account is set up on this computer") from error
    api = KaggleApi()
    api.authenticate()
    get = api.dataset_download_files if "/" in name else api.competition_download_files
    get(name, path=str(target.parent), quiet=not progress)


def _by_hand(file: RemoteFile, source: Source) -> str:
    pages = " or ".join(dict.fromkeys(page for _, _, page in _ways(file)))
    # Name the file, because browsers save some of these files as archive.zip.
    fetch = f"Fetch {file.name} by hand from {pages}, save it under this name" if pages else f"Put {file.name}"
    folder = home() / "data" / "raw" / source.name
    return f"{fetch} in the folder {folder}, then {run_first('raw', source.name)} again."


def _reason(error: BaseException) -> str:
    """Return an error as part of a sentence."""
    if "Connection" in type(error).__name__:
        return "no connection"
    text = " ".join(str(error).split())
    text = re.split(r"(?<=\w)\. (?=[A-Z])", text)[0].rstrip(".") or type(error).__name__  # the first sentence
    text = re.sub(r"\[Errno -?\d+\] ", "", text)
    text = "".join(letter for letter in text if letter.isprintable())  # because it may come from a server
    return text if len(text) < _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}..."


def _arrivals(folder: Path) -> Path:
    """Return the hidden folder for downloads beside a raw folder."""
    return folder.with_name(f".{folder.name}.download")
