"""Downloads against a server on this machine that can be told to lie, to lose files and to hang up."""

import hashlib
import io
import socket
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import urlparse

import numpy as np
import pooch
import pytest
from PIL import Image

from cvf20.datasets import MSRC, Nuclei, PennFudan, StanfordBackground, YeastColonies, YeastMovie, download, nuclei

NAME = "yeast_movie"
FILES = {f"part{i % 2}/file{i:02d}.bin": bytes([i]) * (2000 + i) for i in range(12)}
VICTIM = "part1/file05.bin"
FRAMES = ["im000", "im002"]  # of the sample


@pytest.fixture
def server(monkeypatch):
    """Serves FILES, the movie's here; `faults` maps a file to what happens to it: missing, wrong or cut."""
    told = SimpleNamespace(faults={}, requests=[])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            file = urlparse(self.path).path.removeprefix("/")
            told.requests.append(file)
            fault = told.faults.get(file)
            if file not in FILES or fault == "missing":
                return self.send_error(404)
            content = FILES[file][::-1] + b"!" if fault == "wrong" else FILES[file]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if fault == "cut" else content)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    told.url, files = f"http://127.0.0.1:{server.server_port}", YeastMovie.files
    checksums = {file: hashlib.sha256(content).hexdigest() for file, content in FILES.items()}
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "RETRIES", 0)
    monkeypatch.setattr(download, "registry", lambda name: checksums)
    monkeypatch.setattr(YeastMovie, "source", told.url)
    monkeypatch.setattr(YeastMovie, "sample_names", lambda self: FRAMES if self.sample else list(FILES))
    monkeypatch.setattr(YeastMovie, "files", lambda self, name: files(self, name) if self.sample else (name,))
    yield told
    server.shutdown()
    server.server_close()


def fetch(folder):
    download.fetch(NAME, YeastMovie.source, folder)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(server, tmp_path, monkeypatch):
    """Where the default root has the data set."""
    monkeypatch.setenv("CVF20_DATA", str(tmp_path))
    return tmp_path / NAME


def test_everything_is_fetched_once_and_later_only_what_is_missing(server, tmp_path):
    folder = tmp_path / "new" / NAME
    threads = [threading.Thread(target=fetch, args=(folder,)) for _ in range(3)]  # of which two have to wait
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert contents(folder) == FILES and not (tmp_path / "new" / f".{NAME}.partial").exists()
    assert {*server.requests} == {*FILES, ""} and all(server.requests.count(file) == 1 for file in FILES)
    (folder / "part0/file00.bin").write_bytes(b"edited by hand")
    (folder / VICTIM).unlink()
    for requests in ([VICTIM], []):
        server.requests.clear()
        fetch(folder)
        assert contents(folder) == FILES | {"part0/file00.bin": b"edited by hand"} and server.requests == requests


@pytest.mark.parametrize(("fault", "reason"), [("wrong", "hash"), ("missing", "404"), ("cut", "IncompleteRead")])
def test_one_bad_file_is_named_once_and_spoils_nothing(server, folder, capsys, fault, reason):
    server.faults[VICTIM] = fault
    movies = [YeastMovie(split=split) for split in ("train", "val")]
    assert all(movie.sample and not movie.synthetic for movie in movies)
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1 and "a small real sample" in printed
    assert VICTIM in printed and reason in printed and server.url in printed
    assert not folder.exists(), "an incomplete data set must not look like one"
    assert server.requests.count(VICTIM) == 1, "nor is it asked for again"


def test_a_stopped_download_goes_on_with_the_rest(server, folder, monkeypatch):
    server.faults |= {file: "cut" for file in list(FILES)[7:]}
    with pytest.raises(OSError, match=list(FILES)[7]):
        fetch(folder)
    staging = folder.with_name(f".{NAME}.partial")
    assert contents(staging) == {file: FILES[file] for file in list(FILES)[:7]}, "half a file must not stay"
    (staging / "part0/file00.bin").write_bytes(b"half")  # what a crash may leave behind
    server.requests.clear()
    monkeypatch.setattr(download, "_failed", {})  # a new process
    monkeypatch.setattr(download, "RETRIES", 1)
    monkeypatch.setattr(pooch.core.time, "sleep", lambda seconds: server.faults.clear())  # the second try succeeds
    fetch(folder)
    assert contents(folder) == FILES and {*server.requests} == {"part0/file00.bin", *list(FILES)[7:]}


@pytest.mark.parametrize("offline", ["", "1"])
def test_a_damaged_data_set_is_an_error_not_a_sample(server, folder, monkeypatch, capsys, offline):
    monkeypatch.setenv("CVF20_OFFLINE", offline)
    server.faults |= dict.fromkeys(FILES, "missing")
    assert YeastMovie().sample and ("CVF20_OFFLINE" in capsys.readouterr().out) == bool(offline)
    (folder / "part1").mkdir(parents=True)
    (folder / VICTIM).write_bytes(FILES[VICTIM])
    words = f"11 of 12 wanted files are missing, first .*{list(FILES)[0]}"
    with pytest.raises(FileNotFoundError, match=words) as error:
        YeastMovie()
    assert ("CVF20_OFFLINE" in str(error.value)) == bool(offline)
    assert contents(folder) == {VICTIM: FILES[VICTIM]} and not (offline and server.requests)


def test_a_silent_network_is_asked_once_and_costs_seconds(tmp_path, monkeypatch, capsys, recwarn):
    """Names that are never resolved, the worst of it; each data set says in one line what it does."""
    hang, asked = threading.Event(), []

    def look_up(*args, **choices):
        asked.append(args)
        hang.wait(60)
        raise OSError("no route")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setenv("CVF20_DATA", str(tmp_path))
    monkeypatch.setattr(download, "PATIENCE", 0.5)
    started = time.monotonic()
    made = [cls(split=split) for cls in (PennFudan, YeastMovie, Nuclei) for split in ("train", "val")]
    assert time.monotonic() - started < 5 and len(asked) <= 2, "almost all of it is drawing"
    assert all(data.synthetic != data.sample for data in made)
    printed = capsys.readouterr().out
    assert printed.count("\n") == 3 and "no answer in 0.5 s" in printed and not recwarn.list
    hang.set()


@pytest.mark.parametrize("cls", [StanfordBackground, YeastColonies, YeastMovie, PennFudan, MSRC, Nuclei])
def test_a_given_root_that_holds_nothing_is_an_error(tmp_path, monkeypatch, cls):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=rf"{cls.name}: (\d+) of \1 wanted files.*{cls.name} holds nothing"):
        cls(tmp_path)
    (tmp_path / cls.name / "pictures").mkdir(parents=True)
    (tmp_path / cls.name / "notes.txt").write_text("")
    with pytest.raises(FileNotFoundError, match=rf"first {tmp_path / cls.name}/.*holds notes.txt, pictures"):
        cls("~")


@pytest.mark.parametrize("value", [1, 2])
def test_nuclei_are_joined_from_the_archive_and_checked(server, tmp_path, monkeypatch, value):
    """Two nuclei that overlap in a pixel: the first file keeps it; what is not wanted is left where it is."""

    def png(pixels):
        Image.fromarray(pixels).save(file := io.BytesIO(), "PNG")
        return file.getvalue()

    field, short, image = "ab" * 32, "ab" * 6, png(np.full((4, 5, 4), 200, np.uint8))
    nuclei_of = np.zeros((2, 4, 5), np.uint8)
    nuclei_of[0, :2, :3], nuclei_of[1, 1:, 2:] = 255, 255
    joined = np.where(nuclei_of[0] > 0, 1, value * (nuclei_of[1] > 0)).astype("<i4")
    below = f"repository-commit/stage1_train/{field}"
    members = {f"{below}/masks/": "", f"{below}/images/{field}.png": image, "../../outside.png": image}
    members |= {f"{below}/masks/{number}.png": png(mask) for number, mask in enumerate(nuclei_of)}
    with zipfile.ZipFile(content := io.BytesIO(), "w") as archive:
        for member in members.items():
            archive.writestr(*member)
    known = {f"images/{short}.png": hashlib.sha256(image).hexdigest()}
    known[f"masks/{short}.png"] = "pixels:" + hashlib.sha256(joined).hexdigest()
    monkeypatch.setitem(FILES, "archive.zip", content.getvalue())
    monkeypatch.setattr(download, "registry", lambda name: known)
    given = "nuclei", f"{server.url}/archive.zip", tmp_path / "nuclei", nuclei.bring_from_archive
    if value == 1:
        with pytest.raises(OSError, match=f"{short}.png has not the sha256 pixels:"):
            download.fetch(*given)
        assert not (tmp_path / "nuclei").exists()
    else:
        download.fetch(*given)
        assert sorted(contents(tmp_path / "nuclei")) == sorted(known), "nothing but what was asked for"
        assert np.array_equal(Image.open(tmp_path / f"nuclei/masks/{short}.png"), joined)


@pytest.mark.parametrize("cls", [StanfordBackground, YeastColonies, YeastMovie, PennFudan, Nuclei])
def test_registry_fits_the_real_files(real, cls):
    folder = real(cls, split="val").folder
    for file, known in list(download.registry(cls.name).items())[::41]:
        if known.startswith("pixels:"):
            assert nuclei.pixel_digest(np.asarray(Image.open(folder / file))) == known
        else:
            assert pooch.file_hash(folder / file) == known
