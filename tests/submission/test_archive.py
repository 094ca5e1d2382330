"""The zip has the same bytes for the same files, nothing that does not belong to it, and flaws that are found."""

import os
import stat
import subprocess
import zipfile

import pytest
from submission.projects import CREDENTIALS, png

from cvf20.submission.archive import BUILT, archive_faults, project_files, size_table, write_zip

GOOD = {name: b"x" * 10 for name in (*BUILT, "pyproject.toml", "run_all.sh", "cvf20/__init__.py", "submission.toml")}


@pytest.fixture
def tree(project):
    """A project with everything that must and must not be in a zip; (its folder, what must)."""
    wanted = ["README.md", "pyproject.toml", "run_all.sh", "submission.toml", "data/README.md", "cvf20/a.py"]
    wanted += ["cvf20/datasets/registry/a.txt", "notebooks/03_unet.ipynb", "figures/03_unet_a.png", "figures/04_a.png"]
    wanted += ["results/03_a-seed0.json", "results/03_a-seed0/epoch001_0005.png", "tests/test_a.py", "scripts/env.sh"]
    unwanted = [".git/config", "cvf20/__pycache__/a.pyc", "cvf20/.hidden.py", "notebooks/.ipynb_checkpoints/03_a.ipynb"]
    unwanted += ["runs/03_a/best.pt", "build/a.png", "dist/a.zip", "data/scenes/a.png", "notebooks/notes.ipynb", "a.py"]
    for name in [*wanted, *unwanted]:
        path = project.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (project.root / "cvf20/link.py").symlink_to(project.root / "cvf20/a.py")
    (project.root / "tests/linked").symlink_to(project.root / "runs")
    return project.root, sorted(wanted)


def test_what_belongs_to_the_work_goes_in_and_nothing_else(tree):
    root, wanted = tree
    files, left_out = project_files(root)
    assert sorted(files) == wanted and left_out == []


def test_unknown_kinds_and_credentials_are_left_out_and_said(tree):
    root, wanted = tree
    names = ["cvf20/best.pt", "cvf20/kaggle.json", "scripts/api_token.txt", "tests/id_rsa", "results/03_a.npz"]
    for name in names:
        (root / name).write_text("x")
    files, left_out = project_files(root)
    assert sorted(files) == wanted and sorted(left_out) == sorted(names)


@pytest.mark.parametrize("name", ["cvf20/secrets/aws.json", "scripts/service_account.json", "cvf20/apikey.txt"])
def test_names_of_credentials_are_known(tree, tmp_path, name):
    root, wanted = tree
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text("x")
    files, left_out = project_files(root)
    assert sorted(files) == wanted and left_out == [name]
    assert any("credential" in what for _, what, _ in faults(tmp_path, GOOD | {name: b"x"}))


@pytest.mark.parametrize("text", CREDENTIALS)
def test_text_with_a_credential_is_left_out_and_found(tree, tmp_path, text):
    root, wanted = tree
    (root / "README.md").write_text(f"a = '{text}'")
    files, left_out = project_files(root)
    assert sorted([*files, "README.md"]) == wanted and left_out == ["README.md"]
    assert any("credential" in what for _, what, _ in faults(tmp_path, GOOD | {"a.md": text.encode()}))
    assert faults(tmp_path, GOOD | {"a.png": text.encode()}) == []  # bytes of a picture are no text


def test_addresses_are_no_credentials(tmp_path):
    text = b'{"a":"https://a.org:80/b","c":"d@e.org"} git@a.org:b/c.git https://a.org/@b:c@d'
    assert faults(tmp_path, GOOD | {"a.md": text}) == []


def test_one_sheet_takes_its_notebooks_only(tree):
    files, _ = project_files(tree[0], ["04_tuning"])
    numbered = {name for name in files if name.split("/")[0] in ("notebooks", "figures", "results")}
    assert numbered == {"figures/04_a.png"}


def test_same_files_same_bytes_whatever_their_times_and_modes(tree, tmp_path):
    root, _ = tree
    zips = [tmp_path / "a.zip", tmp_path / "b.zip"]
    write_zip(zips[0], "hand-in", project_files(root)[0] | {"weights/a.pt": b"1"})
    for place, path in enumerate(sorted(root.rglob("*"))):
        if path.is_file() and not path.is_symlink():
            os.utime(path, (place, place))
            path.chmod(0o600)
    write_zip(zips[1], "hand-in", {"weights/a.pt": b"1"} | project_files(root)[0])
    assert zips[0].read_bytes() == zips[1].read_bytes()


def test_unzip_and_zipfile_find_the_same(tree, tmp_path):
    root, wanted = tree
    write_zip(tmp_path / "a.zip", "hand-in", project_files(root)[0])
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"hand-in/{name}" for name in wanted]
    subprocess.run(["unzip", "-q", "a.zip"], cwd=tmp_path, check=True)
    unpacked = tmp_path / "hand-in"
    assert {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()} == set(wanted)
    assert all((unpacked / name).read_bytes() == name.encode() for name in wanted)
    assert os.access(unpacked / "run_all.sh", os.X_OK) and not os.access(unpacked / "cvf20/a.py", os.X_OK)


def test_size_table_adds_up(tmp_path):
    write_zip(
        tmp_path / "a.zip", "h", {"a/x.png": b"1" * 2_000_000, "a/b/y.png": png([1, 2]), "z.md": b"z" * 1_000_000}
    )
    lines = [line.strip("| ").split(" | ") for line in size_table(tmp_path / "a.zip").splitlines()[2:]]
    assert {line[0]: line[1:3] for line in lines} == {
        "a/": ["2", "2.00"],
        "z.md": ["1", "1.00"],
        "together": ["3", "3.00"],
    }


def faults(tmp_path, contents, name="x_1_2.zip", folder="h"):
    path = tmp_path / name
    write_zip(path, folder, contents)
    return list(archive_faults(path))


def test_good_zip_has_no_fault(tmp_path):
    assert faults(tmp_path, GOOD) == []


@pytest.mark.parametrize(
    ("more", "symptom"),
    [
        ({".env": b""}, "hidden"),
        ({"__MACOSX/a": b""}, "cache"),
        ({"cvf20/__pycache__/a.pyc": b""}, "cache"),
        ({"runs/a/last.pt": b""}, "intermediate"),
        ({"events.out.tfevents.1": b""}, "intermediate"),
        ({"kaggle.json": b""}, "credential"),
    ],
)
def test_what_must_not_be_in_a_zip_is_found(tmp_path, more, symptom):
    ((level, what, mend),) = faults(tmp_path, GOOD | more)
    assert level == "error" and symptom in what and mend


@pytest.mark.parametrize("name", ["submission.ipynb", "report.pdf", "submission.html", "cvf20/__init__.py"])
def test_what_lacks_is_found(tmp_path, name):
    contents = {key: value for key, value in GOOD.items() if key != name}
    assert [what for _, what, _ in faults(tmp_path, contents)] == [f"lacks {name}"]


def test_draft_is_a_note(tmp_path):
    commented = GOOD | {"submission.toml": b'# FILL IN all\ngroup = "7"\n'}
    assert faults(tmp_path, commented) == []
    open_one = GOOD | {"submission.toml": b'group = "FILL IN: group"\n'}
    assert [level for level, _, _ in faults(tmp_path, open_one)] == ["note"]
    assert [level for level, _, _ in faults(tmp_path, GOOD, name="x_DRAFT.zip")] == ["note"]


def test_other_archives_damage_and_links_are_found(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"Rar!" + bytes(100))
    assert [what for _, what, _ in archive_faults(tmp_path / "x.zip")] == ["is no zip"]
    write_zip(tmp_path / "x.rar", "h", GOOD)
    assert [what for _, what, _ in archive_faults(tmp_path / "x.rar")] == ["is no zip"]
    with zipfile.ZipFile(tmp_path / "flat.zip", "w") as archive:
        archive.writestr("submission.ipynb", "x")
    assert any("not into one folder" in what for _, what, _ in archive_faults(tmp_path / "flat.zip"))
    write_zip(tmp_path / "link.zip", "h", GOOD)
    with zipfile.ZipFile(tmp_path / "link.zip", "a") as archive:
        entry = zipfile.ZipInfo("h/link")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    assert any("symbolic link" in what for _, what, _ in archive_faults(tmp_path / "link.zip"))
    content = bytearray((tmp_path / "link.zip").read_bytes())
    place = content.index(b"pyproject.toml") + len("pyproject.toml")
    content[place] ^= 0xFF
    (tmp_path / "hurt.zip").write_bytes(content)
    assert any("damaged" in what for _, what, _ in archive_faults(tmp_path / "hurt.zip"))


def test_no_damage_stops_the_look(tmp_path):
    write_zip(tmp_path / "whole.zip", "h", GOOD)
    whole, path = (tmp_path / "whole.zip").read_bytes(), tmp_path / "hurt.zip"
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        assert all(what and mend for _, what, mend in archive_faults(path))
    for cut in (whole[100:], whole[: len(whole) // 2]):
        path.write_bytes(cut)
        assert [level for level, _, _ in archive_faults(path)] == ["error"]


def test_encrypted_zip_is_an_error(tmp_path):
    write_zip(tmp_path / "a.zip", "h", GOOD)
    content = bytearray((tmp_path / "a.zip").read_bytes())
    for head, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(head) + flags] |= 1  # says that the first file is encrypted
    (tmp_path / "a.zip").write_bytes(content)
    ((level, what, _),) = archive_faults(tmp_path / "a.zip")
    assert level == "error" and "encrypted" in what
