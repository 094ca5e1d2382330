"""Choosing the thresholds of a post-processing, on validation data."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor


def grid_search(
    segment: Callable[..., Sequence[Tensor]],
    targets: Sequence[Tensor],
    grid: Mapping[str, Sequence],
    score: Callable[[Sequence[Tensor], Sequence[Tensor]], float],
) -> tuple[dict, list[dict]]:
    """The arguments of `segment` with the highest score, and the table of all that were tried.

    segment: called as segment(**arguments), gives the label images of all validation images
    targets: their true label images
    grid:    argument → values to try, every combination once
    score:   called as score(predictions, targets); the first of equal ones wins, so put the plainest values first.
             Combinations whose score is nan lose; ValueError where all are
    Returns (best arguments, [{**arguments, "score": …}, …] in the order tried).
    """
    empty = [name for name, values in grid.items() if len(values) == 0]
    if empty or not grid:
        raise ValueError(f"grid has no value for {empty or 'any argument'}, wanted at least one each")
    table = []
    for values in itertools.product(*grid.values()):
        arguments = dict(zip(grid, values, strict=True))
        table.append({**arguments, "score": float(score(segment(**arguments), targets))})
    best = max(table, key=lambda row: (not math.isnan(row["score"]), row["score"]))
    if math.isnan(best["score"]):
        raise ValueError(f"score is nan for all {len(table)} combinations of {', '.join(grid)}")
    return {name: best[name] for name in grid}, table
