"""The topology loss beside MONAI's soft-clDice."""

from collections.abc import Iterator

from benchmarks.common import Row, compare
from benchmarks.topology_loss import SHAPE, example, loss_step, mistakes_per_image
from cvf20.losses import TopologyLoss


def rows() -> Iterator[Row]:
    from monai.losses import SoftclDiceLoss

    logits, target = example()
    theirs = SoftclDiceLoss(iter_=10)
    one_channel = target.unsqueeze(1).float()

    def their_step() -> None:
        leaf = logits.clone().requires_grad_()
        theirs(one_channel, leaf.sigmoid()).backward()

    more = {"shape": SHAPE, "wrong_components_per_image": mistakes_per_image(logits, target)}
    title, against = "topology loss, forward and backward, 4×256²", "MONAI `SoftclDiceLoss`, 10 iterations"
    yield compare(title, against, loss_step(TopologyLoss(), logits, target), their_step, ">= 12", more)
