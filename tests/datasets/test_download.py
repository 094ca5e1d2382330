"""Downloads against a server on this machine that can be told to lie, to lose files and to hang up."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlparse

import pooch
import pytest

from cvf20.datasets import StanfordBackground, YeastColonies, YeastMovie, download
from cvf20.paths import data_dir

NAME = "yeast_movie"
FILES = {f"part{i % 2}/file{i:02d}.bin": bytes([i]) * (2000 + i) for i in range(12)}
VICTIM = "part1/file05.bin"


class Server(ThreadingHTTPServer):
    """Serves FILES below /NAME/; `faults` maps a file to what happens to it: missing, wrong or cut."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults, self.requests = {}, []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        file = urlparse(self.path).path.removeprefix(f"/{NAME}/")
        self.server.requests.append(file)
        fault = self.server.faults.get(file)
        if file not in FILES or fault == "missing":
            return self.send_error(404)
        content = FILES[file][::-1] + b"!" if fault == "wrong" else FILES[file]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if fault == "cut" else content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("CVF20_BASE_URL", server.url + "/")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "RETRIES", 0)
    checksums = {file: hashlib.sha256(content).hexdigest() for file, content in FILES.items()}
    monkeypatch.setattr(download, "registry", lambda name: checksums)
    yield server
    server.shutdown()
    server.server_close()


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_everything_is_fetched_once_and_then_read_from_disk(server, tmp_path):
    folder = download.locate(NAME, tmp_path / "new")
    assert folder == tmp_path / "new" / NAME
    assert contents(folder) == FILES
    assert sorted(server.requests) == sorted(FILES)
    assert not (tmp_path / "new" / f".{NAME}.partial").exists()
    download.locate(NAME, tmp_path / "new")
    assert len(server.requests) == len(FILES)


@pytest.mark.parametrize(("fault", "reason"), [("wrong", "hash"), ("missing", "404"), ("cut", "IncompleteRead")])
def test_one_bad_file_is_named_and_spoils_nothing(server, tmp_path, fault, reason):
    server.faults[VICTIM] = fault
    with pytest.warns(UserWarning, match="SYNTHETIC") as caught:
        assert download.locate(NAME, tmp_path) is None
    message = str(caught[0].message)
    assert VICTIM in message and reason in message and "1 of 12 files" in message and server.url in message
    assert not (tmp_path / NAME).exists(), "an incomplete data set must not look like one"


def test_a_stopped_download_goes_on_with_the_rest(server, tmp_path, monkeypatch):
    server.faults = {file: "cut" for file in list(FILES)[7:]}
    with pytest.warns(UserWarning, match="5 of 12 files"):
        download.locate(NAME, tmp_path)
    staging = tmp_path / f".{NAME}.partial"
    assert contents(staging) == {file: FILES[file] for file in list(FILES)[:7]}, "half a file must not stay"
    (staging / "part0/file00.bin").write_bytes(b"half")  # and what a crash may leave behind
    (staging / "part0/tmp1234").write_bytes(b"leftover")
    server.faults, server.requests = {}, []
    monkeypatch.setattr(download, "_failed", set())  # a new process
    assert contents(download.locate(NAME, tmp_path)) == FILES
    assert sorted(server.requests) == sorted(["part0/file00.bin", *list(FILES)[7:]])


def test_a_file_that_fails_once_is_tried_again(server, tmp_path, monkeypatch):
    server.faults[VICTIM] = "cut"
    monkeypatch.setattr(download, "RETRIES", 1)
    monkeypatch.setattr(pooch.core.time, "sleep", lambda seconds: server.faults.clear())
    assert contents(download.locate(NAME, tmp_path)) == FILES
    assert server.requests.count(VICTIM) == 2


def test_missing_files_are_added_and_those_of_the_user_stay(server, tmp_path):
    mine = tmp_path / NAME / "part0" / "file00.bin"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"edited by hand")
    assert contents(download.locate(NAME, tmp_path)) == FILES | {"part0/file00.bin": b"edited by hand"}
    assert "part0/file00.bin" not in server.requests


def test_a_damaged_data_set_is_an_error_not_a_stand_in(server, tmp_path):
    for file in list(FILES)[:9]:
        (tmp_path / NAME / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / NAME / file).write_bytes(FILES[file])
    server.faults = {file: "missing" for file in list(FILES)[10:]}
    before = contents(tmp_path / NAME)
    with pytest.raises(FileNotFoundError, match=rf"3 of 12 files are missing in .*{NAME}, first {list(FILES)[9]}"):
        download.locate(NAME, tmp_path)
    assert contents(tmp_path / NAME) == before


def test_without_a_server_it_warns_once_and_gives_up_quickly(server, tmp_path, recwarn):
    server.shutdown()
    server.server_close()
    assert download.locate(NAME, tmp_path) is None
    assert download.locate(NAME, tmp_path) is None
    (warning,) = recwarn.list
    assert server.url in str(warning.message) and str(tmp_path / NAME) in str(warning.message)


def test_offline_asks_no_server(server, tmp_path, monkeypatch):
    monkeypatch.setenv("CVF20_OFFLINE", "1")
    with pytest.warns(UserWarning, match="CVF20_OFFLINE"):
        assert download.locate(NAME, tmp_path) is None
    (tmp_path / NAME / "part1").mkdir(parents=True)
    (tmp_path / NAME / VICTIM).write_bytes(FILES[VICTIM])
    with pytest.raises(FileNotFoundError, match="11 of 12 files .*CVF20_OFFLINE"):
        download.locate(NAME, tmp_path)
    assert not server.requests


def test_a_folder_that_cannot_be_made_leads_to_the_stand_in(server, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.warns(UserWarning, match="SYNTHETIC"):
        assert download.locate(NAME, tmp_path / "file") is None


def test_notebooks_side_by_side_fetch_every_file_once(server, tmp_path):
    threads = [threading.Thread(target=download.locate, args=(NAME, tmp_path)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert contents(tmp_path / NAME) == FILES
    assert sorted(server.requests) == sorted(FILES)


def test_the_data_set_says_that_it_is_a_stand_in(server, tmp_path):
    server.faults = {file: "missing" for file in FILES}
    with pytest.warns(UserWarning, match="12 of 12 files"):
        movie = YeastMovie(tmp_path, "val")
    assert movie.synthetic and movie.title.startswith("SYNTHETIC") and len(movie) > 0
    assert {path.name for path in tmp_path.iterdir()} <= {f".{NAME}.lock", f".{NAME}.partial"}


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("true", True), ("0", False), ("", False), ("no", False)])
def test_flags(monkeypatch, value, expected):
    monkeypatch.setenv("CVF20_SYNTHETIC", value)
    assert download.flag("CVF20_SYNTHETIC") is expected


def test_default_address_is_the_raw_file_of_a_fixed_commit():
    for name in download.SOURCES:
        repository, commit = download.SOURCES[name].split("/")[:2], download.SOURCES[name].split("/")[2]
        assert len(repository) == 2 and len(commit) == 40 and int(commit, 16)
        assert download.base_url(name) == f"https://raw.githubusercontent.com/{download.SOURCES[name]}/"


@pytest.mark.parametrize("cls", [StanfordBackground, YeastColonies, YeastMovie])
def test_registry_fits_the_real_files(real, cls):
    real(cls, split="val")
    for file, checksum in list(download.registry(cls.name).items())[::40]:
        assert hashlib.sha256((data_dir() / cls.name / file).read_bytes()).hexdigest() == checksum, file
