"""`explainit`: costs add up; receptive fields follow the textbook and equal the gradients' extent."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cvf20.models import BaseConv, LightDecoderModel, UNet, mask_rcnn
from cvf20.models.case_study import CASE_STUDY, ConvolutionalNet, FlattenNet
from cvf20.models.your_models import AttentionUNet, HalfResolutionUNet, ResidualUNet
from cvf20.show.explain import explainit

CHANNELS = (4, 6, 8)


class PlainUNet(nn.Module):
    """A U-Net with its own forward: joins and interpolates with functions, not modules."""

    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList([nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 4, 3, padding=1)])
        self.pool = nn.MaxPool2d(2)
        self.base = nn.Conv2d(4, 4, 3, padding=1)
        self.up = nn.ModuleList([nn.Conv2d(4, 1, 3, padding=1), nn.Conv2d(8, 2, 3, padding=1)])

    def forward(self, x):
        a = self.down[0](x).relu()
        b = self.down[1](F.max_pool2d(a, 2)).relu()
        c = F.interpolate(self.base(self.pool(b)), scale_factor=2.0)
        d = self.up[1](torch.cat([c, b], dim=1)).relu()
        return self.up[0](torch.cat([F.interpolate(d, scale_factor=2.0, mode="bilinear"), a], dim=1))


class Cropping(nn.Conv2d):
    """Cuts the border off, counted from both ends, and takes every second column."""

    def forward(self, x):
        return super().forward(x[..., 2:-3, -15:])[..., ::2]


def receptive_field(*layers):
    network = nn.Sequential(*layers)
    first = next(layer for layer in layers if hasattr(layer, "in_channels"))
    return explainit(network, (first.in_channels, *[64] * len(first.kernel_size))).receptive_field


def unet(depth=2, **options):
    return UNet(depth, 1, 2, 2, **options)


@pytest.mark.parametrize("n", range(1, 6))
def test_receptive_field_follows_the_textbook(n):
    """n 3×3 convolutions see 2n + 1; behind a stride s every tap adds s; dilation d widens the kernel."""
    assert receptive_field(nn.Conv2d(3, 4, 5), nn.Conv2d(4, 4, 5)) == (9, 9)
    assert receptive_field(*[nn.Conv2d(1, 1, 3)] * n) == (2 * n + 1,) * 2
    assert receptive_field(nn.MaxPool2d(3), *[nn.Conv2d(1, 1, 3)] * n) == (3 + 3 * 2 * n,) * 2
    assert receptive_field(nn.Conv2d(1, 1, (1, 3), dilation=n)) == (1, 2 * n + 1)
    assert receptive_field(*[nn.Conv1d(1, 1, 3, stride=2)] * n) == (2 ** (n + 1) - 1,)
    assert receptive_field(nn.ConvTranspose1d(1, 1, n, 3)) == (math.ceil(n / 3),)
    assert receptive_field(*[nn.Conv1d(1, 1, 3, padding=1)] * 80 * n) == (2 * 80 * n + 1,)  # beyond the image


NETWORKS = {
    "base": (lambda: BaseConv(1, 2, (2, 2, 2)), (1, 20, 17)),
    "strided and dilated": (lambda: nn.Sequential(nn.Conv2d(1, 2, 3, 2, 1), nn.Conv2d(2, 2, 3, 1, 2, 2)), (1, 30, 25)),
    "transposed": (lambda: nn.Sequential(nn.Conv2d(1, 1, 3, 2), nn.ConvTranspose2d(1, 1, 3, 2)), (1, 19, 22)),
    "gaps": (lambda: nn.Sequential(nn.Conv2d(1, 1, 3, 3), nn.ConvTranspose2d(1, 1, 4, 3, 1)), (1, 20, 20)),
    "padded pool": (lambda: nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.Conv2d(1, 1, 3)), (1, 21, 24)),
    "linear ×3": (lambda: nn.Sequential(nn.MaxPool2d(3), nn.Upsample(scale_factor=3, mode="bilinear")), (1, 21, 24)),
    "plain": (PlainUNet, (1, 40, 36)),
    "U-Net": (lambda: unet(norm_type="batch"), (1, 46, 37)),
    "bilinear U-Net": (lambda: unet(upsampling="bilinear"), (1, 46, 37)),
    "transposed U-Net": (lambda: unet(upsampling="transposed"), (1, 46, 37)),
    "cropping": (lambda: Cropping(1, 1, 3), (1, 20, 24)),
    "index": (lambda: unet(downsampling="index", upsampling="index"), (1, 41, 46)),
    "stride": (lambda: unet(downsampling="stride"), (1, 41, 46)),
    "residual sum": (lambda: ResidualUNet(2, 1, 2, 2, merge="sum", norm_type="instance", dropout=0.2), (1, 48, 40)),
    "reflect": (lambda: nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(1, 1, 5, 1, 2, padding_mode="reflect")), (1, 20, 20)),
    "1D": (lambda: unet(3, dim=1, upsampling="bilinear"), (1, 150)),
    "3D": (lambda: unet(1, dim=3, upsampling="transposed"), (1, 18, 16, 20)),
    "mixed factors": (lambda: unet(scale_factor=[(2, 1), 3]), (1, 60, 40)),
    "sigmoid": (lambda: unet(final_activation="sigmoid"), (1, 41, 46)),
    "half resolution": (lambda: HalfResolutionUNet(1, 1, 2, 2), (1, 60, 64)),
    "attention": (lambda: AttentionUNet(1, 1, 2, 2), (1, 41, 46)),
    "light decoder": (lambda: LightDecoderModel(2, width=8), (3, 64, 64)),  # a mean: every output sees everything
    "flatten": (FlattenNet, (1, 96, 96)),
    "1×1": (ConvolutionalNet, (1, 96, 96)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_receptive_field_equals_the_gradients_extent(name):
    build, shape = NETWORKS[name]
    explanation = explainit(build(), shape)
    assert explanation.receptive_field == explanation.measured


def test_no_border_cuts_a_window_but_what_reads_all_sees_the_image():
    for head in ([nn.Flatten(), nn.Linear(2 * 6 * 8, 3)], [nn.AdaptiveAvgPool2d(1)]):
        network = nn.Sequential(nn.Conv2d(1, 2, 9, padding=4), *head)
        explanation = explainit(network, (1, 6, 8))
        assert [row.receptive_field for row in (explanation.table[0], explanation.table[-1])] == [(9, 9), (6, 8)]


def test_networks_that_move_positions_are_found_out():
    class Mirrored(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) + super().forward(x.flip(-1))

    explanation = explainit(Mirrored(1, 1, 3, padding=1), (1, 16, 16))
    assert explanation.receptive_field != explanation.measured and "DISAGREE" in explanation.summary


@pytest.mark.parametrize("name", ["base", "plain", "transposed U-Net", "stride", "1D", "3D", "flatten"])
def test_costs_add_up(name):
    build, shape = NETWORKS[name]
    model = build().eval()
    explanation = explainit(model, shape)
    assert explanation.parameters == sum(p.numel() for p in model.parameters())
    for table in (explanation.table, explanation.layers):
        assert sum(row.multiply_adds for row in table) == explanation.multiply_adds
        assert sum(row.parameters for row in table) == explanation.parameters


def test_table_has_a_row_per_block_with_its_shapes():
    explanation = explainit(UNet(2, 3, 9, CHANNELS, norm_type="batch"), (3, 64, 80))
    rows = {row.name: row for row in explanation.table}
    blocks = [f"{kind}_modules.{level}" for level in (0, 1) for kind in ("encoder", "downsampling")]
    blocks += ["base_module", *(f"{k}_modules.{level}" for level in (1, 0) for k in ("upsampling", "merge", "decoder"))]
    assert list(rows) == [*blocks, "final_module"]
    assert rows["encoder_modules.1"].inputs == [(4, 32, 40)] and rows["encoder_modules.1"].output == (6, 32, 40)
    assert rows["merge_modules.0"].inputs == [(4, 64, 80), (4, 64, 80)]
    names = "encoder_modules.0", "encoder_modules.1", "base_module"
    assert [rows[name].receptive_field for name in names] == [(5, 5), (14, 14), (32, 32)]
    lines = explanation.table.markdown().splitlines()
    assert len(lines) == 2 + len(rows) and len({line.count("|") for line in lines}) == 1
    assert explanation.summary.endswith("they agree.")


def test_the_printed_networks_work_is_that_of_the_review():
    printed = UNet(4, 3, 9, (16, 32, 64, 128, 256), norm_type="batch", upsampling="transposed")
    assert explainit(printed, (3, 224, 288)).multiply_adds == 2_993_356_800


def test_the_model_and_the_random_state_are_left_as_they_were():
    class Noisy(UNet):
        def forward(self, x):
            return super().forward(x + torch.rand(()))

    model = Noisy(1, 1, 1, 2, norm_type="batch").train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    first, second = (explainit(model, (1, 8, 8)).markdown() for _ in range(2))
    assert first == second and torch.equal(torch.get_rng_state(), state)
    assert model.training and not model._forward_hooks
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_detector_has_costs_but_no_receptive_field():
    explanation = explainit(mask_rcnn(width=16), (3, 64, 64))
    assert explanation.table[0].name.startswith("backbone") and explanation.multiply_adds > 1e8
    assert explanation.receptive_field == () and "depend on what the image shows" in explanation.summary


def test_memory_counts_what_a_convolution_and_a_relu_keep():
    """The first convolution keeps its input, ReLU its output, which is also what the second convolution keeps."""
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))
    assert explainit(layers, (3, 10, 20)).memory == 4 * 10 * 20 * (3 + 8)
    assert explainit(unet(), (1, 64, 64)).memory == 4 * explainit(unet(), (1, 32, 32)).memory


class OneSize(nn.Conv2d):
    """Takes images of 32 × 32 only."""

    def forward(self, x):
        return super().forward(x).reshape(1, 2, 32, 32)


class Labels(nn.Conv2d):
    """Gives classes, which have no gradient."""

    def forward(self, x):
        return super().forward(x).argmax(1, keepdim=True)


@pytest.mark.parametrize("kind", [OneSize, Labels])
def test_what_cannot_be_measured_is_still_explained(kind):
    explanation = explainit(kind(1, 2, 3, padding=1), (1, 32, 32))
    assert "20 parameters" in explanation.summary and "Receptive field 3×3" in explanation.summary


DRAWN = [
    (UNet(4, 3, 9, (8, 32, 64, 64, 128), upsampling="transposed"), (3, 100, 110), 4),
    (PlainUNet(), (1, 32, 32), 2),
]
DRAWN += [(BaseConv(), (3, 64, 64), 0), *((build(), (1, 96, 96), 0) for build in CASE_STUDY)]


@pytest.mark.parametrize("model, shape, skips", DRAWN, ids=[type(model).__name__ for model, *_ in DRAWN])
def test_the_drawing_has_one_skip_per_level_and_nothing_overlaps(model, shape, skips):
    figure = explainit(model, shape).figure
    figure.canvas.draw()
    texts = [text for text in figure.axes[0].texts if text.get_text()]
    assert sum(text.get_text().startswith("skip") for text in texts) == skips
    boxes, page = [text.get_window_extent() for text in texts], figure.bbox
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert all(page.x0 <= b.x0 and b.x1 <= page.x1 and page.y0 <= b.y0 and b.y1 <= page.y1 for b in boxes)
