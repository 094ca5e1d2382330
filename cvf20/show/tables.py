"""Tables, notes and listings of a notebook, and the time that its tasks took (A-t)."""

import inspect
import time
from collections import Counter
from collections.abc import Iterable
from numbers import Integral, Real

from IPython.display import Markdown, display


def markdown_table(rows: list[dict]) -> str:
    """Rows as a Markdown table, its columns those of the first row; floats with three digits, nan as –."""
    columns = list(rows[0])

    def cell(value) -> str:
        if isinstance(value, (bool, str)) or not isinstance(value, Real):
            return str(value).replace("|", "\\|")
        return f"{value:,}" if isinstance(value, Integral) else f"{value:.3f}" if value == value else "–"

    lines = ["| " + " | ".join(map(str, columns)) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(cell(row.get(c, "")) for c in columns) + " |" for row in rows])


def show_table(rows: list[dict]) -> None:
    """Display rows as a table."""
    display(Markdown(markdown_table(rows)))


def note(text: str) -> None:
    """Display a comment whose words or numbers come from the results."""
    display(Markdown(text))


def show_source(*objects) -> None:
    """Display the source of library functions or classes, so that the notebook is complete without the package."""
    display(Markdown("```python\n" + "\n\n".join(inspect.getsource(item).rstrip() for item in objects) + "\n```"))


class Clock:
    """Books a notebook's time on its tasks: `clock = Clock()` at its head, `clock.stop("C2")` where C2 is answered."""

    def __init__(self):
        self.seconds, self._since = Counter(), time.perf_counter()

    def stop(self, task: str) -> None:
        """Book the time since the last call (or the beginning) on this task."""
        now = time.perf_counter()
        self.seconds[task] += now - self._since
        self._since = now


def time_table(clock: Clock, trained: dict[str, float | Iterable[dict]] | None = None) -> None:
    """Display what each task took: its trainings as recorded, this run of the notebook, a field for the group's hours.

    trained: by task the seconds, or the results (`load_results("05_weight*")`) whose "seconds" are added up
    """
    recorded = {t: v if isinstance(v, Real) else sum(r["seconds"] for r in v) for t, v in (trained or {}).items()}
    tasks = dict.fromkeys([*clock.seconds, *recorded])
    rows = [(task, recorded.get(task, 0), clock.seconds.get(task, 0), "____") for task in tasks]
    rows.append(("all", sum(recorded.values()), sum(clock.seconds.values()), ""))
    columns = "task", "training, as recorded", "this run", "hours of the group (fill in)"
    minutes = [(task, f"{training / 60:.1f} min", f"{run / 60:.1f} min", hours) for task, training, run, hours in rows]
    show_table([dict(zip(columns, row, strict=True)) for row in minutes])
