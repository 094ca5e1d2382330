"""Nuclei in fluorescence: 40 independent fields, 520 × 696, a quarter of the nuclei touching (BBBC038, DSB 2018)."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pooch
from PIL import Image

from cvf20.datasets.base import InstanceDataset, listed, read_image
from cvf20.datasets.download import RETRIES, SOURCES, TIMEOUT, DownloadError, check, fetch, registry
from cvf20.datasets.pictures import stretch


class Nuclei(InstanceDataset):
    """24 / 8 / 8 fields (train / val / test): image (1, 520, 696) uint8, each stretched by its own percentiles.

    split: "dense" are 19 tiles of five crowded, blurred mosaics, of the same size: a harder test, never for training
    target: "binary", with a line of background between touching nuclei, or "instances" (see InstanceDataset)
    """

    name = "nuclei"
    label = "Nuclei"
    classes = ("background", "nucleus")
    palette = np.array([(0, 0, 0), (90, 160, 250)], dtype=np.uint8)
    splits = ("train", "val", "test", "dense")

    @property
    def part(self) -> Path:
        return self.folder / "dense" if self.split == "dense" else self.folder

    def sample_names(self) -> list[str]:
        return listed(self.part / f"{'test' if self.split == 'dense' else self.split}.txt", self.name, self.split)

    def wanted(self) -> list[str]:
        below = "dense/" if self.split == "dense" else ""
        return [f"{below}{kind}/{name}.png" for name in self.sample_names() for kind in ("images", "masks")]

    def read_sample(self, folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
        grey = read_image(self.part / "images" / f"{name}.png", "RGB")[..., 0]  # all channels hold the same
        return stretch(grey), self.as_target(read_image(self.part / "masks" / f"{name}.png", "labels"))

    def fetch(self) -> None:
        """From a mirror file by file; from the source, which has one file per nucleus, as one large archive."""
        fetch(self.name, self.folder, None if os.environ.get("CVF20_BASE_URL") else join_archive)


def join_archive(name: str, staging: Path, files: list[str]) -> None:
    """Fetch the source's archive and make `files` of it in staging: images byte for byte, masks joined; all checked."""
    owner, repository, commit, _ = SOURCES[name].split("/")
    url = f"https://codeload.github.com/{owner}/{repository}/zip/{commit}"
    downloader = pooch.HTTPDownloader(progressbar=True, timeout=(TIMEOUT[0], 60))
    try:
        archive = pooch.retrieve(url, None, f"{commit}.zip", staging, downloader=downloader, retry_if_failed=RETRIES)
        with zipfile.ZipFile(archive) as source:
            members: dict[tuple, list[str]] = {}  # (field, "images" or "masks") -> the files there
            for member in sorted(source.namelist()):
                *_, field, kind, _ = "", "", *member.split("/")
                members.setdefault((field[:12], kind), []).append(member)
            for file in map(Path, files):
                (staging / file).parent.mkdir(parents=True, exist_ok=True)
                sources = [source.read(member) for member in members[file.stem, file.parent.name] if member[-1] != "/"]
                write_joined(staging / file, file.parent.name, sources)
                check(staging / file, registry(name)[file.as_posix()])
    except Exception as error:
        raise DownloadError(f"{url}: {error!r}") from error


def write_joined(file: Path, kind: str, sources: list[bytes]) -> None:
    """An image is the one source; a mask numbers its sources 1, 2, … in their order, and the first keeps a pixel."""
    if kind == "images":
        (content,) = sources
        return file.write_bytes(content)
    labels = 0
    for number, content in enumerate(sources, start=1):
        nucleus = np.asarray(Image.open(io.BytesIO(content)).convert("L")) > 0
        labels = np.where((labels == 0) & nucleus, np.uint16(number), labels).astype(np.uint16)
    Image.fromarray(labels).save(file)
