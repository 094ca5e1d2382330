"""Labels lie where their image lies: a ramp in the image and the same ramp in the mask stay the same ramp."""

import numpy as np
import PIL.Image
import pytest
import torch
from torch.nn import functional as F
from torchvision import tv_tensors
from torchvision.transforms import v2

from cvf20 import transforms as T
from cvf20.datasets.weight_maps import WeightMap
from cvf20.labels import VOID

MOVES = {
    "resize": T.Resize((97, 131)),
    "half": T.Resize((112, 144)),
    "quarter": T.Resize((56, 72)),
    "larger": T.Resize((301, 400)),
    "scale": T.ScaleInto((150, 150)),
    "crop": T.RandomResizedCrop((128, 160), (0.1, 1.0), antialias=True),
    "crop to half": T.RandomResizedCrop((56, 72), (0.25, 0.25), (9 / 7, 9 / 7), antialias=True),
    "rare": T.RareClassCrop((128, 160), torch.ones(VOID)),
    "foreground": T.RandomForegroundCrop((128, 160)),
    "turn": T.RandomQuarterTurn(),
    "flip": v2.RandomHorizontalFlip(1.0),
    "pad": T.PadTo((240, 300)),
    "rotate": T.RandomWarp(degrees=180.0),
    "deform": T.RandomWarp(displacement=4.0),
    "all": T.train_transforms((128, 160), (0,), (1,), quarter_turns=True, degrees=180.0, displacement=4.0, fill="void"),
    "scaled and padded": v2.Compose([T.ScaleInto((150, 150)), T.PadTo((160, 160))]),
}


def ramps(axis, height=224, width=288):
    """Image (float), instance mask and weight map that hold the row's or the column's number; before them classes."""
    number = torch.arange((height, width)[axis])
    ramp = number[:, None].expand(height, width) if axis == 0 else number.expand(height, width)
    return (
        tv_tensors.Image(ramp[None].float() / 1000),
        tv_tensors.Mask(torch.zeros(height, width, dtype=torch.uint8)),
        tv_tensors.Mask(ramp.to(torch.int32) + 1000),  # beyond 255: instances, and void stays apart
        WeightMap(ramp.float() + 1000),
    )


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", MOVES)
def test_image_mask_and_weights_get_the_same_geometry_to_a_tenth_of_a_pixel(name, axis):
    differences = []
    for seed in range(6):
        torch.manual_seed(seed)
        image, classes, instances, weights = MOVES[name](*ramps(axis))
        assert type(weights) is WeightMap and instances.shape == weights.shape == image.shape[-2:]
        inside = (instances >= 1004) & (instances < (1220, 1284)[axis])  # nothing mirrored, nothing of a black corner
        edge = F.max_pool2d(((classes == VOID) | ~inside).float()[None], 9, 1, 4)[0] > 0
        kept = ~edge[:, 4:-4]
        kept[:4], kept[-4:] = False, False
        kept = F.pad(kept, (4, 4))
        position = 1000 * image[0].as_subclass(torch.Tensor)
        for labels in (instances, weights):
            difference = (labels.as_subclass(torch.Tensor) - 1000 - position)[kept]
            assert difference.abs().max() <= (1.6 if name == "all" else 0.51), "nearest, and rounded once or twice"
            differences.append(difference.mean())
    assert abs(float(torch.stack(differences).mean())) < 0.1


@pytest.mark.parametrize("size", [(13, 29), (31, 17), (64, 48), (7, 100), (20, 33), (1, 1)])
def test_a_resized_mask_is_torchs_exact_nearest_neighbour(size):
    """Where no centre falls between two pixels; there, each of the two is as near as the other."""
    mask = torch.randint(0, 9, (3, 20, 33))
    ours, theirs = T.resize_mask(mask, size), F.interpolate(mask[None].float(), size, mode="nearest-exact")[0].long()
    centres = [(np.arange(wanted) + 0.5) * found / wanted for found, wanted in zip((20, 33), size, strict=True)]
    rows, columns = (torch.from_numpy(c != np.round(c)) for c in centres)
    assert ours[:, rows][..., columns].equal(theirs[:, rows][..., columns])
    assert ours.dtype == mask.dtype and T.resize_mask(mask, (20, 33)).equal(mask)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64, torch.bool, torch.float32])
def test_halving_takes_the_pixels_before_and_after_in_turn(dtype):
    row = torch.arange(12)
    assert T.resize_mask(row.expand(2, 12).to(dtype), (1, 6)).tolist() == [row[[0, 3, 4, 7, 8, 11]].to(dtype).tolist()]


@pytest.mark.parametrize("name", [*MOVES, "image only", "touching"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_pil_images_are_moved_as_tensors_are(name, mode):
    move = (MOVES | {"image only": T.ResizeImage((50, 60)), "touching": T.SeparateTouching()})[name]
    pixels = np.random.default_rng(0).integers(0, 256, (224, 288, 3), dtype=np.uint8)[..., : 3 if mode == "RGB" else 1]
    picture = PIL.Image.fromarray(pixels.squeeze(), mode)
    mask = tv_tensors.Mask(torch.randint(0, 3, (224, 288), dtype=torch.uint8))
    torch.manual_seed(0)
    moved, labels = move(picture, mask)
    torch.manual_seed(0)
    image, wanted = move(tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1).contiguous()), mask)
    assert labels.equal(wanted)
    if name != "all":
        assert isinstance(moved, PIL.Image.Image) and moved.mode == mode
        moved = v2.functional.pil_to_tensor(moved)
    # torchvision resizes PIL images with Pillow's own filter
    assert moved.shape == image.shape and (moved.float() - image.float()).abs().max() <= 2
