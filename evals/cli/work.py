"""How far a long step is, on stderr: a bar on a terminal; elsewhere nothing, for what is printed there is kept."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from evals.cli.common import console

Advance = Callable[[int, int], None]


@contextmanager
def work(what: str) -> Iterator[Advance]:
    """`with work("near-duplicates") as advance: ... advance(done, total)`. The bar goes when the step is done."""
    screen = console(stderr=True)
    if not screen.is_terminal:
        yield lambda done, total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
