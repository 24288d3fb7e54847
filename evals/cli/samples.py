"""One sample for a terminal: what was asked, then the answers of each epoch side by side."""

from collections.abc import Iterable, Mapping

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from evals.evidence import Evidence
from evals.report.plots import short
from evals.report.view import Message, SampleView, Shown
from evals.schema import Arm

_MARKS = {"baseline": "strike yellow", "candidate": "underline cyan"}


def shown(view: SampleView, runs: Mapping[Arm, Evidence], no_prompt: str) -> Iterable[RenderableType]:
    """The parts of the sample, ready to print. Nothing in a text is taken for markup."""
    yield Text.assemble(
        (view.id, "bold"), f"   {' · '.join(view.tags)}", f"   cluster {view.cluster}" if view.cluster else ""
    )
    if no_prompt:
        yield Text(no_prompt, style="dim")
    for message in view.prompt:
        yield from _named(message)
    for reference in view.references:
        yield from _named(Message("reference", reference))
    for pair in view.pairs:
        table = Table.grid(expand=True, padding=(0, 1, 0, 0))
        for _ in pair:
            table.add_column(ratio=1)
        table.add_row(*(_panel(one, runs, len(view.pairs) > 1) for one in pair))
        yield table


def _named(message: Message) -> Iterable[RenderableType]:
    yield Text(message.role, style="dim")
    yield Padding(Text(message.text), (0, 0, 0, 2))


def _panel(one: Shown, runs: Mapping[Arm, Evidence], many: bool) -> Panel:
    run = runs[one.arm]
    title = Text(
        f"{one.arm}: {run.release or run.log.manifest.asked(run.arm)}" + (f", answer {one.epoch + 1}" if many else "")
    )
    return Panel(Group(*_inside(one)), title=title, title_align="left", box=box.ROUNDED)


def _inside(one: Shown) -> Iterable[RenderableType]:
    for turn in one.turns:
        yield Text(f"(turn before) {turn}", style="dim")
    if one.pieces:
        text = Text()
        for piece in one.pieces:
            text.append(piece.text, style=_MARKS[one.arm] if piece.change == "changed" else None)
        yield text
    if one.failure:
        yield Text(f"{one.outcome.replace('_', ' ')}: {one.failure}", style="red")
    elif not one.pieces:
        yield Text("no text", style="dim")
    for call in one.tool_calls:
        yield Text(f"calls {call}")
    yield Text()
    for score in one.scores:
        votes = f" (votes {', '.join(map(short, score.votes))})" if len(score.votes) > 1 else ""
        yield Text.assemble((f"{score.metric} {short(score.value)}", "bold"), f"{votes} {score.explanation}".rstrip())
    for passage in one.passages:
        yield Text(f"passage {passage.role}: {passage.text}", style="dim")
    if one.facts:
        yield Text(" · ".join(one.facts), style="dim")
