"""Downloads, against a server on this machine; no test here reaches the network."""

import errno
import hashlib
import io
import stat
import sys
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from helpers.paths import REAL
from lungnb.artefacts import raw_folder
from lungnb.datasets import archives, fetch, web
from lungnb.datasets.fetch import DownloadError, download
from lungnb.datasets.sources import CATALOGUE, PHANTOMS, RemoteFile, Source
from lungnb.datasets.web import STALL_SECONDS, Watch, WrongFile
from lungnb.files import NotWritten, remove

HTML = b"<!DOCTYPE html><html><title>Google Drive - Quota exceeded</title></html>"


class Server(ThreadingHTTPServer):
    """Serves `files` by path, with byte ranges; counts its requests; breaks off after `cut` bytes, once."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.hits, self.ranges, self.cut, self.honour_ranges = {}, [], [], None, True

    def url(self, path):
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.hits.append(self.path)
        content = server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        start = 0
        if self.headers.get("Range") and server.honour_ranges:
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            server.ranges.append(start)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cut, server.cut = server.cut, None
        self.wfile.write(content[start:][:cut])
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def raw(tmp_path, monkeypatch):
    """An empty project; returns its data/raw."""
    monkeypatch.setenv("LUNGNB_HOME", str(tmp_path))
    monkeypatch.delenv("LUNGNB_RAW", raising=False)
    return tmp_path / "data" / "raw"


@pytest.fixture
def add(monkeypatch):
    """Adds a data set named `tiny` to the catalogue."""

    def add_source(*files, **fields):
        source = Source("tiny", "Tiny", "xray", "MIT", "None", files=files, **fields)
        monkeypatch.setitem(CATALOGUE, "tiny", source)
        return source

    return add_source


def make_zip(members=None, **kwargs):
    """A zip archive, as bytes, of names (or ZipInfos) and contents."""
    members = members or {"set/images/a.png": b"image" * 400, "set/masks/a.png": b"mask" * 400}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **kwargs) as zipped:
        for name, content in members.items():
            zipped.writestr(name, content)
    return buffer.getvalue()


BIG = make_zip({"set/images/a.png": bytes(2_000_000)})  # more than gdown holds in memory before it writes


def tree(folder):
    """Return everything under a folder, hidden or not, with sizes and times."""
    return sorted((str(path.relative_to(folder)), path.stat().st_mtime_ns) for path in folder.rglob("*"))


def entries(folder):
    """Return the names in a folder, except those of locks."""
    found = folder.iterdir() if folder.exists() else ()
    return sorted(path.name for path in found if path.suffix != ".lock")


def assert_sentences(error, *parts):
    """The message has all the parts, is one or two sentences on one line, and no traceback."""
    text = str(error.value)
    for part in parts:
        assert str(part) in text
    assert "\n" not in text and "Traceback" not in text and text.count(". ") <= 1 and text.endswith(".")


def test_phantom_is_made_once(monkeypatch):
    monkeypatch.setitem(PHANTOMS, "xray", 12)
    folder = download("phantom", progress=False)
    images, masks = (sorted((folder / kind).glob("*.bmp")) for kind in ("images", "masks"))
    assert len(images) == 12 and [path.name for path in images] == [path.name for path in masks]
    before = tree(folder)
    assert download("phantom", progress=False) == folder and tree(folder) == before


def test_web_download_is_unpacked_once(server, add, raw, capsys):
    server.files["/tiny.zip"] = content = make_zip()
    add(RemoteFile("tiny.zip", (server.url("/tiny.zip"),), hashlib.sha256(content).hexdigest()))
    folder = download("tiny", progress=False)
    assert folder == raw / "tiny" == raw_folder("tiny")
    assert (folder / "set/images/a.png").read_bytes() == b"image" * 400
    assert capsys.readouterr().out == ""
    assert download("tiny", progress=False) == folder
    assert server.hits == ["/tiny.zip"]
    assert entries(raw) == ["tiny"]  # no archive, no partial download left


def test_drive_download(server, add, monkeypatch):
    monkeypatch.setattr(fetch, "DRIVE_URL", server.url("/uc?id={id}"))
    server.files["/uc?id=abc"] = make_zip()
    add(RemoteFile("tiny.zip", ("drive:abc",)))
    folder = download("tiny", progress=False)
    assert (folder / "set/masks/a.png").is_file()
    download("tiny", progress=False)
    assert server.hits == ["/uc?id=abc"]


def test_interrupted_drive_download_resumes(server, add, raw, monkeypatch):
    monkeypatch.setattr(fetch, "DRIVE_URL", server.url("/{id}"))
    server.files["/abc"], server.cut = BIG, 1_200_000
    add(RemoteFile("tiny.zip", ("drive:abc",)))
    with pytest.raises(DownloadError) as error:
        download("tiny", progress=False)
    assert_sentences(error, "tiny.zip", server.url("/abc"), raw / "tiny")
    assert entries(raw) == [".tiny.download"]
    assert (download("tiny", progress=False) / "set/images/a.png").is_file()
    assert server.ranges and 0 < server.ranges[0] <= 1_200_000


def test_a_partial_download_that_cannot_go_on_is_begun_anew(server, add, raw, monkeypatch):
    monkeypatch.setattr(fetch, "DRIVE_URL", server.url("/{id}"))
    server.files["/abc"], server.cut, server.honour_ranges = BIG, 1_200_000, False
    add(RemoteFile("tiny.zip", ("drive:abc",)))
    for _ in range(2):
        with pytest.raises(DownloadError):
            download("tiny", progress=False)
    assert (download("tiny", progress=False) / "set/images/a.png").is_file()


def test_next_address_is_tried(server, add, monkeypatch):
    monkeypatch.setattr(fetch, "DRIVE_URL", server.url("/drive/{id}"))
    monkeypatch.setattr(fetch, "KAGGLE_URL", server.url("/kaggle/{id}"))
    server.files |= {"/drive/abc": HTML, "/kaggle/owner/tiny": make_zip()}
    add(RemoteFile("tiny.zip", ("drive:abc", "kaggle:owner/tiny")))
    assert (download("tiny", progress=False) / "set/images/a.png").is_file()
    assert server.hits == ["/drive/abc", "/kaggle/owner/tiny"]


@pytest.fixture
def kaggle(tmp_path, monkeypatch):
    """Call with the code of a client of Kaggle, which is then imported in the place of the real one."""

    def modules():
        return [name for name in sys.modules if name.partition(".")[0] == "kaggle"]

    def install(at_import, api=""):
        package = tmp_path / "packages" / "kaggle"
        (package / "api").mkdir(parents=True)
        (package / "__init__.py").write_text(at_import)
        (package / "api" / "kaggle_api_extended.py").write_text(api)
        monkeypatch.syspath_prepend(tmp_path / "packages")

    before = {name: sys.modules.pop(name) for name in modules()}
    yield install
    for name in modules():
        del sys.modules[name]
    sys.modules.update(before)


@pytest.mark.parametrize(
    ("at_import", "api", "says"),
    [
        ("raise SystemExit(1)", "", "no Kaggle account is set up"),
        ("raise ImportError", "", "run `pip install 'lungnb[kaggle]'`"),
        ("", "class KaggleApi:\n    def authenticate(self):\n        raise SystemExit('No account.')", "No account"),
    ],
    ids=["no account", "not installed", "leaves Python"],
)
def test_a_kaggle_client_that_fails_is_explained(add, raw, kaggle, at_import, api, says):
    kaggle(at_import, api)
    add(RemoteFile("challenge.zip", ("kaggle:challenge",)))
    with pytest.raises(DownloadError) as error:
        download("tiny", progress=False)
    assert_sentences(error, says, "https://www.kaggle.com/competitions/challenge", raw / "tiny")


KAGGLE = """
import pathlib
class KaggleApi:
    def authenticate(self):
        self.signed_in = True
    def competition_download_files(self, name, path, quiet):
        assert self.signed_in and quiet
        pathlib.Path(path, f"{name}.zip").write_bytes(CONTENT)
"""


def test_a_competition_comes_from_kaggle_s_client(add, kaggle):
    kaggle("", f"CONTENT = {make_zip({'a.png': b'a'})!r}{KAGGLE}")
    add(RemoteFile("challenge.zip", ("kaggle:challenge",)))
    assert entries(download("tiny", progress=False)) == ["a.png"]


def test_gdown_gets_no_cookies_and_can_be_stopped(tmp_path, monkeypatch):
    asked, watch = {}, Watch()
    monkeypatch.setattr("gdown.download", lambda *_, **settings: asked.update(settings))
    monkeypatch.setattr(web, "MAX_DOWNLOAD", 100)
    fetch.call_gdown("https://drive.google.com/uc?id=abc", tmp_path / "a.zip", False, watch)
    assert asked["use_cookies"] is False and asked["cancel"] is watch.stop and asked["timeout"] == STALL_SECONDS
    asked["progress"](10, None)
    asked["progress"](100, 100)
    assert watch.arrived == 100
    for arrived, total in ((101, None), (100, 101)):
        with pytest.raises(WrongFile, match="more than there is room for"):
            asked["progress"](arrived, total)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionResetError("[Errno 104] reset"), "no connection"),
        (FileNotFoundError(2, "No such file"), "No such file"),
        (ValueError(" It is\n damaged.  Try again."), "It is damaged"),
        (ValueError("damaged."), "damaged"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (ValueError("\x1b[31mred"), "[31mred"),
        (ValueError("x" * 161), "x" * 160 + "..."),
    ],
)
def test_the_reason_is_a_part_of_a_sentence(error, reason):
    assert fetch._reason(error) == reason


def test_a_wrong_file_of_an_earlier_run_is_fetched_anew(server, add, raw, monkeypatch):
    monkeypatch.setattr(fetch, "DRIVE_URL", server.url("/{id}"))
    server.files["/abc"] = make_zip()
    add(RemoteFile("tiny.zip", ("drive:abc",)))
    (raw / ".tiny.download").mkdir(parents=True)
    (raw / ".tiny.download" / "tiny.zip").write_bytes(HTML)
    assert (download("tiny", progress=False) / "set/images/a.png").is_file()


def test_what_another_run_has_just_downloaded_is_not_fetched_again(server, add, raw, monkeypatch):
    @contextmanager
    def waiting(folder):
        (folder / "set").mkdir(parents=True)  # by the other run, which held the lock
        yield

    monkeypatch.setattr(fetch, "locked", waiting)
    add(RemoteFile("tiny.zip", (server.url("/tiny.zip"),)))
    assert entries(download("tiny", progress=False)) == ["set"] and server.hits == []


@pytest.mark.parametrize("error", [OSError("too small a disk"), OSError(errno.ENOSPC, "no space")])
def test_a_disk_without_room_keeps_what_was_fetched(server, add, monkeypatch, error):
    """The error does not blame the archive, and no other address is tried."""
    server.files["/tiny.zip"] = make_zip()
    add(RemoteFile("tiny.zip", (server.url("/tiny.zip"), server.url("/other.zip"))))

    def fail(*_):
        raise error

    is_full = error.errno == errno.ENOSPC
    with monkeypatch.context() as patch, pytest.raises(NotWritten if is_full else DownloadError, match="disk"):
        patch.setattr(fetch, "unpack", fail)
        download("tiny", progress=False)
    assert (download("tiny", progress=False) / "set/images/a.png").is_file() and server.hits == ["/tiny.zip"]


def test_a_full_disk_ends_a_download(server, add, monkeypatch):
    def fail(url, target, progress):
        server.hits.append(url)
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(fetch, "fetch_web", fail)
    add(RemoteFile("tiny.zip", ("http://127.0.0.1/a", "http://127.0.0.1/b")))
    with pytest.raises(NotWritten, match=r"tiny\.zip: cannot be written: the disk is full"):
        download("tiny", progress=False)
    assert server.hits == ["http://127.0.0.1/a"]  # no other address helps


def test_web_page_in_place_of_the_archive_is_named(server, add, raw, monkeypatch):
    monkeypatch.setattr(fetch, "DRIVE_URL", server.url("/{id}"))
    server.files["/abc"] = HTML
    add(RemoteFile("tiny.zip", ("drive:abc",)))
    with pytest.raises(DownloadError) as error:
        download("tiny", progress=False)
    assert_sentences(error, "web page", "quota", "tiny.zip", raw / "tiny", "lungnb download tiny")
    assert entries(raw) == []


@pytest.mark.parametrize(
    ("content", "sha256", "says"),
    [(make_zip(), "0" * 64, "checksum"), (make_zip()[:-40], None, "whole zip"), (b"", None, "whole zip")],
    ids=["wrong checksum", "truncated", "empty"],
)
def test_wrong_content_is_refused_and_fetched_anew(server, add, raw, content, sha256, says):
    server.files["/tiny.zip"] = content
    add(RemoteFile("tiny.zip", (server.url("/tiny.zip"),), sha256))
    for _ in range(2):
        with pytest.raises(DownloadError) as error:
            download("tiny", progress=False)
        assert_sentences(error, says, "tiny.zip", server.url("/tiny.zip"), raw / "tiny")
    assert len(server.hits) == 2 and entries(raw) == []


def test_damaged_archive_leaves_nothing(server, add, raw):
    content = bytearray(make_zip())
    content[content.index(b"imageimage") + 50] ^= 0xFF
    server.files["/tiny.zip"] = bytes(content)
    add(RemoteFile("tiny.zip", (server.url("/tiny.zip"),)))
    with pytest.raises(DownloadError) as error:
        download("tiny", progress=False)
    assert_sentences(error, "CRC", "tiny.zip", raw / "tiny")
    assert not (raw / "tiny").exists() and not list(raw.rglob("*.png"))


@pytest.mark.parametrize("address", ["drive:abc", "web"])
def test_no_connection_says_what_to_do_by_hand(server, add, raw, monkeypatch, address):
    url = server.url("/tiny.zip")
    server.socket.close()  # the port is now refused
    monkeypatch.setattr(fetch, "DRIVE_URL", url)
    add(RemoteFile("tiny.zip", (url if address == "web" else address,)))
    with pytest.raises(DownloadError) as error:
        download("tiny", progress=False)
    assert_sentences(error, "tiny.zip", url, raw / "tiny", "lungnb download tiny")
    assert entries(raw) == []


def test_missing_page_is_an_error_in_words(server, add):
    add(RemoteFile("tiny.zip", (server.url("/gone.zip"),)))
    with pytest.raises(DownloadError) as error:
        download("tiny", progress=False)
    assert_sentences(error, "Not Found", "tiny.zip")


def test_several_files_appear_together_in_folders_of_their_own(server, add, raw):
    server.files["/scans.zip"] = make_zip({"a.nii.gz": b"scan"})
    add(
        RemoteFile("scans.zip", (server.url("/scans.zip"),)),
        RemoteFile("masks.zip", (server.url("/masks.zip"),)),
    )
    with pytest.raises(DownloadError, match=r"masks\.zip"):
        download("tiny", progress=False)
    assert not (raw / "tiny").exists()
    server.files["/masks.zip"] = make_zip({"a.nii.gz": b"mask"})
    folder = download("tiny", progress=False)
    assert server.hits.count("/scans.zip") == 1  # kept from the first run
    assert (folder / "scans/a.nii.gz").read_bytes() == b"scan" and (folder / "masks/a.nii.gz").read_bytes() == b"mask"
    assert entries(folder) == ["masks", "scans"] and entries(raw) == ["tiny"]


def test_members_to_skip_stay_packed_unless_nothing_else_is_there(server, add, raw):
    server.files["/tiny.zip"] = make_zip({"data/twice/a.png": b"a", "twice/a.png": b"a", "result/a.png": b"a"})
    add(RemoteFile("tiny.zip", (server.url("/tiny.zip"),)), skip=("data/twice/", "/result/"))
    assert entries(download("tiny", progress=False)) == ["twice"]
    remove(raw / "tiny")
    server.files["/tiny.zip"] = make_zip({"data/twice/a.png": b"a"})
    assert entries(download("tiny", progress=False)) == ["data"]


def test_archive_put_there_by_hand_is_unpacked_and_stays(add, raw):
    add(RemoteFile("tiny.zip"))
    with pytest.raises(DownloadError) as error:
        download("tiny", progress=False)
    assert_sentences(error, "no public address", "tiny.zip", raw / "tiny", "lungnb download tiny")
    (raw / "tiny").mkdir(parents=True)
    (raw / "tiny" / "tiny.zip").write_bytes(make_zip())
    (raw / "tiny" / "other.zip").write_bytes(b"the reader's")
    folder = download("tiny", progress=False)
    assert entries(folder) == ["other.zip", "set", "tiny.zip"]
    before = tree(folder)
    assert download("tiny", progress=False) == folder and tree(folder) == before


def test_wrong_file_put_there_by_hand_is_named_and_kept(server, add, raw):
    add(RemoteFile("tiny.zip", (server.url("/tiny.zip"),)))
    (raw / "tiny").mkdir(parents=True)
    (raw / "tiny" / "tiny.zip").write_bytes(HTML)
    with pytest.raises(DownloadError) as error:
        download("tiny", progress=False)
    assert_sentences(error, "web page", raw / "tiny" / "tiny.zip", "remove it")
    assert entries(raw / "tiny") == ["tiny.zip"] and server.hits == []


def link_zip():
    info = zipfile.ZipInfo("set/link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return make_zip({"set/a.png": b"a", info: "/etc/passwd"})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (make_zip({"set/a.png": b"a", "../evil": b"x"}), "leads out"),
        (make_zip({"set/a.png": b"a", "set/../../evil": b"x"}), "leads out"),
        (make_zip({"set/a.png": b"a", "/tmp/evil": b"x"}), "leads out"),
        (make_zip({"set/a.png": b"a", "C:\\evil": b"x"}), "leads out"),
        (make_zip({"set/a.png": b"a", "..\\evil": b"x"}), "leads out"),
        (link_zip(), "link"),
        (make_zip({"set/a.png": bytes(3_000_000)}, compression=zipfile.ZIP_DEFLATED), "bomb"),
        (make_zip({f"set/{i}.png": b"a" for i in range(12)}), "12 files"),
        (make_zip({"set/a.png": bytes(5_000_000)}), "more than there is room for"),
    ],
    ids=["parent", "inner parent", "absolute", "drive", "backslash", "link", "bomb", "many files", "too large"],
)
def test_hostile_archive_is_refused_whole(server, add, raw, tmp_path, monkeypatch, content, says):
    monkeypatch.setattr(archives, "LARGE", 2_000_000)
    monkeypatch.setattr(archives, "MAX_BYTES", 4_000_000)
    monkeypatch.setattr(archives, "MAX_FILES", 10)
    server.files["/tiny.zip"] = content
    add(RemoteFile("tiny.zip", (server.url("/tiny.zip"),)))
    with pytest.raises(DownloadError) as error:
        download("tiny", progress=False)
    assert_sentences(error, "tiny.zip", says)
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"] == []
    assert not (raw / "tiny").exists() and not list(tmp_path.parent.glob("evil"))


def test_real_masks_are_not_taken_for_bombs(server, add):
    server.files["/tiny.zip"] = make_zip({"masks/empty.bmp": bytes(2**20)}, compression=zipfile.ZIP_DEFLATED)
    add(RemoteFile("tiny.zip", (server.url("/tiny.zip"),)))
    assert (download("tiny", progress=False) / "masks/empty.bmp").stat().st_size == 2**20


def test_raw_data_elsewhere_is_used_and_never_written_to(server, add, tmp_path, raw, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "montgomery" / "MontgomerySet").mkdir(parents=True)
    (elsewhere / "tiny").mkdir()
    (elsewhere / "tiny" / "tiny.zip").write_bytes(make_zip())
    monkeypatch.setenv("LUNGNB_RAW", "elsewhere")  # relative to home()
    before = tree(elsewhere)
    assert download("montgomery", progress=False) == elsewhere / "montgomery"
    add(RemoteFile("tiny.zip", (server.url("/tiny.zip"),)))
    folder = download("tiny", progress=False)  # an archive alone is unpacked, but not there
    assert folder == raw / "tiny" == raw_folder("tiny")
    assert entries(folder) == ["set"] and download("tiny", progress=False) == folder
    assert tree(elsewhere) == before and server.hits == []


@pytest.mark.skipif(
    not (REAL / "lung-ct-bmp" / "lung_ct_bmp.zip").is_file(),
    reason="needs LUNGNB_RAW to point to a folder with lung-ct-bmp/lung_ct_bmp.zip",
)
def test_real_archive(raw, monkeypatch):
    monkeypatch.setenv("LUNGNB_RAW", str(REAL))
    before = tree(REAL / "lung-ct-bmp")
    folder = download("lung-ct-bmp", progress=False)
    assert folder == raw / "lung-ct-bmp"
    images, masks = (sorted((folder / "lung_ct" / kind).glob("*.bmp")) for kind in ("images", "masks"))
    assert len(images) == 89 and [path.name for path in images] == [path.name for path in masks]
    assert tree(REAL / "lung-ct-bmp") == before


@pytest.mark.parametrize("linked", [False, True])
def test_what_lies_there_by_hand_outlives_a_run_that_fails(add, raw, tmp_path, linked):
    content = make_zip({"images/a.png": b"1", "notes.txt/b.txt": b"2"})
    add(RemoteFile("tiny.zip"))
    folder = tmp_path / "disk" if linked else raw / "tiny"
    folder.mkdir(parents=True)
    if linked:
        raw.mkdir(parents=True, exist_ok=True)
        (raw / "tiny").symlink_to(folder)
    (folder / "tiny.zip").write_bytes(b"no archive")
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(DownloadError):
        download("tiny", progress=False)
    assert (folder / "tiny.zip").exists()
    (folder / "tiny.zip").write_bytes(content)
    download("tiny", progress=False)
    assert (folder / "images" / "a.png").exists() and (folder / "tiny.zip").read_bytes() == content
    kept = folder.with_name(f".{folder.name}.kept")
    assert linked or entries(raw) == [".tiny.kept", "tiny"]
    assert (kept / "notes.txt").read_text() == "mine"  # whose place the data set has taken


def test_what_a_killed_run_had_put_aside_is_found_again(add, raw):
    add(RemoteFile("tiny.zip"))
    (raw / ".tiny.kept").mkdir(parents=True)
    (raw / ".tiny.kept" / "tiny.zip").write_bytes(make_zip({"images/a.png": b"1"}))
    download("tiny", progress=False)
    assert entries(raw) == ["tiny"] and entries(raw / "tiny") == ["images", "tiny.zip"]
