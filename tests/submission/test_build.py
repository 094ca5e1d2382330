"""A small project, built into everything that is handed in; submission.toml, cover and contents."""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import zipfile

import nbformat
import pytest
from submission.projects import RESULT, TOML, Project, executed, markdown, notebook, picture, png

from cvf20.paths import project_dir
from cvf20.submission import __main__ as command
from cvf20.submission.build import build, project_findings
from cvf20.submission.cover import archive_name, cover, placeholders, read_group, training_seconds


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(project, zip, what was said): three published notebooks, one of them the student's own, the package, weights."""
    project = Project(tmp_path_factory.mktemp("hand-in") / "project")
    for stem, cells in {"02_baselines": "x", "03_unet": "x", "10_mine": "## B3 My UNet"}.items():
        nb = executed(notebook("x = 1", cells, stem=stem))
        nb.cells[2].outputs = [picture(), markdown(f"A line. `figures/{stem}_line.png`")]
        project.save(stem, nb)
        project.put(f"figures/{stem}_line.png", png([0, 255]))
    for name in ("notebooks/03_unet-Copy1.ipynb", "figures/board.png", "results/03_net-seed0/value.npz", "cvf20/a.py"):
        project.put(name)
    for name in ("weights/03_unet_best-seed0.pt", "runs/03/best.pt", "cvf20/__pycache__/a.pyc", "tests/test_a.py"):
        project.put(name)
    for name in ("my_lib/a.py", "data/README.md", "data/scenes/a.jpg", "venv/pyvenv.cfg", ".hidden", "build/a.png"):
        project.put(name)
    project.put("results/03_net-seed0.json", RESULT)
    project.put("submission.toml", TOML)
    (project.root / "tests/linked").symlink_to(project.root / "runs")
    for name in ("pyproject.toml", "README.md", "run_all.sh"):
        shutil.copy(project_dir() / name, project.root / name)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        return project, build(project.root), said.getvalue()


def inside(archive) -> set[str]:
    with zipfile.ZipFile(archive) as file:
        names = [name for name in file.namelist() if not name.endswith("/")]
    assert {name.split("/")[0] for name in names} == {archive.stem}
    return {name.split("/", 1)[1] for name in names}


def test_everything_is_built_and_in_the_zip(built):
    project, archive, said = built
    assert archive == project.root / "dist/CV_11_22.zip"
    names = ["README.md", "cvf20/a.py", "figures/board.png", "notebooks/10_mine.ipynb", "my_lib/a.py", "data/README.md"]
    names += ["weights/03_unet_best-seed0.pt", "results/03_net-seed0/value.npz", "run_all.sh", "submission.toml"]
    parts = {"submission.ipynb", "submission.html", "report.pdf"}
    assert parts | set(names) <= inside(archive)
    assert not any(re.search("runs/|linked|cache|Copy|venv|scenes|hidden|build/", name) for name in inside(archive))
    assert {path.name for path in archive.parent.iterdir() if path.is_file()} == parts | {archive.name}
    nb = nbformat.read(archive.parent / "submission.ipynb", as_version=4)
    codes = [c for c in nb.cells if c.cell_type == "code" and "set-up" not in c.metadata.get("tags", [])]
    assert "## B3 My UNet" in nbformat.writes(nb) and all(cell.execution_count for cell in codes)
    assert "note: notebooks/03_unet-Copy1.ipynb is left out" in said and "no hours for A1a" in said


def test_links_of_the_contents_lead_somewhere(built):
    nb = nbformat.read(built[1].parent / "submission.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    links, anchors = re.findall(r"\]\(#(.*?)\)", text), re.findall('<a id="(.*?)"', text)
    assert len(links) > 20 and set(links) <= set(anchors) and len(set(anchors)) == len(anchors)
    assert "| B3 | the configurable UNet | [03](#part-03-1) · [10](#part-10-1) |" in text and "| 03_unet | 1 |" in text
    for row in ("| C7 | ResNet-18 as encoder | not answered |", "| A-t | the time each task took | [cover](#time)"):
        assert row in text


def test_one_sheet_has_its_own_folder(built):
    project = built[0]
    archive = build(project.root, "C")
    assert archive == project.root / "dist/C/CV_C_11_22.zip"
    assert {"notebooks/03_unet.ipynb", "figures/board.png"} <= inside(archive)
    assert not any("10_mine" in name for name in inside(archive))


@pytest.fixture
def copy(built, tmp_path, monkeypatch):
    """The project again; pages are not set, which takes a second."""
    monkeypatch.setattr("cvf20.submission.build.page", lambda *_: "<p>")
    monkeypatch.setattr("cvf20.submission.build.report", lambda *_: b"%PDF-")
    return Project(shutil.copytree(built[0].root, tmp_path / "project", symlinks=True))


def test_an_error_stops_the_build_and_leaves_what_was_built(copy, monkeypatch, capsys):
    def there():
        return {path: path.read_bytes() for path in copy.root.glob("dist/*.*")}

    before = there()
    nb = nbformat.read(copy.root / "notebooks/03_unet.ipynb", as_version=4)
    nb.cells[2].outputs.append(nbformat.v4.new_output("error", ename="KeyError", evalue="7", traceback=[]))
    copy.save("03_unet", nb)
    monkeypatch.setattr(command, "project_dir", lambda: copy.root)
    assert command.main(["build"]) == 1
    words = "build: the check found errors, nothing was built\nerror: notebooks/03_unet.ipynb, cell 3"
    assert capsys.readouterr().out.startswith(words) and there() == before


def test_draft_says_how_to_end_it_and_its_zip_does_not_outlive_it(copy, capsys):
    copy.put("submission.toml", TOML.replace('"7"', '"FILL IN: group"'))
    copy.put("dist/notes.zip")
    assert build(copy.root).name == "CV_DRAFT_11_22.zip"
    assert "a DRAFT: FILL IN: group. To mend: fill them in" in capsys.readouterr().out
    copy.put("submission.toml", TOML)
    build(copy.root)
    assert sorted(path.name for path in copy.root.glob("dist/*.zip")) == ["CV_11_22.zip", "notes.zip"]


def test_what_the_whole_lacks(project):
    assert project_findings(project.root)[-1].startswith("error: submission.toml: ")
    project.put("submission.toml", TOML + "[hours]\nC6 = 2\n")
    book = project.save("03_unet", notebook())
    missing, hours = project_findings(project.root, "B")
    assert "01_augmentation, 04_tuning, 05_losses missing, and the answers in it. To mend: write it" in missing
    assert "no hours for B1, B2" in hours
    book.unlink()
    with pytest.raises(ValueError, match="answers nothing of sheet C"):
        build(project.root, "C")


MISTAKES = [
    (TOML + TOML[TOML.index("[[members]]") :], "4 of 4 members are complete, wanted two or three"),
    (TOML.split("[[members]]")[0], "0 of 0 members"),
    (TOML.replace('group = "7"\n', ""), "group is ''"),
    (TOML.replace("group", "grup"), "unknown grup"),
    (TOML.replace('"7"', "7"), "group is 7, wanted a str"),
    (TOML.replace('did = "half"\n', "", 1), "1 of 2 members are complete"),
    (TOML.replace('"CV"', '" "'), "course is ' '"),
    (TOML + "[hours]\nC66 = 1\n", "hours for C66"),
    ('repository = "https://name:' + 'word@example.org/a.git"\n' + TOML, "holds a name or a password"),
    ("members = [3, 4]\n" + TOML.split("[[members]]")[0], "0 of 2 members"),
    ("course = ", "submission.toml: "),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_mistakes_in_submission_toml_are_named(project, text, message):
    with pytest.raises(ValueError, match=message):
        read_group(project.put("submission.toml", text))


@pytest.mark.parametrize("value", ["Pixels", "Ada", "22", "half", "7", "a paper", "a book"])
def test_any_placeholder_makes_a_draft(project, value):
    group = read_group(project.put("submission.toml", TOML.replace(f'"{value}"', '"FILL IN: something"', 1)))
    assert placeholders(group) == ["FILL IN: something"] and "DRAFT" in archive_name(group, "B")
    assert "**DRAFT**" in cover(group, [], None, {})[0]


def test_cover_says_who_what_and_with_which_help(project):
    text = TOML.replace('"half"', r'"""a|b\\|c\n\nd"""', 1).replace('"CV"', '"CV 1"') + "[hours]\nC6 = 0\nC2 = 1.5\n"
    group = read_group(project.put("submission.toml", text))
    first, *_ = cover(group, [], "C", {"03_unet": 120.0})
    for words in ("# Pixels", "| Ada | 11 | a\\|b\\|c d |", "* a paper", "* a book", "C6 0 ", "C2 1.5 ", "C7 ____"):
        assert words in first, words
    assert "| 03_unet | 2 |" in first and "DRAFT" not in first and archive_name(group, None) == "CV-1_11_22"


def test_the_projects_own_can_be_read_and_a_search_counts_its_trials(project):
    assert read_group(project_dir() / "submission.toml")["sources"]
    for name in ("04_search", "04_trial_ab12", "04_best"):
        project.put(f"results/{name}-seed0.json", RESULT)
    project.put("results/04_x-seed0.json", "{")
    assert training_seconds(project.root / "results", ["04_tuning", "03_unet"]) == {"04_tuning": 120.0}


def test_an_unpacked_hand_in_builds_itself(built, tmp_path):
    """With its own package, which the zip of the real project holds; and where there is no fcntl, as on Windows."""
    shutil.unpack_archive(built[1], tmp_path)
    root = tmp_path / "CV_11_22"
    shutil.copytree(project_dir() / "cvf20", root / "cvf20", dirs_exist_ok=True)
    code = (
        "import sys; sys.modules['fcntl'] = None\nfrom cvf20.submission.__main__ import main\nsys.exit(main(['build']))"
    )
    pipe = dict(capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(root)}, cwd=root)
    done = subprocess.run([sys.executable, "-c", code], **pipe)
    assert done.returncode == 0 and (root / "dist/CV_11_22.zip").is_file(), done.stdout + done.stderr


def test_the_cover_names_where_the_data_come_from():
    sources = "\n".join(read_group(project_dir() / "submission.toml")["sources"])
    table = (project_dir() / "data/README.md").read_text(encoding="utf-8")
    repositories = re.findall(r"github\.com/[\w.-]+/[\w.-]+\w", table)
    assert len(repositories) >= 4 and all(repository in sources for repository in repositories)
