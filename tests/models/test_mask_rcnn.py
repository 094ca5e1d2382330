import pytest
import torch
from torch import nn
from torchvision.models.detection.roi_heads import project_masks_on_boxes
from torchvision.ops import FrozenBatchNorm2d

from cvf20.labels import VOID
from cvf20.models import build, spec_of
from cvf20.models.encoders import make_encoder
from cvf20.models.mask_rcnn import detection_target, mask_rcnn

LOSSES = {"loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask"}


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    return mask_rcnn(width=16, rpn_post_nms_top_n_train=30, rpn_post_nms_top_n_test=20)


def batch(*boxes):
    """One image (1, 3, 70, 90) and its labels: a bright rectangle for each (y0, y1, x0, x1)."""
    labels = torch.zeros(1, 70, 90, dtype=torch.int64)
    for number, (y0, y1, x0, x1) in enumerate(boxes, start=3):
        labels[:, y0:y1, x0:x1] = number * 100
    return 2.0 * (labels > 0)[:, None].expand(-1, 3, -1, -1), labels


CASES = {
    "nobody": (),
    "somebody": ((10, 60, 20, 40),),
    "cut by the border": ((30, 70, 0, 15), (0, 20, 80, 90)),
    "one pixel, gaps in the numbers": ((33, 34, 44, 45), (35, 65, 60, 75)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("bf16", [False, True])
def test_training_gives_torchvisions_five_losses(detector, case, bf16):
    images, labels = batch(*CASES[case])
    detector.train()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        losses = detector(images, labels)
    assert set(losses) == LOSSES
    assert all(loss.dtype == torch.float32 and torch.isfinite(loss) for loss in losses.values())
    if case == "nobody":
        assert losses["loss_mask"].item() == losses["loss_box_reg"].item() == losses["loss_rpn_box_reg"].item() == 0
    sum(losses.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in detector.parameters() if p.grad is not None)
    detector.zero_grad()


@pytest.mark.parametrize("bf16", [False, True])
def test_evaluation_gives_one_tensor_and_detections_of_any_size(detector, bf16):
    images, _ = batch((10, 60, 20, 40))
    detector.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        found, larger = (detector.detect(images, size=size)[0] for size in (None, (140, 270)))
        logits = detector(images)
    assert logits.shape == (1, 1, 70, 90) and logits.dtype == torch.float32 and torch.isfinite(logits).all()
    assert found["masks"].shape == (len(found["boxes"]), 70, 90) and larger["masks"].shape[1:] == (140, 270)
    assert (found["scores"].diff() <= 0).all()
    torch.testing.assert_close(larger["boxes"], found["boxes"] * torch.tensor([3.0, 2, 3, 2]))
    confident = found["masks"][found["scores"] > 0.5] > 0.5
    assert torch.equal(logits[0, 0] > 0, confident.any(0)) and not detector.training


def test_boxes_and_masks_are_those_of_the_label_image():
    labels = torch.zeros(12, 20, dtype=torch.int64)
    labels[2:5, 3:4], labels[8, 10], labels[0, 0] = 900, 7, VOID
    target = detection_target(labels)
    assert target["boxes"].tolist() == [[10, 8, 11, 9], [3, 2, 4, 5]], "by ascending number, none of zero width"
    assert torch.equal(target["masks"], torch.stack([labels == 7, labels == 900]).to(torch.uint8))
    assert target["labels"].tolist() == [1, 1]
    nobody = detection_target(torch.zeros_like(labels))
    assert nobody["boxes"].shape == (0, 4) and nobody["masks"].shape == (0, 12, 20)


def test_masks_are_learned_and_pasted_at_the_same_place(detector, monkeypatch):
    """What the mask head would learn of a rectangle, pasted back, is the rectangle: no shift by half a pixel."""
    images, labels = batch((11, 59, 21, 43))
    seen = []

    def heads(features, proposals, sizes, truth=None):
        seen.extend(truth or ())
        boxes = seen[0]["boxes"]
        shapes = project_masks_on_boxes(seen[0]["masks"].float(), boxes, torch.tensor([0]), 28)
        return [{"boxes": boxes, "scores": torch.ones(1), "masks": shapes[:, None]}], {}

    monkeypatch.setattr(detector.roi_heads, "forward", heads)
    detector.train()
    detector(images, labels)
    found = detector.detect(images)[0]
    assert found["boxes"].tolist() == [[21, 11, 43, 59]] and torch.equal(found["masks"][0] > 0.5, labels[0] > 0)


def test_what_is_void_is_not_shown(detector):
    images, labels = batch((10, 60, 20, 40))
    labels[:, :, 60:] = VOID
    detector.train()
    results = []
    for under_void in (0, 5):
        images = images.clone()
        images[..., 60:] = under_void
        torch.manual_seed(3)
        results.append(detector(images, labels))
    assert results[0] == results[1]


def test_norms_are_frozen_and_what_is_random_learns():
    state = make_encoder("resnet18").state_dict()
    known = {name: value for name, value in state.items() if not name.startswith("layer4.1")}
    network = mask_rcnn(known, width=8, anchor_sizes=(9.5,) * 5)
    body = network.backbone.body
    assert torch.equal(body.bn1.running_var, known["bn1.running_var"]) and isinstance(body.bn1, FrozenBatchNorm2d)
    assert torch.equal(body.layer3[1].conv2.weight, known["layer3.1.conv2.weight"])
    assert not any(isinstance(module, nn.BatchNorm2d) for module in body.modules())
    x = torch.rand(1, 512, 4, 5)
    assert body.layer4[1](x).equal(x), "a block without weights starts as the identity"
    learning = {name.split(".")[0] for name, p in body.named_parameters() if p.requires_grad}
    assert learning == {"layer2", "layer3", "layer4"}
    assert "anchor_sizes=(9.5, 9.5" in spec_of(network)
    twin = build(spec_of(network))
    assert all(p.requires_grad for p in twin.backbone.body.parameters()), "what is random has to learn"
    twin.load_state_dict(network.state_dict())
    assert repr(twin) == repr(network) and spec_of(twin) == spec_of(network)
    assert twin.rpn.anchor_generator.sizes == [(9.5,)] * 5
