"""How far a run is: a live bar on a terminal, a plain line now and then elsewhere. Always on stderr."""

from collections.abc import Callable
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from evals.cli.common import console
from evals.lines import Record

_BAR_EVERY_S = 0.1
_LINE_EVERY_S = 10.0


class RunProgress:
    """Counts records and shows rate, errors and time left. `clock` gives seconds. Use as a context manager."""

    def __init__(self, total: int, clock: Callable[[], float]) -> None:
        self._console = console(stderr=True)
        self._total, self._clock = total, clock
        self._done = self._system = self._harness = 0
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("samples"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(),
                console=self._console,
            )

    def __enter__(self) -> "RunProgress":
        self._started = self._shown = self._clock()
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("run", total=self._total, note="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._show()
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, record: Record) -> None:
        """One more record. Cheap: it draws at most every tenth of a second."""
        self._done += 1
        self._system += record.outcome == "system_error"
        self._harness += record.outcome == "harness_error"
        now = self._clock()
        if now - self._shown >= (_LINE_EVERY_S if self._bar is None else _BAR_EVERY_S):
            self._shown = now
            self._show()

    def note(self) -> str:
        """Rate and errors so far."""
        elapsed = self._clock() - self._started
        rate = self._done / elapsed if elapsed > 0 else 0.0
        return f"{rate:.0f}/s, {self._system} system errors, {self._harness} harness errors"

    def _show(self) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._done, note=self.note())
        else:
            self._console.print(f"{self._done} of {self._total} samples, {self.note()}")
