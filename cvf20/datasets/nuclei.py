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

    def cache_key(self) -> tuple:
        return self.split == "dense", self.target  # a field belongs to one split

    def sample_names(self) -> list[str]:
        return self._names(self.folder)

    def _names(self, folder: Path) -> list[str]:
        return listed(
            folder / ("dense/test.txt" if self.split == "dense" else f"{self.split}.txt"), self.name, self.split
        )

    def missing(self, folder: Path) -> tuple[list[str], int]:
        below = "dense/" if self.split == "dense" else ""
        wanted = [f"{below}{kind}/{name}.png" for name in self._names(folder) for kind in ("images", "masks")]
        return [file for file in wanted if not (folder / file).exists()], len(wanted)

    def read_sample(self, folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
        folder = folder / "dense" if self.split == "dense" else folder
        grey = read_image(folder / "images" / f"{name}.png", "RGB")[..., 0]  # all channels hold the same
        return stretch(grey), self.as_target(read_image(folder / "masks" / f"{name}.png", "labels"))

    def fetch(self, folder: Path) -> None:
        """From a mirror file by file; from the source, which has one file per nucleus, as one archive (about 100 MB)."""
        fetch(self.name, folder, None if os.environ.get("CVF20_BASE_URL") else join_archive)


def join_archive(name: str, staging: Path, files: list[str]) -> None:
    """Fetch the source's archive and make `files` of it in staging: images byte for byte, masks joined; all checked."""
    owner, repository, commit, _ = SOURCES[name].split("/")
    url = f"https://codeload.github.com/{owner}/{repository}/zip/{commit}"
    downloader = pooch.HTTPDownloader(progressbar=True, timeout=(TIMEOUT[0], 60))
    try:
        archive = pooch.retrieve(url, None, f"{commit}.zip", staging, downloader=downloader, retry_if_failed=RETRIES)
        with zipfile.ZipFile(archive) as source:
            members: dict[str, list[str]] = {}  # "<id>/images" and "<id>/masks" -> the files there
            for member in sorted(source.namelist()):
                if member.endswith(".png"):
                    field, kind = Path(member).parts[-3:-1]
                    members.setdefault(f"{field[:12]}/{kind}", []).append(member)
            for file in files:
                kind, field = Path(file).parts[-2], Path(file).stem
                (staging / file).parent.mkdir(parents=True, exist_ok=True)
                sources = [source.read(member) for member in members.get(f"{field}/{kind}", [])]
                write_joined(staging / file, kind, sources)
                check(staging / file, registry(name)[file])
    except Exception as error:
        raise DownloadError(f"{url}: {error}") from error


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
