"""Downloads from a hostile server on this machine end soon, give one sentence, and keep no wrong file."""

import gzip
import http.server
import io
import os
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import suppress
from types import SimpleNamespace

import pytest

from lungnb.artefacts import home
from lungnb.datasets import web
from lungnb.datasets.fetch import DownloadError, download
from lungnb.datasets.sources import CATALOGUE, RemoteFile, Source
from lungnb.datasets.web import fetch_web


def make_zip(size=300_000):
    """A zip archive of random bytes in one member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        zipped.writestr("images/a.png", os.urandom(size))
    return buffer.getvalue()


WHOLE = make_zip()
HALF = len(WHOLE) // 2


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.requests.append(dict(self.headers))
        self.close_connection = True
        with suppress(OSError):  # the client has gone
            self.server.answer(self)

    def say(self, status, body=b"", **headers):
        """Send a status, headers (`_` for `-`) and a body; without a length unless one is given."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def forever(self, block, pause=0.0):
        while True:
            self.wfile.write(block)
            time.sleep(pause)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads, server.requests = True, []
        server.url = f"http://127.0.0.1:{server.server_port}/tiny.zip"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def fetch(server, monkeypatch):
    """Call with what the server answers: download a data set of one archive from it; return its only image."""
    monkeypatch.setattr(web, "STALL_SECONDS", 1)
    monkeypatch.setitem(
        CATALOGUE, "tiny", Source("tiny", "Tiny", "xray", "MIT", "None", files=(RemoteFile("tiny.zip", (server.url,)),))
    )

    def run(answer):
        server.answer = answer
        return (download("tiny", progress=False) / "images" / "a.png").read_bytes()

    return run


def parts():
    """The files that a download has left, except locks."""
    return sorted(path.name for path in home().rglob("*") if path.is_file() and path.suffix != ".lock")


def refused(fetch, answer, says):
    """The download ends soon with one sentence that has `says` in it."""
    begun = time.monotonic()
    with pytest.raises(DownloadError) as error:
        fetch(answer)
    text = str(error.value)
    assert says in text and "tiny.zip" in text and "lungnb download tiny" in text
    assert text.isprintable() and text.count(". ") <= 1 and text.endswith(".")
    assert time.monotonic() - begun < 8


def broken(answer):
    """The connection breaks after the first half of the archive."""
    answer.say(200, WHOLE[:HALF], Content_Length=len(WHOLE), ETag='"one"')


def rest(answer, body=WHOLE, **headers):
    """The rest of the archive, as it was asked for."""
    start = int(answer.headers["Range"].removeprefix("bytes=").rstrip("-"))
    headers = {"Content_Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} | headers
    answer.say(206, body[start:], Content_Length=len(body) - start, **headers)


def drip_headers(answer):
    answer.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    answer.forever(b"x", 0.1)


def drip_chunk(answer):
    answer.say(200, b"1;", Transfer_Encoding="chunked")
    answer.forever(b"x", 0.1)


def drip_body(answer):
    answer.say(200, WHOLE[:10])
    answer.forever(b"x", 0.1)


def endless_redirect(answer):
    answer.say(302, Location="/other")
    answer.forever(bytes(2**20))


def endless_body(answer):
    answer.say(200, WHOLE)
    answer.forever(bytes(2**20))


def endless_chunks(answer):
    answer.say(200, Transfer_Encoding="chunked")
    answer.forever(b"100000\r\n" + bytes(2**20) + b"\r\n")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda a: a.say(302, Location="file:///etc/passwd"), "no web address"),
        (lambda a: a.say(301, Location="FTP://127.0.0.1/x"), "no web address"),
        (lambda a: a.say(307, Location="data:text/plain,x"), "no web address"),
        (lambda a: a.say(308, Location="gopher:x"), "no web address"),
        (lambda a: a.say(302, Location="http://[x"), "127.0.0.1: "),
        (lambda a: a.say(302, Location="/tiny.zip"), "redirects more than"),
        (endless_redirect, "redirects more than"),
        (lambda a: a.say(302), "302"),
        (endless_body, "sends more than"),
        (endless_chunks, "sends more than"),
        (lambda a: a.say(200, Content_Length=10**18), "more than there is room for"),
        (lambda a: a.say(200, Content_Length="9" * 30), "more than there is room for"),
        (lambda a: a.say(200, WHOLE, Content_Length=HALF), "not a whole zip"),
        (lambda a: a.say(200, WHOLE, Content_Length=-1, ETag='"one"'), None),
        (lambda a: a.say(200, WHOLE, Content_Encoding="Identity"), None),
        (lambda a: a.say(200, WHOLE[:HALF]), "not a whole zip"),
        (lambda a: a.say(200, WHOLE[:HALF] + WHOLE[HALF:-40], Content_Length=len(WHOLE) - 40), "not a whole zip"),
        (lambda a: a.say(200, b"5\r\nabc", Transfer_Encoding="chunked"), "broke"),
        (lambda a: a.say(200, b"zz\r\nabc", Transfer_Encoding="chunked"), "broke"),
        (lambda a: a.say(200, b"<html>Sign in", Content_Length=13), "web page"),
        (lambda a: a.say(200, gzip.compress(WHOLE)[:-50], Content_Encoding="gzip"), "gzip"),
        (lambda a: a.say(200, gzip.compress(WHOLE)[:-50]), "not a whole zip"),
        (lambda a: a.say(206, WHOLE, Content_Range=f"bytes 0-{len(WHOLE) - 1}/{len(WHOLE)}"), "206"),
        (lambda a: a.say(416), "416"),
        (lambda a: a.say(403, b"no"), "403 Forbidden"),
        (lambda a: a.say(404), "404 Not Found"),
        (lambda a: a.say(500), "500"),
        (lambda a: a.say(503), "503"),
        (lambda a: a.wfile.write(b"HTTP/1.1 404 \x1b[31m red. Now\r\n\r\n"), "404"),
        (lambda a: a.wfile.write(b"\x1b]0;title\r\n\r\n"), "not valid HTTP"),
        (lambda a: a.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n"), "not valid HTTP"),
        (lambda a: a.wfile.write(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 10**6), "127.0.0.1: "),
        (lambda a: None, "127.0.0.1: "),
        (lambda a: time.sleep(5), "127.0.0.1: "),
        (drip_headers, "bytes in 1 seconds"),
        (drip_chunk, "bytes in 1 seconds"),
        (drip_body, "bytes in 1 seconds"),
    ],
)  # fmt: skip
def test_hostile_answer_gives_a_sentence_and_nothing_is_kept(fetch, monkeypatch, answer, says):
    monkeypatch.setattr(web, "MAX_DOWNLOAD", 8 * 2**20)
    if says is None:  # a length that is none is ignored, and so is the encoding that is none
        assert len(fetch(answer)) == 300_000
    else:
        refused(fetch, answer, says)
        assert parts() == []


def let_free(monkeypatch, size):
    usage = web.shutil.disk_usage(home())
    monkeypatch.setattr(web.shutil, "disk_usage", lambda _: usage._replace(free=size))


def test_limits_of_the_disk_count(fetch, monkeypatch):
    let_free(monkeypatch, 2 * len(WHOLE) - 2)
    refused(fetch, lambda a: a.say(200, WHOLE, Content_Length=len(WHOLE)), "more than there is room for")
    assert parts() == []
    let_free(monkeypatch, 2 * len(WHOLE))
    assert len(fetch(lambda a: a.say(200, WHOLE, Content_Length=len(WHOLE)))) == 300_000


@pytest.mark.parametrize("hops", [10, 11])
def test_ten_redirects_are_followed_but_no_more(server, fetch, hops):
    def answer(a):
        made = len(a.path) - len("/tiny.zip")
        if made < hops:
            a.say((301, 302, 303, 307, 308)[made % 5], Location=f"{a.path}x")
        else:
            a.say(200, WHOLE)

    if hops == 10:
        assert len(fetch(answer)) == 300_000
    else:
        refused(fetch, answer, "redirects more than 10 times")
    assert len(server.requests) == 11


def test_no_redirect_leads_from_https_to_http(monkeypatch, tmp_path):
    answer = SimpleNamespace(status=302, headers={"Location": "http://x.invalid/a.zip"}, close=lambda: None)
    monkeypatch.setattr(web.OpenerDirector, "open", lambda *_, **__: answer)
    with pytest.raises(OSError, match=r"leads to 'http://x\.invalid/a\.zip', which is no https address"):
        fetch_web("https://x.invalid/a.zip", tmp_path / "a.zip", progress=False)


def test_letters_of_a_redirect_are_sent_back_as_they_came(fetch):
    def answer(a):
        if a.path == "/tiny.zip":
            a.say(302, Location="/\xfc ber.zip")
        else:
            a.say(200 if a.path == "/%FC%20ber.zip" else 404, WHOLE)

    assert len(fetch(answer)) == 300_000


def test_a_proxy_is_used(server, tmp_path, monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", server.url.removesuffix("/tiny.zip"))
    server.answer = lambda a: a.say(200 if a.path == "http://elsewhere.invalid/a.zip" else 404, WHOLE)
    fetch_web("http://elsewhere.invalid/a.zip", tmp_path / "a.zip", progress=False)
    assert (tmp_path / "a.zip").read_bytes() == WHOLE


def test_https_is_never_answered_by_a_server_without_a_certificate(server, tmp_path):
    server.answer = lambda a: a.say(200, WHOLE)
    with pytest.raises(OSError, match="no connection"):
        fetch_web(server.url.replace("http:", "https:"), tmp_path / "a.zip", progress=False)
    assert server.requests == [] and not (tmp_path / "a.zip").exists()


def test_a_fast_start_does_not_excuse_a_stall(server, tmp_path, monkeypatch):
    monkeypatch.setattr(web, "STALL_SECONDS", 0.3)

    def answer(a):
        a.say(200, bytes(2 * web.STALL_BYTES))
        a.forever(b"x", 0.05)

    server.answer = answer
    with pytest.raises(OSError, match=r"bytes in 0\.3 seconds"):
        fetch_web(server.url, tmp_path / "x.zip", progress=False)


def test_slow_but_steady_is_not_stalled(fetch, monkeypatch):
    monkeypatch.setattr(web, "STALL_BYTES", 50_000)

    def answer(a):
        a.say(200, Content_Length=len(WHOLE))
        for start in range(0, len(WHOLE), 10_000):
            a.wfile.write(WHOLE[start : start + 10_000])
            time.sleep(0.08)

    assert len(fetch(answer)) == 300_000


# ---- continuing a broken download -----------------------------------------------------------------------------------


def continued(server, fetch, answer=rest):
    """Break a download, continue it with `answer`, and return the headers of the second request."""
    refused(fetch, broken, f"after {HALF:,} of {len(WHOLE):,} bytes")
    assert parts() == ["tiny.zip.part", "tiny.zip.part.json"]
    del server.requests[:]
    assert fetch(answer) in WHOLE
    return server.requests[0]


def test_broken_download_continues(server, fetch):
    asked = continued(server, fetch)
    assert asked["Range"] == f"bytes={HALF - web.OVERLAP}-" and asked["If-Range"] == '"one"'
    assert asked["Accept-Encoding"] == "identity" and not {"Cookie", "Authorization"} & set(asked)
    assert len(server.requests) == 1 and parts() == ["a.png"]


def test_a_server_without_ranges_or_with_a_new_file_begins_anew(server, fetch):
    """With If-Range, a server sends the whole file when it has changed."""
    new = make_zip(1000)
    refused(fetch, broken, "broke")
    assert fetch(lambda a: a.say(200, new, Content_Length=len(new), ETag='"two"')) in new


def test_the_part_and_the_version_of_an_earlier_answer_are_kept_as_they_belong(server, fetch, monkeypatch):
    """The part does not need disk space again; an answer without a version keeps the version of the first answer."""
    refused(fetch, broken, "broke")
    let_free(monkeypatch, 2 * len(WHOLE) - HALF)

    def break_again(a):
        start = int(a.headers["Range"].removeprefix("bytes=").rstrip("-"))
        size = len(WHOLE) - start
        a.say(206, WHOLE[start:-1], Content_Range=f"bytes {start}-{len(WHOLE) - 1}/{len(WHOLE)}", Content_Length=size)

    refused(fetch, break_again, f"after {len(WHOLE) - 1:,} of {len(WHOLE):,} bytes")
    let_free(monkeypatch, len(WHOLE) + 1)
    assert len(fetch(rest)) == 300_000 and server.requests[-1]["If-Range"] == '"one"'


def test_a_part_of_unknown_length_is_not_taken_for_the_earlier_one(fetch):
    refused(fetch, broken, "broke")
    refused(fetch, lambda a: a.say(200, b"5\r\nabc", Transfer_Encoding="chunked"), "broke")
    assert parts() == []


def test_a_file_that_became_shorter_begins_anew(server, fetch):
    new = make_zip(1000)
    refused(fetch, broken, "broke")
    fetch(lambda a: a.say(416) if a.headers["Range"] else a.say(200, new, Content_Length=len(new)))
    assert ["Range" in asked for asked in server.requests] == [False, True, False]


@pytest.mark.parametrize("headers", [{"Last_Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}, {"ETag": 'W/"weak"'}, {}])
def test_servers_without_a_strong_etag_continue_too(server, fetch, headers):
    refused(fetch, lambda a: a.say(200, WHOLE[:HALF], Content_Length=len(WHOLE), **headers), "broke")
    assert len(fetch(rest)) == 300_000
    assert server.requests[1].get("If-Range") == headers.get("Last_Modified")


OTHER = WHOLE[: HALF - 1] + bytes([WHOLE[HALF - 1] ^ 1]) + WHOLE[HALF:]  # in the last byte that arrived before


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda a: rest(a, Content_Range=f"bytes {HALF}-{len(WHOLE) - 1}/{len(WHOLE)}"), "another part"),
        (lambda a: rest(a, Content_Range=f"bytes 0-{len(WHOLE) - 1}/{len(WHOLE)}"), "another part"),
        (lambda a: rest(a, Content_Range="bytes */*"), "another part"),
        (lambda a: rest(a, WHOLE + b"more"), "another part"),
        (lambda a: a.say(206, WHOLE), "another part"),
        (lambda a: rest(a, ETag='"two"'), "another file"),
        (lambda a: rest(a, OTHER), "no longer the one"),
        (lambda a: rest(a, Content_Encoding="gzip"), "gzip"),
    ],
    ids=["start", "whole", "stars", "total", "no range", "tag", "bytes", "gzip"],
)  # fmt: skip
def test_what_does_not_continue_the_file_is_removed(fetch, answer, says):
    refused(fetch, broken, "broke")
    refused(fetch, answer, says)
    assert parts() == []


def test_more_bytes_than_the_range_are_refused(fetch):
    def longer(answer):
        start = int(answer.headers["Range"].removeprefix("bytes=").rstrip("-"))
        answer.say(206, WHOLE[start:] + b"x", Content_Range=f"bytes {start}-{len(WHOLE) - 1}/{len(WHOLE)}")

    refused(fetch, broken, "broke")
    refused(fetch, longer, "sends more than")
    assert parts() == []


@pytest.mark.parametrize("answer", [lambda a: a.say(503), lambda a: time.sleep(5), lambda a: None])
def test_an_honest_part_outlives_a_server_that_is_down(server, fetch, answer):
    refused(fetch, broken, "broke")
    refused(fetch, answer, "127.0.0.1: ")
    assert len(fetch(rest)) == 300_000 and "Range" in server.requests[-1]


def test_a_part_of_another_address_or_unknown_origin_is_not_continued(server, fetch, monkeypatch):
    refused(fetch, broken, "broke")
    (note,) = home().rglob("*.part.json")
    whole_note = note.read_text()
    for content in (
        whole_note.replace(server.url, "http://other"),
        whole_note.replace(str(len(WHOLE)), "5"),
        whole_note.replace("validator", "other"),
        whole_note.replace("total", "other"),
        "no JSON",
        "[]",
    ):
        note.write_text(content)
        refused(fetch, broken, "broke")
        assert "Range" not in server.requests[-1]


def test_a_download_that_is_interrupted_writes_nothing_any_more(server, tmp_path):
    """After Ctrl-C in a notebook, the kernel stays alive, so the thread must stop by itself."""
    server.answer = lambda a: (a.say(200, WHOLE[:HALF], Content_Length=len(WHOLE)), time.sleep(1), a.wfile.write(WHOLE))

    def interrupt(*_, **__):
        time.sleep(0.5)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(web, "wait", interrupt)
        fetch_web(server.url, tmp_path / "x.zip", progress=False)
    time.sleep(1.5)
    assert (tmp_path / "x.zip.part").stat().st_size == HALF and not (tmp_path / "x.zip").exists()


def test_progress_is_printed(server, tmp_path, capsys):
    server.answer = lambda a: a.say(200, WHOLE, Content_Length=len(WHOLE))
    fetch_web(server.url, tmp_path / "x.zip")
    assert "x.zip: 100%" in capsys.readouterr().out and (tmp_path / "x.zip").read_bytes() == WHOLE


# ---- Google Drive ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("answer", "says"), [(drip_body, "bytes in 1 seconds"), (endless_body, "room")])
def test_gdown_is_stopped_too(server, fetch, monkeypatch, answer, says):
    monkeypatch.setattr(web, "MAX_DOWNLOAD", 8 * 2**20)
    monkeypatch.setattr("lungnb.datasets.fetch.DRIVE_URL", server.url + "?id={id}")
    source = Source("tiny", "Tiny", "xray", "MIT", "None", files=(RemoteFile("tiny.zip", ("drive:abc",)),))
    monkeypatch.setitem(CATALOGUE, "tiny", source)
    refused(fetch, answer, says)
    assert not [path for path in home().rglob("*.part") if path.stat().st_size]


# ---- TensorFlow -----------------------------------------------------------------------------------------------------


def test_downloads_start_neither_tensorflow_nor_keras(server):
    server.answer = lambda a: a.say(200, WHOLE, Content_Length=len(WHOLE))
    code = f"""if True:
        import sys
        from lungnb.datasets.fetch import download
        from lungnb.datasets.sources import CATALOGUE, RemoteFile, Source
        file = RemoteFile("tiny.zip", ({server.url!r},))
        CATALOGUE["tiny"] = Source("tiny", "Tiny", "xray", "MIT", "None", files=(file,))
        assert (download("tiny") / "images" / "a.png").is_file()
        sys.exit("tensorflow" in sys.modules or "keras" in sys.modules)"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
