"""Fetch a file over HTTP: continue a broken download, and refuse files that are endless, too slow or wrong."""

import json
import os
import re
import shutil
import string
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from email.message import Message
from http.client import OK, PARTIAL_CONTENT, REQUESTED_RANGE_NOT_SATISFIABLE, HTTPException, HTTPResponse, responses
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request, getproxies

from tqdm import tqdm

from lungnb.files import remove, write_json

STALL_SECONDS, STALL_BYTES = 60, 512 * 2**10  # stop a download that brings fewer bytes in this time
MAX_DOWNLOAD = 8 * 2**30  # bytes; the largest file in the catalogue has about 4 GB
OVERLAP = 64 * 2**10  # bytes to fetch again when a download continues, to check that the file is the same
BLOCK = 2**20  # bytes to read at once
SCHEMES, REDIRECTS, MAX_REDIRECTS = ("http", "https"), (301, 302, 303, 307, 308), 10


class WrongFile(OSError):
    """The server sends another file, so that no part of it is kept."""


class Watch:
    """Connect a client that fetches in a thread with the caller that watches its progress."""

    def __init__(self) -> None:
        self.arrived = 0  # bytes
        self.stop = threading.Event()

    def count(self, size: int) -> None:
        """Count `size` bytes as arrived; raise OSError if the caller has stopped waiting."""
        if self.stop.is_set():
            raise OSError("the download was stopped")
        self.arrived += size


def watched(fetch: Callable[[Watch], None]) -> None:
    """Call `fetch` in a thread and wait for it.

    Raises what `fetch` raises; OSError if fewer than STALL_BYTES arrive within STALL_SECONDS. The socket's timeout is
    not enough, because a server can send one byte now and then.
    """
    watch, done = Watch(), Future[None]()

    def work() -> None:
        try:
            fetch(watch)
            done.set_result(None)
        except BaseException as error:
            done.set_exception(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        since, arrived = time.monotonic(), 0
        while not wait([done], timeout=0.2).done:
            if time.monotonic() - since > STALL_SECONDS:
                if watch.arrived - arrived < STALL_BYTES:
                    raise OSError(f"it sent fewer than {STALL_BYTES:,} bytes in {STALL_SECONDS} seconds")
                since, arrived = time.monotonic(), watch.arrived
        done.result()
    finally:
        watch.stop.set()
        thread.join(1)  # it may wait longer for the server, but no longer writes


def fetch_web(url: str, target: Path, progress: bool = True) -> None:
    """Fetch a URL to `target`, and continue where an earlier call left `<target>.part` and a note about its origin.

    Raises OSError if the server cannot be reached, is too slow or breaks off; the part then stays for the next call.
    Raises WrongFile if the server sends another file than it announced or began; the part is then removed.
    """
    part, note = (target.with_name(target.name + suffix) for suffix in (".part", ".part.json"))
    try:
        watched(lambda watch: _receive(url, part, note, progress, watch))
    except BaseException as error:
        if isinstance(error, WrongFile) or not note.exists():
            with suppress(OSError):  # on Windows, if the thread still has the file open
                remove(part)
                remove(note)
        raise
    os.replace(part, target)
    remove(note)


def room_for_download(folder: Path, arrived: int = 0) -> int:
    """Return the largest size, in bytes, that a download into `folder` may have; `arrived` bytes are there already."""
    # Half of the free disk, because the other half is for the unpacked files.
    return min(MAX_DOWNLOAD, (shutil.disk_usage(folder).free + arrived) // 2)


def _receive(url: str, part: Path, note: Path, progress: bool, watch: Watch) -> None:
    """Write the body of a URL to `part`; append to the bytes that are there if they are of the same file."""
    begun = _read_note(url, part, note)
    size = part.stat().st_size if begun else 0
    start = max(size - OVERLAP, size // 2)
    headers = {"Range": f"bytes={start}-"} if start else {}
    if start and begun["validator"]:
        headers["If-Range"] = begun["validator"]  # the server sends the whole file if it has changed
    with _open(url, headers) as response:
        watch.count(0)
        if start and response.status == PARTIAL_CONTENT:
            _check_range(response.headers, start, begun)
            total = begun["total"]
        elif start and response.status == REQUESTED_RANGE_NOT_SATISFIABLE:  # the file is shorter now
            remove(part)
            _receive(url, part, note, progress, watch)
            return
        elif response.status == OK:
            start, size, total = 0, 0, response.length
            remove(part)
            remove(note)
        else:
            raise OSError(f"the server answers {response.status} {responses.get(response.status, '')}".rstrip())
        if (encoding := response.headers.get("Content-Encoding", "identity").lower()) != "identity":
            raise WrongFile(f"the server sends the file in the encoding {encoding!r}, which was not asked for")
        room = room_for_download(part.parent, size)
        if total is not None and total > room:
            raise OSError(f"its {total / 1e9:,.2f} GB are more than there is room for ({room / 1e9:,.2f} GB)")
        if total and not size:
            write_json(note, {"url": url, "validator": _validator(response.headers), "total": total})
        _append(response, part, start, total, room, progress, watch)


def _append(
    response: HTTPResponse, part: Path, start: int, total: int | None, room: int, progress: bool, watch: Watch
) -> None:
    """Append a body, whose first byte is byte `start` of the file, to a part; compare the bytes that both have."""
    with part.open("a+b") as file:
        file.seek(start)
        known = file.read()  # the server sends these bytes again
        size, limit = file.tell(), room if total is None else total
        with tqdm(
            desc=part.stem, total=total, initial=size, unit="B", unit_scale=True, file=sys.stdout, disable=not progress
        ) as bar:
            while block := _read(response, size):
                watch.count(len(block))
                if not block.startswith(known[: len(block)]):
                    raise WrongFile("the file on the server is no longer the one whose download began")
                block, known = block[len(known) :], known[len(block) :]
                size += len(block)
                if size > limit:
                    raise WrongFile(f"it sends more than {limit:,} bytes")
                file.write(block)
                bar.update(len(block))
    if total is not None and size < total:
        raise OSError(f"the connection broke after {size:,} of {total:,} bytes; run the command again to continue")


def _read(response: HTTPResponse, size: int) -> bytes:
    """Return the next bytes of a body as soon as they arrive; b"" at its end."""
    try:
        return response.read1(BLOCK)
    except (OSError, HTTPException) as error:
        raise OSError(f"the connection broke after {size:,} bytes") from error


def _open(url: str, headers: dict[str, str]) -> HTTPResponse:
    """Open a URL and follow its redirects; return the last response, whatever its status.

    They may lead to HTTP and HTTPS, and from HTTPS to HTTPS only.
    """
    opener = OpenerDirector()  # the usual opener also opens files and FTP, and reads endless bodies of redirects
    proxies = {scheme: proxy for scheme, proxy in getproxies().items() if scheme in SCHEMES}
    for handler in (ProxyHandler(proxies), HTTPHandler(), HTTPSHandler()):
        opener.add_handler(handler)
    schemes: tuple[str, ...] = SCHEMES
    for _ in range(MAX_REDIRECTS + 1):
        if urlsplit(url).scheme not in schemes:
            kind = "web" if schemes == SCHEMES else "https"
            raise OSError(f"it leads to {url[:80]!r}, which is no {kind} address")
        schemes = SCHEMES if urlsplit(url).scheme == "http" else ("https",)  # nobody on the way may change the file
        try:
            response: HTTPResponse = opener.open(Request(url, headers=headers), timeout=STALL_SECONDS)
        except OSError as error:
            raise OSError(f"no connection: {getattr(error, 'reason', error)}") from error
        except HTTPException as error:
            raise OSError("its answer is not valid HTTP") from error
        location = response.headers.get("Location")
        if response.status not in REDIRECTS or not location:
            return response
        response.close()
        url = urljoin(url, quote(location, encoding="iso-8859-1", safe=string.punctuation))
    raise OSError(f"it redirects more than {MAX_REDIRECTS} times")


def _read_note(url: str, part: Path, note: Path) -> dict[str, Any]:
    """Return the note about the file that `part` is the beginning of; an empty one if it cannot be continued."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        begun: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
        if begun["url"] == url and "validator" in begun and part.stat().st_size <= begun["total"]:
            return begun
    return {}


def _validator(headers: Message) -> str | None:
    """Return what identifies the version of a file: a strong ETag or a time; None if the server sends neither."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified")


def _check_range(headers: Message, start: int, begun: dict[str, Any]) -> None:
    """Raise WrongFile if a response is not the rest, from `start` on, of the file that was begun."""
    match = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})", headers.get("Content-Range", ""))
    if not match or (int(match[1]), int(match[2])) != (start, begun["total"]):
        raise WrongFile("the server sends another part of the file than it was asked for")
    if _validator(headers) not in (None, begun["validator"]):
        raise WrongFile("the server has another file now than when the download began")
