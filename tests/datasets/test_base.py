"""What all data sets promise: digests of what is there now, subclasses without any list of files, torch's own wrappers."""

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Subset

from cvf20.datasets import SegmentationDataset
from cvf20.transforms import channel_statistics, class_counts


class Squares(SegmentationDataset):
    """A student's own data set: pictures and masks side by side in one folder, and no list of files anywhere."""

    name, label = "squares", "Squares"
    classes, palette, num_classes = ("out", "in"), np.zeros((2, 3), np.uint8), 2

    def sample_names(self):
        return sorted(file.stem for file in self.folder.glob("*.png"))

    def files(self, name):
        return f"{name}.png", f"{name}.tif"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "squares").mkdir()
    for i in range(4):
        Image.fromarray(np.full((8, 9, 3), i, np.uint8)).save(tmp_path / f"squares/{i}.png")
        Image.fromarray(np.eye(8, 9, dtype=np.uint8)).save(tmp_path / f"squares/{i}.tif")
    return tmp_path


def test_an_own_data_set_needs_no_list_of_files(root, monkeypatch):
    data = Squares(root)
    assert len(data) == 4 and not data.synthetic and data[2][0].shape == (3, 8, 9) and data.title == "Squares (train)"
    monkeypatch.setenv("CVF20_DATA", str(root))
    monkeypatch.setenv("CVF20_SYNTHETIC", "1")
    assert Squares().sha256 == data.sha256, "it has no stand-in"
    with pytest.raises(FileNotFoundError, match=r"squares: 1 of 1 .*nowhere/squares holds nothing"):
        Squares(root / "nowhere")
    monkeypatch.setenv("CVF20_DATA", str(root / "nowhere"))
    with pytest.raises(FileNotFoundError, match="no source is known"):
        Squares()


def test_torchs_own_wrappers_take_them(root):
    data = Squares(root)
    some, all_of_it = Subset(data, [3, 1]), ConcatDataset([data, Squares(root)])
    assert int(some[0][0].max()) == 3 and len(all_of_it) == 8 and int(all_of_it[6][0].max()) == 2
    assert [len(batch[0]) for batch in DataLoader(all_of_it, 3)] == [3, 3, 2]
    assert len(channel_statistics(data)[0]) == 3 and class_counts(data).tolist() == [4 * 64, 4 * 8]
    with pytest.raises(IndexError):
        data[len(data)]


def test_the_digest_is_that_of_what_is_there_now(root):
    """Labels that were edited in place between two runs are other labels."""
    data = Squares(root)
    digests = [data.sha256]
    data.masks[3].fill_(1)
    assert Squares(root).sha256 == digests[0] != data.sha256, "edits reach no other data set"
    data = Squares(root)
    for edit in (
        lambda: data.masks[0].fill_(1),
        lambda: data.masks[1].numpy().fill(1),  # which torch does not notice
        lambda: data.images[2].add_(1),
        lambda: data.names.__setitem__(0, "other"),
        lambda: setattr(data, "masks", [mask[:, :8] for mask in data.masks]),  # no longer contiguous
    ):
        edit()
        digests.append(data.sha256)
    assert len(set(digests)) == 6


def test_files_edited_between_two_loadings_are_read_again(root):
    before = Squares(root)
    Image.fromarray(np.ones((8, 9), np.uint8)).save(root / "squares/1.tif")
    again = Squares(root)
    assert again.masks[1].min() == 1 and again.sha256 != before.sha256
    assert again.masks[0] is before.masks[0], "decoded once and shared"


def test_an_own_choice_is_another_decoding(root):
    class Darker(Squares):
        def __init__(self, root, by):
            self.by = by
            super().__init__(root)

        def read_sample(self, *files):
            image, mask = super().read_sample(*files)
            return image // self.by, mask

    assert [int(Darker(root, by).images[3].max()) for by in (1, 3)] == [3, 1]
