"""Choosing the thresholds of a post-processing, on validation data."""

import itertools
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor


def grid_search(
    segment: Callable[..., Sequence[Tensor]],
    targets: Sequence[Tensor],
    grid: Mapping[str, Sequence],
    score: Callable[[Sequence[Tensor], Sequence[Tensor]], float],
) -> tuple[dict, list[dict]]:
    """The arguments of `segment` with the highest score, and the table of all that were tried.

    grid:  argument → values to try, every combination once; segment(**arguments) gives the label images
    score: called as score(predictions, targets); the first of equal ones wins, so put the plainest values first
    Returns (best arguments, [{**arguments, "score": …}, …] in the order tried).
    """
    tried = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    table = [{**arguments, "score": float(score(segment(**arguments), targets))} for arguments in tried]
    scored = [row for row in table if row["score"] == row["score"]]  # nan is no score
    if not scored:
        raise ValueError(f"grid {dict(grid)} leads to no score, wanted one combination at least whose score is no nan")
    best = max(scored, key=lambda row: row["score"])
    return {name: best[name] for name in grid}, table
