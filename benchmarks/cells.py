"""What is measured: one cell is a load, and what the engine does under it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Cell:
    """A closed loop of `connections` for `seconds` after a warm-up; `gap_us` is the engine's time between tokens.

    `one_core`: engine and load run on the gateway's core, so that a wake-up crosses no core and what is added is the
    work alone. `requests` bounds the load by count.
    """

    name: str
    title: str
    connections: int
    seconds: float = 3.0
    warm_up_s: float = 0.7
    ramp_s: float = 0.0
    grace_s: float = 15.0
    stream: bool = False
    gap_us: int = 0
    chunks: int = 50
    one_core: bool = False
    requests: int | None = None

    def arguments(self) -> Sequence[str]:
        """Of the load generator."""
        values = {"-c": self.connections, "-d": self.seconds, "-w": self.warm_up_s, "-r": self.ramp_s}
        values |= {"-g": self.grace_s, "-k": self.chunks}
        if self.requests is not None:
            values["-n"] = self.requests
        flags = [text for name, value in values.items() for text in (name, str(value))]
        return [*flags, "-s"] if self.stream else flags

    def briefly(self) -> "Cell":
        """To warm up with."""
        return replace(self, seconds=1.0, warm_up_s=0.0)


def _table(*cells: Cell) -> dict[str, Cell]:
    return {cell.name: cell for cell in cells}


HELD_US = 60_000_000
CELLS = _table(
    Cell("latency", "1 connection, all on one core", 1, one_core=True),
    Cell("plain1", "1 connection", 1),
    Cell("plain16", "16 connections", 16),
    Cell("plain64", "64 connections", 64),
    Cell("streams", "100 streams × 50 chunks, 20 ms apart", 100, warm_up_s=1.6, ramp_s=1.0, stream=True, gap_us=20_000),
    Cell("saturated", "32 streams × 200 chunks, no delay", 32, warm_up_s=0.8, ramp_s=0.1, stream=True, chunks=200),
    Cell(
        "memory", "1,000 open streams", 1000, seconds=40.0, warm_up_s=0.0, ramp_s=2.0, stream=True, gap_us=HELD_US,
        chunks=5, requests=1000,
    ),
)  # fmt: skip
WARM_UP = (CELLS["plain16"].briefly(), CELLS["saturated"].briefly())
