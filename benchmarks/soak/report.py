"""What a soak says: a line while it runs, a table and a verdict when it is over."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scipy import stats

from benchmarks.soak.checks import Quiet
from benchmarks.soak.processes import Taken

FEWEST = 6
"""Quiet points after the warm-up, of which the growth of memory can be told."""
MOST_MB_PER_HOUR = 24.0
"""A gateway whose memory certainly grows faster fails: it would have to be restarted within weeks."""
SHORT_MINUTES = 15
"""In a shorter soak growth is told and not judged: caches fill, and circles wait until the collector looks for them."""
MOST_FILES = 25
"""More open files or threads than at the first quiet point: pools of connections and threads come to their size."""
BEGIN, END = "<!-- soak: written by python -m benchmarks.soak --table -->", "<!-- end of the soak -->"


@dataclass(frozen=True)
class Slope:
    """MB an hour with its bounds at 95 %, by least squares over so many quiet points of one process."""

    mb_per_hour: float
    low: float
    high: float
    points: int


@dataclass(frozen=True)
class Found:
    """All that a soak found. `growth` is that of the first gateway, None where there were too few quiet points."""

    minutes: float
    seed: int
    words: dict[str, int]
    faults: dict[str, int]
    quiets: list[Quiet]
    growth: Slope | None
    wrong: list[str]

    @property
    def good(self) -> bool:
        """Whether everything held."""
        return not self.wrong


def slope(points: Sequence[tuple[float, float]]) -> Slope | None:
    """The growth of (seconds, MB)."""
    if len(points) < FEWEST:
        return None
    fitted = stats.linregress([at / 3600 for at, _ in points], [mb for _, mb in points])
    wide = float(stats.t.ppf(0.975, len(points) - 2)) * float(fitted.stderr)
    found = float(fitted.slope)
    return Slope(found, found - wide, found + wide, len(points))


def judged(minutes: float, seed: int, words: Counter[str], faults: Counter[str], quiets: list[Quiet]) -> Found:
    """The verdict. The first third of the quiet points is the warm-up of memory."""
    wrong = [f"{each.at_s:.0f} s: {said}" for each in quiets for said in each.wrong]
    name = next(iter(quiets[0].taken), "")
    lives = [(each.at_s, each.taken[name]) for each in quiets if name in each.taken]
    growth = slope([(at, taken.own_mb) for at, taken in lives[len(lives) // 3 :]])
    if growth is not None and growth.low > MOST_MB_PER_HOUR and minutes >= SHORT_MINUTES:
        wrong.append(f"{name} grows by {growth.mb_per_hour:.1f} MB/h, certainly more than {MOST_MB_PER_HOUR:g}")
    for kind in ("files", "threads"):
        begun, ended = (getattr(each[1], kind) for each in (lives[0], lives[-1])) if lives else (0, 0)
        if ended > begun + MOST_FILES:
            wrong.append(f"{name} has {ended} {kind} at the end, and had {begun} at the first quiet point")
    return Found(minutes, seed, dict(words), dict(faults), quiets, growth, wrong)


def shown(taken: Taken | None) -> str:
    """A process, in a line."""
    return "down" if taken is None else f"{taken.own_mb:.0f} MB {taken.files} files {taken.threads} threads"


def table(found: Found) -> str:
    """Markdown."""
    names = list(dict.fromkeys(name for each in found.quiets for name in each.starts))
    heads = "".join(f" {name} MB / files / threads |" for name in names)
    lines = [
        f"| s | took s | requests | rows | lost | open | reserved |{heads}",
        "|" + "---:|" * (7 + len(names)),
    ]
    for each in found.quiets:
        cells = [_cell(each, name) for name in names]
        numbers = [f"{each.at_s:,.0f}", f"{each.took_s:.1f}"]
        numbers += [f"{number:,}" for number in (each.requests, each.rows, each.lost, each.open, each.reserved)]
        lines.append("| " + " | ".join([*numbers, *cells]) + " |")
    lines += [
        "",
        f"- {found.minutes:g} minutes, seed {found.seed}.",
        f"- {sum(found.faults.values()):,} faults: {_counts(found.faults)}.",
    ]
    lines.append(f"- Answers: {_counts(found.words)}.")
    if found.growth is None:
        lines.append(f"- Growth of memory: too few quiet points to tell, {FEWEST} are needed after the warm-up.")
    else:
        grown = found.growth
        lines.append(
            f"- Growth of the first gateway's memory after the warm-up: {grown.mb_per_hour:+.1f} MB/h, between "
            f"{grown.low:+.1f} and {grown.high:+.1f} (95 %, {grown.points} quiet points)."
        )
    wrong = "1 thing" if len(found.wrong) == 1 else f"{len(found.wrong)} things"
    lines.append("- Everything held." if found.good else f"- **{wrong} did not hold.**")
    return "\n".join(lines)


def _cell(each: Quiet, name: str) -> str:
    taken = each.taken.get(name)
    lives = f" ({each.starts[name]})" if each.starts[name] > 1 else ""
    return "–" if taken is None else f"{taken.own_mb:.0f} / {taken.files} / {taken.threads}{lives}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {word}" for word, number in sorted(counts.items(), key=lambda each: -each[1]))


def values(found: Found) -> dict[str, Any]:
    """For a file of JSON. What is not finite has no value there."""
    plain = asdict(found)
    growth = plain["growth"]
    if growth is not None and not all(map(math.isfinite, growth.values())):
        plain["growth"] = None
    return plain


def insert(readme: Path, text: str) -> None:
    """Put the table between its marks."""
    before, _, rest = readme.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    readme.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
