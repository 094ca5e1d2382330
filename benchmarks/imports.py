"""How long `import cvf20` takes beside `import torch`, each in a process of its own."""

import subprocess
import sys
from collections.abc import Iterator
from functools import partial

from benchmarks.common import ROOT, Row, interleave, quotient

RUN = partial(subprocess.run, cwd=ROOT, check=True)


def rows() -> Iterator[Row]:
    statements = ("import torch", "import cvf20", "from cvf20.learner import Learner")
    times = interleave({it: partial(RUN, [sys.executable, "-c", it]) for it in statements}, budget=20)
    torch, *ours = statements
    for statement, bound in zip(ours, ("<= 1.3", None), strict=True):
        sides = {
            "ours": sorted(times[statement])[len(times[statement]) // 2],
            "theirs": sorted(times[torch])[len(times[torch]) // 2],
        }
        yield quotient(f"`{statement}`", f"`{torch}`", times[statement], times[torch], bound, **sides)
