"""Laws of the joint augmentation: one geometry for image and mask, no invented labels, nothing at zero strength."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from cvf20 import transforms as T
from cvf20.labels import VOID

LABELS = (0, 3, 8)


def blobs(*shape, seed=0):
    """A random image and a mask of a few labels in blocks."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (3, *shape), dtype=torch.uint8, generator=generator)
    blocks = torch.randint(0, len(LABELS), [-(-size // 5) for size in shape], generator=generator)
    labels = torch.tensor(LABELS, dtype=torch.uint8)[blocks]
    mask = labels.repeat_interleave(5, 0).repeat_interleave(5, 1)[: shape[0], : shape[1]]
    return tv_tensors.Image(image), tv_tensors.Mask(mask.contiguous())


@pytest.mark.parametrize("fill, allowed", [("reflect", {*LABELS}), ("void", {*LABELS, VOID})])
def test_masks_keep_their_labels_or_become_void(fill, allowed):
    image, mask = blobs(40, 56)
    strong = {"crop": (0.3, 1.0), "quarter_turns": True, "degrees": 180.0, "displacement": 5.0, "colour": 0.3}
    transforms = T.train_transforms((32, 48), **strong, fill=fill)
    assert {label for _ in range(12) for label in transforms(image, mask)[1].unique().tolist()} == allowed


@pytest.mark.parametrize("fill", ["reflect", "void"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (31, 47), (130, 31)])
def test_zero_strength_changes_nothing_and_any_shape_works(shape, fill):
    image, mask = blobs(*shape)
    nothing = T.train_transforms(shape, (0.0,) * 3, (1 / 255,) * 3, crop=(1.0, 1.0), flip=0.0)
    for transforms in (T.RandomWarp(fill=fill), nothing):
        same_image, same_mask = transforms(image, mask)
        torch.testing.assert_close(same_image, image, check_dtype=False)
        assert same_mask.equal(mask.to(same_mask.dtype))
    stack = tv_tensors.Mask(mask.expand(2, 3, *shape))
    for before, after in zip((image, stack), T.RandomWarp(180.0, 4.0, fill)(image, stack), strict=True):
        assert (after.shape, after.dtype, type(after)) == (before.shape, torch.uint8, type(before))


def test_quarter_turns_are_the_four_of_them():
    (image, mask), seen = blobs(24, 24), set()
    for _ in range(40):
        turned, labels = T.RandomQuarterTurn()(image, mask)
        (turns,) = (k for k in range(4) if turned.equal(image.rot90(k, (-2, -1))))
        assert labels.equal(mask.rot90(turns, (-2, -1))) and isinstance(turned, tv_tensors.Image)
        seen.add(turns)
    assert seen == {0, 1, 2, 3}


@pytest.mark.parametrize("shape", [(101, 101), (80, 151)])
def test_rotation_keeps_the_distance_from_the_centre(shape):
    """Also where the image is not square: angles are angles in pixels."""
    rows, columns = torch.meshgrid(*(torch.arange(size) - (size - 1) / 2 for size in shape), indexing="ij")
    distance = torch.hypot(rows, columns)
    inside, moved = distance < min(shape) / 2 - 2, 0
    for _ in range(4):
        out, column = T.RandomWarp(degrees=180.0)(tv_tensors.Image(torch.stack([distance, columns])))
        assert (out - distance)[inside].abs().max() < 0.5
        moved = max(moved, float((column - columns)[inside].abs().max()))
    assert moved > 10


@pytest.mark.parametrize("shape", [(256, 256), (120, 400)])
def test_displacement_is_in_pixels_on_both_axes(shape):
    """Bicubic interpolation between the grid's points keeps most of their spread; a step of the image stays smooth."""
    mask, pixels = [tv_tensors.Mask(torch.zeros(shape))], torch.tensor([shape[1], shape[0]]) / 2
    identity = T.RandomWarp().make_params(mask)["grid"]
    grids = [T.RandomWarp(displacement=4.0).make_params(mask)["grid"] for _ in range(10)]
    shift = torch.cat(grids).sub(identity) * pixels
    spread = shift.square().mean((1, 2)).sqrt().mean(0)
    assert ((spread > 0.6 * 4) & (spread < 1.1 * 4)).all()
    assert shift.diff(dim=1).abs().max() < 1, "neighbours would change places"


def test_opened_corners_are_reflected_or_void():
    image = tv_tensors.Image(torch.full((3, 60, 90), 200, dtype=torch.uint8))
    mask = tv_tensors.Mask(torch.full((60, 90), 7, dtype=torch.uint8))
    reflected = T.RandomWarp(degrees=90.0)(image, mask)
    assert reflected[0].equal(image) and reflected[1].equal(mask)
    torch.manual_seed(1)  # draws 46°
    void_image, void_mask = T.RandomWarp(degrees=90.0, fill="void")(image, mask)
    outside = void_mask == VOID
    assert outside[0, 0] and outside[-1, -1] and not outside[30, 45] and (void_mask[~outside] == 7).all()
    assert (void_image[:, outside] <= 100).all(), "where the mask is void, at least half of the pixel lies outside"
    assert (void_image[:, ~outside] >= 100).float().mean() > 0.99


def test_input_is_normalised_float_with_integer_labels():
    image, mask = blobs(12, 15)
    wanted = (image.numpy() / 255 - np.reshape(T.IMAGENET_MEAN, (3, 1, 1))) / np.reshape(T.IMAGENET_STD, (3, 1, 1))
    for transforms in (T.to_input(), T.eval_transforms(), T.eval_transforms((12, 15)), T.eval_transforms((6, 9))):
        out_image, out_mask = transforms(image, mask)
        assert out_image.dtype == torch.float32 and out_mask.dtype == torch.int64
        assert out_mask.equal(mask.long()), "scores are taken at full resolution, whatever size the network sees"
        if out_image.shape == image.shape:
            np.testing.assert_allclose(out_image.numpy(), wanted, atol=1e-5)
    assert out_image.shape == (3, 6, 9)


def test_channel_statistics_are_those_of_all_pixels():
    images = [torch.randint(0, 256, (2, 5 + i, 7), dtype=torch.uint8) for i in range(4)]  # of unequal sizes
    mean, std = T.channel_statistics(SimpleNamespace(images=images))
    pixels = np.concatenate([image.numpy().reshape(2, -1) for image in images], axis=1) / 255
    np.testing.assert_allclose((mean, std), (pixels.mean(1), pixels.std(1)), rtol=1e-9)
    halves = [torch.full((1, 4, 4), 0.5), np.full((1, 2, 2), 0.5, np.float32)]
    assert T.channel_statistics(SimpleNamespace(images=halves)) == ((0.5,), (0.0,)), "floats are taken as they are"


def only_pixel(row, column):
    """A mask with one foreground pixel, and an image that holds the same."""
    mask = torch.zeros(20, 30, dtype=torch.uint8)
    mask[row, column] = 1
    return tv_tensors.Image(mask[None].clone()), tv_tensors.Mask(mask)


@pytest.mark.parametrize("place", [(0, 0), (10, 15), (0, 29)])
def test_a_foreground_crop_always_shows_foreground(place):
    """Wherever the only pixel lies, it is in the crop, at many places of it, and image and mask agree."""
    crop, seen = T.RandomForegroundCrop((8, 6)), set()
    for _ in range(40):
        image, mask = crop(*only_pixel(*place))
        assert image.shape == (1, 8, 6) and mask.sum() == 1 and torch.equal(image[0], mask)
        seen.add(tuple(mask.nonzero()[0].tolist()))
    assert len(seen) > 5 or place != (10, 15)  # a corner of the image stays one of the crop


def test_some_crops_may_lie_anywhere():
    """One foreground pixel in a corner: a crop of a quarter of the image shows it by chance in few cases."""
    for anywhere in (0.5, 1.0):
        crop = T.RandomForegroundCrop((10, 15), anywhere)
        shown = sum(int(crop(*only_pixel(0, 0))[1].sum()) for _ in range(200)) / 200
        assert abs(shown - (1 - anywhere)) < 0.12
    with pytest.raises(ValueError, match=r"image of size \(20, 30\).*\(24, 6\)"):
        T.RandomForegroundCrop((24, 6))(*only_pixel(0, 0))


@pytest.mark.parametrize("kind", ["standard", "median", "background", "percentile"])
def test_own_normalisation_undoes_an_offset_and_leaves_masks(kind):
    """The brightness of the lamp does not matter; for standard and percentile its strength neither."""
    image, mask = tv_tensors.Image(torch.rand(2, 40, 48)), tv_tensors.Mask(torch.randint(2, (40, 48)))
    normalize = T.NormalizeImage(kind)
    once, same_mask = normalize(image, mask)
    assert torch.equal(same_mask, mask)
    assert torch.allclose(normalize(image + 3.0), once, atol=1e-4)
    factor = 1 if kind in ("standard", "percentile") else 5
    assert torch.allclose(normalize(5 * image), factor * once, atol=1e-3)
    values = once.as_subclass(torch.Tensor).flatten(1)
    middle = {"standard": values.mean(1), "median": values.median(1).values, "percentile": values.amin(1)}
    assert middle.get(kind, torch.zeros(1)).abs().max() < 1e-6


def test_background_subtraction_removes_a_slope_and_keeps_small_things():
    slope, cell = torch.linspace(0, 1, 128).expand(1, 96, 128), torch.zeros(1, 96, 128)
    cell[:, 40:48, 60:68] = 1
    flat = T.NormalizeImage("background")(tv_tensors.Image(slope + cell)).as_subclass(torch.Tensor)
    assert (flat - cell)[:, 20:-20, 20:-20].abs().max() < 0.1
