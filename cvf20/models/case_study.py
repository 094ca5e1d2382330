"""The case study: four ways from a 128×9×9 map to 15 key points; (N, 1, 96, 96) → (N, 30), x and y in [-1, 1]."""

from torch import nn

from cvf20.models.spec import Recorded


def convolutional_body() -> list[nn.Module]:
    """The four convolutions that every model starts with; the comments give the map's size."""
    return [
        *(nn.Conv2d(1, 32, 3, padding=2), nn.PReLU(), nn.MaxPool2d(3)),  # 98, 32
        *(nn.Conv2d(32, 64, 3, padding=2), nn.PReLU(), nn.MaxPool2d(3, stride=2)),  # 34, 16
        *(nn.Conv2d(64, 64, 3, padding=1), nn.PReLU(), nn.MaxPool2d(2)),  # 16, 8
        *(nn.Conv2d(64, 128, 2, padding=1), nn.PReLU()),  # 9
    ]


class FlattenNet(Recorded, nn.Sequential):
    """Every cell of the 9×9 map has its own weights into the hidden layer (2,750,819 parameters)."""

    title = "flatten"

    def __init__(self):
        ending = nn.Flatten(), nn.Linear(128 * 9 * 9, 256), nn.PReLU(), nn.Linear(256, 30)
        super().__init__(*convolutional_body(), *ending)


class BottleneckFlattenNet(Recorded, nn.Sequential):
    """A 1×1 convolution squeezes 128 channels to 16 and keeps the 9×9 positions (430,451 parameters)."""

    title = "1×1 convolution, then flatten"

    def __init__(self):
        ending = nn.Conv2d(128, 16, 1), nn.Flatten(), nn.Linear(16 * 9 * 9, 256), nn.PReLU(), nn.Linear(256, 30)
        super().__init__(*convolutional_body(), *ending)


class ConvolutionalNet(Recorded, nn.Sequential):
    """Strided convolutions carry the map down to 1×1; no layer depends on the input's size until the last one."""

    title = "convolution to 1×1"

    def __init__(self):
        strided = nn.Conv2d(128, 128, 3, stride=3), nn.PReLU(), nn.Conv2d(128, 256, 3), nn.PReLU()  # 3, 1
        super().__init__(*convolutional_body(), *strided, nn.Conv2d(256, 30, 1), nn.Flatten())


class GlobalPoolingNet(Recorded, nn.Sequential):
    """Averages each channel over the whole map: takes any input size, but the average forgets the positions."""

    title = "global average pooling"

    def __init__(self):
        pooled = nn.Conv2d(128, 256, 1), nn.PReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        super().__init__(*convolutional_body(), *pooled, nn.Linear(256, 30))


CASE_STUDY = (FlattenNet, BottleneckFlattenNet, ConvolutionalNet, GlobalPoolingNet)
