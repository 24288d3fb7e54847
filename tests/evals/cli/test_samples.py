from rich.console import Console

from evals.cli import samples
from evals.report import answers
from evals.schema import Passage, Sample, ToolCall


def printed(view, runs) -> str:
    screen = Console(width=120, highlight=False, emoji=False, force_terminal=False, record=True)
    with screen.capture() as taken:
        for part in samples.shown(view, runs, ""):
            screen.print(part)
    return taken.get()


def test_everything_about_a_sample_is_printed_and_markup_stays_text(make_evidence, retold) -> None:
    more = {
        "passages": [Passage("doc/1", "[bold]p[/bold]", 0.5)],
        "tool_calls": [ToolCall("find")],
        "turns": ["before"],
    }
    run = retold(
        make_evidence({"a": 1.0}),
        text="[red]9[/red] :smile: \x1b[31m",
        explanation="[/x] right",
        votes=[1.0, 0.0],
        **more,
    )
    view = answers.sample(
        "a", {"candidate": run}, Sample(id="a", input="[b]?"), ["exact"], "lowest", answers.EVERYTHING
    )
    text = printed(view, {"candidate": run})
    for words in (
        "[red]9[/red] :smile: <U+001B>[31m",
        "[/x] right",
        "votes 1, 0",
        "[bold]p[/bold]",
        "find({})",
        "before",
        "[b]?",
    ):
        assert words in text
    assert "\x1b" not in text


def test_answers_of_many_epochs_are_numbered(make_evidence) -> None:
    run = make_evidence({"a": [1.0, "missing"]})
    view = answers.sample("a", {"candidate": run}, None, ["exact"], "lowest", answers.EVERYTHING)
    text = printed(view, {"candidate": run})
    assert "candidate: faq@2, answer 1" in text
    assert "answer 2" in text
    assert "harness error: timeout" in text
