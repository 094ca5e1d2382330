"""The tasks of the four exercises: which there are, which notebook answers them, and how a heading says that it does."""

import re
from dataclasses import dataclass

from cvf20.training.results import NOTEBOOKS

SHEETS = {
    "A": "Segmentation exercise sheet",
    "B": "Yeast-cell exercise",
    "C": "Scene-segmentation assignment",
    "D": "Lecture exercise",
}
TIME = "A-t"  # asked of every notebook

_TABLE = """
A1a  03     a U-Net with its own forward, inspected
A1b  03     max-unpooling with indices, explained and compared
A2a  03     the complete segmentation notebook
A2b  04     a strategy for tuning
A2c  04     the strategy carried out
A3a  05     why class imbalance makes metrics and losses difficult
A3b  05     a loss weighted by the distance to the border
A3c  06     a cost for connected components
A3d  05 06  what follows from using them as metric and as loss
A3e  06 09  a report of both as losses
A-t  all    the time each task took
B1   01     yeast images loaded, normalised, augmented
B2   05     binary cross-entropy and the Sørensen-Dice loss
B3   03     the configurable UNet
B4   04     four set-ups trained and compared
B5   04     the creative part
B6   04     own models in your_models.py
C1   01     the data set, joint crop and flip
C2   02     class frequencies as predictor
C3   02     confusion matrix, IoU, average precision
C4   05     weighted cross-entropy from logits
C5   02     the training loop
C6   02 03  BaseConv and U-Net, trained and discussed
C7   07     ResNet-18 as encoder
C8   07 09  all models compared
C9   08     instance segmentation, both ways
D1   07     23 classes and their colours
D2   05 07  cross-entropy that leaves void out
D3   02 07  evaluate_model
D4   03     resolution against receptive field and memory
D5   03     transposed convolution and its checkerboard
D6   07     transfer learning both ways
D7   03     model summaries and the case study
D8   04     learning rate, normalisation, activation, initialisation
"""

_ID = r"(?:[A-D]\d[a-e]?|A-t)"
_HEADING = re.compile(rf"#{{2,4}}\s+({_ID}(?:\s*(?:,|·|/|\+|&|and)\s*{_ID})*)\b(?=\s*[·:–—-]|\s*$)")


@dataclass(frozen=True)
class Task:
    """id: as in the heading; notebooks: the stems that answer it."""

    id: str
    title: str
    notebooks: tuple[str, ...]

    @property
    def sheet(self) -> str:
        return self.id[0]


def _parse(line: str) -> Task:
    id, rest = line.split(maxsplit=1)
    numbers = re.match(r"all|(?:\d\d )+", rest)[0]
    stems = tuple(stem for stem in NOTEBOOKS if numbers == "all" or stem[:2] in numbers.split())
    return Task(id, rest.removeprefix(numbers).strip(), stems)


TASKS = {task.id: task for task in map(_parse, _TABLE.strip().splitlines())}


def ids_in(heading: str) -> tuple[str, ...]:
    """("A3b", "A3c") of "## A3b, A3c · Two losses"; () where a line is no heading or names no task."""
    match = _HEADING.match(heading)
    return tuple(re.findall(_ID, match[1])) if match else ()


def asked_of(stem: str) -> tuple[str, ...]:
    """Ids that the notebook "03_unet" has to answer; none for a notebook that the house does not know."""
    return tuple(task.id for task in TASKS.values() if stem in task.notebooks)


def of_sheet(sheet: str | None) -> tuple[Task, ...]:
    """The sheet's tasks in the sheet's order; all tasks where `sheet` is None. Raises ValueError for an unknown one."""
    if sheet is not None and sheet not in SHEETS:
        raise ValueError(f"sheet: found {sheet!r}, wanted one of {', '.join(SHEETS)}")
    return tuple(task for task in TASKS.values() if sheet in (None, task.sheet))
