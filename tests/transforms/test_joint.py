"""Laws of the joint augmentation: one geometry for image and mask, no invented labels, nothing at zero strength."""

import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from cvf20.labels import VOID
from cvf20.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    NormalizeImage,
    RandomForegroundCrop,
    RandomQuarterTurn,
    RandomWarp,
    channel_statistics,
    eval_transforms,
    to_input,
    train_transforms,
)

GREY_LEVELS = {"mean": (0.0,), "std": (1 / 255,)}  # "normalises" a uint8 image to its own grey levels
LABELS = (0, 3, 8)


def ramps(height, width):
    """Image and mask that both hold the column's number, and the same with the row's: what a warp did can be read off."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    for ramp in (columns.to(torch.uint8), rows.to(torch.uint8)):
        yield tv_tensors.Image(ramp[None].clone()), tv_tensors.Mask(ramp.clone())


def blobs(*shape, seed=0):
    """A random image and a mask of a few labels in blocks."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (3, *shape), dtype=torch.uint8, generator=generator)
    blocks = torch.randint(0, len(LABELS), [-(-size // 5) for size in shape], generator=generator)
    labels = torch.tensor(LABELS, dtype=torch.uint8)[blocks]
    mask = labels.repeat_interleave(5, 0).repeat_interleave(5, 1)[: shape[0], : shape[1]]
    return tv_tensors.Image(image), tv_tensors.Mask(mask.contiguous())


def pixels(*tensors):
    """Everything in the tensors, hashable."""
    return tuple((tuple(tensor.shape), *tensor.flatten().tolist()) for tensor in tensors)


@pytest.mark.parametrize("shape", [(96, 96), (60, 110)])
@pytest.mark.parametrize(
    "choices",
    [
        {"crop": (0.25, 0.6), "flip": 0.0},
        {"crop": (1.0, 1.0), "flip": 1.0},
        {"crop": (1.0, 1.0), "quarter_turns": True},
        {"crop": (1.0, 1.0), "degrees": 180.0},
        {"crop": (1.0, 1.0), "displacement": 4.0},
        {"crop": (0.4, 1.0), "quarter_turns": True, "degrees": 180.0, "displacement": 4.0},
    ],
    ids=lambda choices: "+".join(choices),
)
def test_image_and_mask_get_the_same_geometry(shape, choices):
    """Both hold the same ramp: the nearest value differs from the interpolated one by little more than half a step."""
    transforms = train_transforms(shape, **GREY_LEVELS, **choices)
    for seed in range(5):
        for ramp in ramps(*shape):
            torch.manual_seed(seed)
            image, mask = transforms(*ramp)
            assert image.shape == (1, *shape) and mask.shape == shape
            # one interpolation is off by 0.5, and rounding of the warped image and the second resampling add to it
            assert (image[0] - mask).abs().max() <= 2.1


@pytest.mark.parametrize("fill, allowed", [("reflect", {*LABELS}), ("void", {*LABELS, VOID})])
def test_masks_keep_their_labels_or_become_void(fill, allowed):
    image, mask = blobs(40, 56)
    transforms = train_transforms(
        (32, 48), crop=(0.3, 1.0), quarter_turns=True, degrees=180.0, displacement=5.0, colour=0.3, fill=fill
    )
    seen = set()
    for seed in range(12):
        torch.manual_seed(seed)
        seen |= set(transforms(image, mask)[1].unique().tolist())
    assert seen == allowed


@pytest.mark.parametrize("fill", ["reflect", "void"])
@pytest.mark.parametrize("shape", [(31, 47), (64, 64)])
def test_zero_strength_changes_nothing(shape, fill):
    image, mask = blobs(*shape)
    same_image, same_mask = RandomWarp(fill=fill)(image, mask)
    assert same_image.equal(image) and same_mask.equal(mask)
    image_out, mask_out = train_transforms(shape, (0.0,) * 3, (1 / 255,) * 3, crop=(1.0, 1.0), flip=0.0)(image, mask)
    torch.testing.assert_close(image_out.as_subclass(torch.Tensor), image.float().as_subclass(torch.Tensor))
    assert mask_out.equal(mask.long())


def test_a_quarter_turn_four_times_is_the_identity():
    turn = RandomQuarterTurn()
    image, mask = blobs(24, 24)
    turned = image
    for _ in range(4):
        turned = turn.transform(turned, {"turns": 1})
        assert isinstance(turned, tv_tensors.Image)
    assert turned.equal(image)
    torch.manual_seed(0)
    drawn = {pixels(*turn(image, mask)) for _ in range(60)}
    assert drawn == {pixels(image.rot90(turns, (-2, -1)), mask.rot90(turns, (-2, -1))) for turns in range(4)}


@pytest.mark.parametrize("shape", [(101, 101), (80, 151)])
def test_rotation_keeps_the_distance_from_the_centre(shape):
    """Also where the image is not square: angles are angles in pixels."""
    rows, columns = torch.meshgrid(*(torch.arange(size) - (size - 1) / 2 for size in shape), indexing="ij")
    distance = torch.hypot(rows, columns)
    inside = distance < min(shape) / 2 - 2
    moved = 0
    for seed in range(4):
        torch.manual_seed(seed)
        out = RandomWarp(degrees=180.0)(tv_tensors.Image(distance[None].clone()))[0]
        assert (out - distance)[inside].abs().max() < 0.5
        torch.manual_seed(seed)
        column = RandomWarp(degrees=180.0)(tv_tensors.Image(columns[None].clone()))[0]
        moved = max(moved, float((column - columns)[inside].abs().max()))
    assert moved > 10


@pytest.mark.parametrize("shape", [(256, 256), (120, 400)])
def test_displacement_is_in_pixels_on_both_axes(shape):
    """Bicubic interpolation between the grid's points keeps most of their spread; a step of the image stays smooth."""
    identity = RandomWarp().make_params([tv_tensors.Mask(torch.zeros(shape))])["grid"]
    pixels = torch.tensor([shape[1], shape[0]]) / 2
    spread, steepest = [], []
    for seed in range(10):
        torch.manual_seed(seed)
        grid = RandomWarp(displacement=4.0).make_params([tv_tensors.Mask(torch.zeros(shape))])["grid"]
        shift = (grid - identity)[0] * pixels
        spread.append(shift.square().mean((0, 1)).sqrt())
        steepest.append(shift.diff(dim=0).abs().max())
    mean_spread = torch.stack(spread).mean(0)
    assert ((mean_spread > 0.6 * 4) & (mean_spread < 1.1 * 4)).all()
    assert max(steepest) < 1, "neighbours would change places"


def test_opened_corners_are_reflected_or_void():
    image = tv_tensors.Image(torch.full((3, 60, 90), 200, dtype=torch.uint8))
    mask = tv_tensors.Mask(torch.full((60, 90), 7, dtype=torch.uint8))
    torch.manual_seed(1)  # draws 46°
    reflected_image, reflected_mask = RandomWarp(degrees=90.0)(image, mask)
    assert reflected_image.equal(image) and reflected_mask.equal(mask)
    torch.manual_seed(1)
    void_image, void_mask = RandomWarp(degrees=90.0, fill="void")(image, mask)
    outside = void_mask == VOID
    assert outside[0, 0] and outside[-1, -1] and not outside[30, 45]
    assert (void_image[:, outside] <= 100).all(), "where the mask is void, at least half of the pixel lies outside"
    assert (void_image[:, ~outside] >= 100).float().mean() > 0.99
    assert (void_mask[~outside] == 7).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 2), (33, 65), (130, 31)])
@pytest.mark.parametrize("fill", ["reflect", "void"])
def test_any_shape_works(shape, fill):
    warp = RandomWarp(degrees=180.0, displacement=4.0, fill=fill)
    for lead in ((), (1,), (3,), (2, 3)):
        image = tv_tensors.Image(torch.zeros(*(lead or (1,)), *shape, dtype=torch.uint8))
        mask = tv_tensors.Mask(torch.zeros(*lead, *shape, dtype=torch.uint8))
        out_image, out_mask = warp(image, mask)
        assert (out_image.shape, out_mask.shape) == (image.shape, mask.shape)
        assert isinstance(out_image, tv_tensors.Image) and isinstance(out_mask, tv_tensors.Mask)
        assert out_image.dtype == out_mask.dtype == torch.uint8


def test_input_is_normalised_float_with_integer_labels():
    image, mask = blobs(12, 15)
    for transforms in (to_input(), eval_transforms(), eval_transforms((12, 15))):
        out_image, out_mask = transforms(image, mask)
        wanted = (image.numpy() / 255 - np.reshape(IMAGENET_MEAN, (3, 1, 1))) / np.reshape(IMAGENET_STD, (3, 1, 1))
        assert out_image.dtype == torch.float32 and out_mask.dtype == torch.int64
        np.testing.assert_allclose(out_image.numpy(), wanted, atol=1e-5)
        assert out_mask.equal(mask.long())


def test_evaluation_keeps_the_labels_at_their_own_size():
    """Scores are taken at full resolution, whatever size the network sees."""
    image, mask = blobs(12, 15)
    small_image, same_mask = eval_transforms((6, 9))(image, mask)
    assert small_image.shape == (3, 6, 9)
    assert same_mask.equal(mask.long())


def test_pil_images_become_input_too():
    image, mask = blobs(12, 15)
    picture = v2.functional.to_pil_image(image)
    torch.testing.assert_close(to_input()(picture, mask)[0], to_input()(image, mask)[0])


class Few:
    def __init__(self, images):
        self.images = images


def test_channel_statistics_are_those_of_all_pixels():
    images = [torch.randint(0, 256, (2, 5 + i, 7), dtype=torch.uint8) for i in range(4)]  # of unequal sizes
    mean, std = channel_statistics(Few(images))
    pixels = np.concatenate([image.numpy().reshape(2, -1) for image in images], axis=1) / 255
    np.testing.assert_allclose(mean, pixels.mean(1), rtol=1e-9)
    np.testing.assert_allclose(std, pixels.std(1), rtol=1e-9)
    halves = Few([torch.full((1, 4, 4), 0.5), np.full((1, 2, 2), 0.5, np.float32)])
    assert channel_statistics(halves) == ((0.5,), (0.0,)), "float images are taken as they are"
    normalised = torch.cat([to_input(mean, std)(tv_tensors.Image(image)).flatten(1) for image in images], 1)
    torch.testing.assert_close(normalised.mean(1), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalised.std(1, correction=0), torch.ones(2), atol=1e-5, rtol=0)


# --- crops around the foreground --------------------------------------------------------------------------------------


def pixel_and_frame(row, column, size=(20, 30)):
    """A mask with one foreground pixel, and an image that holds the same."""
    mask = torch.zeros(size, dtype=torch.uint8)
    mask[row, column] = 1
    return tv_tensors.Image(mask[None].clone()), tv_tensors.Mask(mask)


@pytest.mark.parametrize("place", [(0, 0), (19, 29), (10, 15), (0, 29)])
def test_a_foreground_crop_always_shows_foreground(place):
    """Wherever the only pixel lies, it is in the crop, at many places of it, and image and mask agree."""
    crop, seen = RandomForegroundCrop((8, 6)), set()
    for _ in range(40):
        image, mask = crop(*pixel_and_frame(*place))
        assert image.shape == (1, 8, 6) and mask.shape == (8, 6)
        assert mask.sum() == 1 and torch.equal(image[0], mask)
        seen.add(tuple(mask.nonzero()[0].tolist()))
    assert len(seen) > 5 or place != (10, 15)  # a corner of the image stays one of the crop


@pytest.mark.parametrize("anywhere", [0.0, 0.5, 1.0])
def test_some_crops_may_lie_anywhere(anywhere):
    """One foreground pixel in a corner: a crop of a quarter of the image shows it by chance in few cases."""
    crop = RandomForegroundCrop((10, 15), anywhere)
    shown = sum(int(crop(*pixel_and_frame(0, 0))[1].sum()) for _ in range(200)) / 200
    assert abs(shown - (1 - anywhere)) < 0.12


def test_a_crop_larger_than_the_image_is_an_error():
    with pytest.raises(ValueError, match=r"image of size \(20, 30\).*\(24, 6\)"):
        RandomForegroundCrop((24, 6))(*pixel_and_frame(0, 0))


# --- normalisation by the image's own values --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["standard", "median", "background", "percentile"])
def test_own_normalisation_undoes_an_offset_and_leaves_masks(kind):
    """The brightness of the lamp does not matter; for standard and percentile its strength neither."""
    torch.manual_seed(0)
    image, mask = tv_tensors.Image(torch.rand(1, 40, 48)), tv_tensors.Mask(torch.randint(2, (40, 48)))
    normalize = NormalizeImage(kind)
    once, same_mask = normalize(image, mask)
    assert torch.equal(same_mask, mask)
    assert torch.allclose(normalize(image + 3.0), once, atol=1e-4)
    scaled = normalize(5 * image)
    factor = 1 if kind in ("standard", "percentile") else 5
    assert torch.allclose(scaled, factor * once, atol=1e-3)


def test_own_normalisation_has_the_values_it_promises():
    torch.manual_seed(0)
    image = tv_tensors.Image(torch.rand(2, 40, 48))
    standard, median, percentile = (NormalizeImage(kind)(image) for kind in ("standard", "median", "percentile"))
    assert torch.allclose(standard.mean((1, 2)), torch.zeros(2), atol=1e-5)
    assert torch.allclose(standard.std((1, 2)), torch.ones(2), atol=1e-5)
    assert torch.allclose(median.flatten(1).median(1).values, torch.zeros(2), atol=1e-6)
    assert percentile.min() == 0 and percentile.max() == 1


def test_background_subtraction_removes_a_slope_and_keeps_small_things():
    slope = torch.linspace(0, 1, 128).expand(1, 96, 128).clone()
    cell = torch.zeros(1, 96, 128)
    cell[:, 40:48, 60:68] = 1
    flat = NormalizeImage("background")(tv_tensors.Image(slope + cell)).as_subclass(torch.Tensor)
    inside = flat[:, 20:-20, 20:-20]
    assert (inside - cell[:, 20:-20, 20:-20]).abs().max() < 0.1
