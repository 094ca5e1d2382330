"""Pictures that other people have: read right, or refused by an error that names the file and the trouble."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from cvf20.datasets import MSRC, PennFudan, StanfordBackground, YeastColonies, YeastMovie
from cvf20.datasets.pictures import read_image

pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF")
RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def saved(folder, name, pixels, **choices):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(folder / name, **choices)
    return folder / name


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "PA", "1", "CMYK", "YCbCr"])
def test_photographs_of_eight_bits_become_rgb(tmp_path, mode):
    wanted = Image.fromarray(RGB).convert(mode)
    ending = {"CMYK": "tif", "PA": "tif", "YCbCr": "jpg"}.get(mode, "png")
    file = saved(tmp_path, f"a.{ending}", wanted)
    assert np.array_equal(read_image(file, "RGB"), np.asarray(Image.open(file).convert("RGB")))
    as_stored = read_image(file)
    assert as_stored.shape == ((6, 9) if mode == "L" else (6, 9, 3)) and as_stored.dtype == np.uint8


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_deep_pictures_are_kept_or_refused_but_never_clipped(tmp_path, dtype):
    pixels = np.arange(54).reshape(6, 9).astype(dtype) * 1000
    file = saved(tmp_path, "deep.tif", pixels)
    assert np.array_equal(read_image(file), pixels)
    with pytest.raises(ValueError, match="deep.tif is no readable image: its mode is .*, wanted 8 bits per channel"):
        read_image(file, "RGB")
    if dtype == np.float32:
        with pytest.raises(ValueError, match="deep.tif .*one channel of whole numbers"):
            read_image(file, "labels")
    else:
        assert np.array_equal(read_image(file, "labels"), pixels)


def test_other_byte_orders_are_read(tmp_path):
    header = b"MM\0*\0\0\0\x08\0\x08"
    tags = [(256, 4, 2), (257, 4, 1), (258, 3, 16 << 16), (259, 3, 1 << 16), (262, 3, 1 << 16)]
    tags += [(273, 4, 110), (278, 4, 1), (279, 4, 4)]
    body = b"".join(struct.pack(">HHII", tag, kind, 1, value) for tag, kind, value in tags) + bytes(4)
    (tmp_path / "big.tif").write_bytes((header + body).ljust(110, b"\0") + struct.pack(">HH", 1, 515))
    pixels = read_image(tmp_path / "big.tif", "labels")
    assert pixels.tolist() == [[1, 515]] and pixels.dtype == np.uint16 and pixels.dtype.isnative


def test_labels_are_indices_or_grey_values(tmp_path):
    image = Image.fromarray(np.arange(54, dtype=np.uint8).reshape(6, 9) % 5).convert("P")
    image.putpalette([0, 0, 0, 9, 9, 9, 200, 0, 0, 1, 1, 1, 2, 2, 2])
    assert np.array_equal(read_image(saved(tmp_path, "p.png", image), "labels"), np.arange(54).reshape(6, 9) % 5)
    bilevel = saved(tmp_path, "1.png", Image.fromarray(np.eye(4) > 0))
    assert np.array_equal(read_image(bilevel, "labels"), np.eye(4))
    with pytest.raises(ValueError, match="c.png .*its mode is RGB, wanted one channel of whole numbers"):
        read_image(saved(tmp_path, "c.png", RGB), "labels")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_no_number_is_an_error(tmp_path, bad):
    with pytest.raises(ValueError, match="float.tif .*some of its pixels are nan or infinite"):
        read_image(saved(tmp_path, "float.tif", np.array([[1, 2, bad]], np.float32)))


@pytest.mark.parametrize("name", ["pages.tif", "moving.gif", "moving.png", "moving.webp"])
def test_files_of_several_pictures_are_refused(tmp_path, name):
    more = [Image.fromarray(255 - RGB), Image.fromarray(RGB[::-1])]
    file = saved(tmp_path, name, RGB, save_all=True, append_images=more)
    with pytest.raises(ValueError, match=f"{name} .*it holds 3 pictures, wanted one"):
        read_image(file)


def test_of_a_telephones_photograph_with_a_preview_the_first_is_read(tmp_path):
    file = saved(tmp_path, "phone.mpo", RGB, save_all=True, append_images=[Image.fromarray(RGB[:2, :3])])
    assert read_image(file, "RGB").shape == (6, 9, 3)


TURNED = {1: RGB, 2: RGB[:, ::-1], 3: np.rot90(RGB, 2), 4: RGB[::-1], 5: RGB.swapaxes(0, 1)}
TURNED |= {6: np.rot90(RGB, -1), 7: np.rot90(RGB, 2).swapaxes(0, 1), 8: np.rot90(RGB)}


@pytest.mark.parametrize("orientation", TURNED)
def test_pictures_are_turned_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    file = saved(tmp_path, "a.png", RGB, exif=exif)
    assert np.array_equal(read_image(file, "RGB"), TURNED[orientation])


def test_an_odd_tag_ends_nothing(tmp_path):
    """A resolution given as text beside an orientation: Pillow cannot write these tags again."""
    exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + struct.pack("<HHIHH", 274, 3, 1, 6, 0) + struct.pack("<HHI", 282, 1, 1)
    file = saved(tmp_path, "bad.jpg", RGB, exif=exif + b"ab\0\0" * 2)
    assert read_image(file, "RGB").shape == (9, 6, 3)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "BMP", "GIF"])
@pytest.mark.filterwarnings("ignore")
def test_any_broken_bytes_lead_to_a_named_error(tmp_path, format):
    rng = np.random.default_rng(1)
    Image.fromarray(RGB).save(whole := io.BytesIO(), format)
    for cut in [0] * 25 + [30]:
        content = bytearray(whole.getvalue())[: len(whole.getvalue()) - cut]
        for place in rng.integers(0, len(content), 4):
            content[place] = rng.integers(256)
        (tmp_path / "odd.img").write_bytes(content)
        try:
            assert read_image(tmp_path / "odd.img").ndim in (2, 3)
        except (ValueError, OSError) as error:
            assert "odd.img" in str(error)


GREY, VIRIDIS = np.zeros((4, 6), np.uint8), np.full((4, 6, 3), (68, 1, 84), np.uint8)
LAYOUT = {
    StanfordBackground: ("train/a.jpg", RGB[:4, :6], "train/a.png", GREY, "a"),
    YeastColonies: ("train_input/a_input.png", VIRIDIS, "train_mask/a_mask.png", VIRIDIS, "a"),
    YeastMovie: ("im000_channel1_phase.tif", GREY + np.uint16(300), "im000_mask1.tif", GREY, "im000"),
    PennFudan: ("PNGImages/a.png", RGB[:4, :6], "PedMasks/a_mask.png", GREY, "a"),
    MSRC: ("Images/a.png", RGB[:4, :6], "GroundTruth/a_GT.png", RGB[:4, :6] * 0, "a"),
}


@pytest.mark.parametrize("cls", LAYOUT)
@pytest.mark.parametrize("which", ["image", "mask"])
def test_wrong_kinds_sizes_and_broken_files_are_named(tmp_path, monkeypatch, cls, which):
    """A 16-bit grey image among scenes was clipped; here every loader refuses what is not its own kind."""
    image, pixels, mask, labels, name = LAYOUT[cls]
    folder, file = tmp_path / cls.name, tmp_path / cls.name / (image if which == "image" else mask)
    monkeypatch.setattr(cls, "sample_names", lambda self: [name])
    for path in (image, mask):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
    saved(folder, image, pixels), saved(folder, mask, labels)
    assert len(cls(tmp_path)) == 1
    saved(folder, mask, labels[:3])
    with pytest.raises(ValueError, match=rf"image .* and mask .* differ in size: .*{image}.*{mask}"):
        cls(tmp_path)
    saved(folder, mask, labels)
    wrong = RGB[:4, :6] if cls is YeastMovie or which == "mask" else np.full((4, 6), 60_000, np.uint16)
    Image.fromarray(wrong).save(file, "TIFF")
    with pytest.raises(ValueError, match=str(file)):
        cls(tmp_path)
    for content in (file.read_bytes()[:40], b"\x89PNG\r\n\x1a\n", b"II*\0", b"text", b""):
        file.write_bytes(content)
        with pytest.raises((ValueError, OSError), match=str(file)):
            cls(tmp_path)
