"""How far a run is: a live bar on a terminal, a plain line now and then elsewhere. Always on stderr."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from evals.cli.common import console
from evals.cli.tables import projected
from evals.lines import Record
from evals.runner import Run

_BAR_EVERY_S = 0.1
_LINE_EVERY_S = 10.0


class RunProgress:
    """Counts records and shows rate, errors, time left and what `told` says. `clock` gives seconds.

    `quiet` shows nothing. Use as a context manager.
    """

    def __init__(
        self,
        total: int,
        clock: Callable[[], float],
        told: Callable[[int], str] = lambda left: "",
        *,
        quiet: bool = False,
    ) -> None:
        self._console = console(stderr=True)
        self._total, self._clock, self._told, self._quiet = total, clock, told, quiet
        self._done = self._system = self._harness = 0
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        if self._console.is_terminal and not quiet:
            self._bar = Progress(
                TextColumn("samples"),
                BarColumn(bar_width=20),
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
        """Rate and errors so far, and what the run tells of itself."""
        elapsed = self._clock() - self._started
        rate = self._done / elapsed if elapsed > 0 else 0.0
        errors = f"{self._system} system errors, {self._harness} harness errors"
        told = self._told(self._total - self._done)
        return f"{rate:.0f}/s, {errors}" + (f", {told}" if told else "")

    def _show(self) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._done, note=self.note())
        elif not self._quiet:
            left = self._left()
            self._console.print(f"{self._done} of {self._total} samples, {self.note()}{left}", markup=False)

    def _left(self) -> str:
        """`, 1:05 left` at the rate so far; the bar has a column of its own for it."""
        elapsed, left = self._clock() - self._started, self._total - self._done
        if not self._done or not left or elapsed <= 0:
            return ""
        minutes, seconds = divmod(round(elapsed / self._done * left), 60)
        return f", {minutes}:{seconds:02} left"


def told_by(run: Run) -> Callable[[int], str]:
    """What a run tells of itself when so many records are left: requests under way at a time, money, the whole."""

    def told(left: int) -> str:
        parts = [f"{run.pace.limit} at a time"]
        if run.forecast.costed:
            parts.append(f"{run.spend.spent:f} spent")
            found = run.forecast.project(left) if left else None
            if found is not None:
                parts.append(f"{projected(found)} in all")
        return ", ".join(parts)

    return told


class Steps:
    """How many steps are done: a bar on a terminal, a line now and then elsewhere. Use as a context manager."""

    _what, _task_name = "steps", "work"

    def __init__(self, total: int, clock: Callable[[], float], *, quiet: bool = False) -> None:
        self._console = console(stderr=True)
        self._total, self._clock, self._quiet, self._done = total, clock, quiet, 0
        self._bar = Progress(
            TextColumn(self._what),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._shown = self._clock()
        self._bar.start()
        self._task = self._bar.add_task(self._task_name, total=self._total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, steps: int = 1) -> None:
        """So many more."""
        self._done += steps
        self._bar.update(self._task, completed=self._done)
        quiet = self._quiet or self._console.is_terminal
        if not quiet and self._clock() - self._shown >= _LINE_EVERY_S:
            self._shown = self._clock()
            self._console.print(f"{self._done} of {self._total} {self._what}")


class ChunkProgress(Steps):
    """How many chunks are indexed."""

    _what, _task_name = "chunks", "index"


class Repetitions(Steps):
    """How many repetitions of a self-test are done."""

    _what, _task_name = "repetitions", "selftest"
