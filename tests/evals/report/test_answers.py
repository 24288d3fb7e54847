from evals.report import answers
from evals.report.answers import EVERYTHING, PAGE, Room
from evals.report.view import Moved
from evals.schema import Passage, Sample, ToolCall

ASKED = Sample(id="a", input="How much?", reference=["9", "nine"])


def test_both_answers_stand_beside_each_other_with_what_differs(make_evidence, retold) -> None:
    theirs = retold(make_evidence({"a": 1.0}, release="faq@1"), text="It costs 9 dollars.", explanation="right")
    ours = retold(make_evidence({"a": 0.0}, tags={"a": ["x"]}), text="It costs 8 dollars.", explanation="wrong")
    view = answers.sample("a", {"baseline": theirs, "candidate": ours}, ASKED, ["exact"], "regressed", PAGE)
    ((before, after),) = view.pairs
    assert (before.arm, after.arm) == ("baseline", "candidate")
    assert [piece.text for piece in after.pieces if piece.change == "changed"] == ["8 "]
    assert (after.scores[0].value, after.scores[0].explanation) == (0.0, "wrong")
    assert view.moved == (Moved("exact", 1.0, 0.0),)
    assert (view.prompt[0].text, view.references) == ("How much?", ("9", "nine"))


def test_missing_evidence_has_no_score_and_its_reason_is_there(make_evidence) -> None:
    run = make_evidence({"a": "missing", "b": 1.0})
    view = answers.sample("a", {"candidate": run}, None, ["exact"], "lowest", PAGE)
    assert view.moved[0].candidate is None
    assert view.pairs[0][0].failure == "timeout: no answer within 60 s"
    assert view.prompt == ()


def test_an_error_of_the_system_scores_nothing_and_is_named(make_evidence) -> None:
    view = answers.sample("a", {"candidate": make_evidence({"a": "system"})}, None, ["exact"], "lowest", PAGE)
    assert view.moved[0].candidate == 0.0
    assert (view.pairs[0][0].outcome, view.pairs[0][0].failure) == ("system_error", "server_error: 502")


def test_of_many_epochs_those_furthest_apart_are_shown_and_the_others_counted(make_evidence) -> None:
    theirs = make_evidence({"a": [1.0, 1.0, 1.0, 1.0, 1.0]}, release="faq@1")
    ours = make_evidence({"a": [1.0, 0.0, 1.0, 0.0, 1.0]})
    room = Room(text=100, passage=100, passages=1, epochs=2)
    view = answers.sample("a", {"baseline": theirs, "candidate": ours}, None, ["exact"], "regressed", room)
    assert [pair[0].epoch for pair in view.pairs] == [1, 3]
    assert view.epochs_left_out == 3
    every = answers.sample("a", {"candidate": ours}, None, ["exact"], "lowest", EVERYTHING)
    assert len(every.pairs) == 5


def test_tool_calls_passages_and_turns_are_there_within_bounds(make_evidence, retold) -> None:
    passages = [Passage(f"doc/{i}", "p" * 2_000, 0.5) for i in range(20)]
    calls = [ToolCall("find", {"plan": "Free"})]
    run = retold(
        make_evidence({"a": 1.0}), text="t" * 9_000, passages=passages, tool_calls=calls, turns=["before"], cached=True
    )
    shown = answers.sample("a", {"candidate": run}, None, ["exact"], "lowest", PAGE).pairs[0][0]
    assert (shown.cut, shown.turns, shown.tool_calls) == (5_000, ("before",), ('find({"plan": "Free"})',))
    assert len(shown.passages) == PAGE.passages + 1
    assert shown.passages[-1].text == "14 further passages are not shown"
    assert "1,300 more characters" in shown.passages[0].text
    assert shown.facts[0] == "from the harness's cache: no latency, no cost"
    assert "faq@2" in shown.facts[-1]


def test_a_sample_that_one_run_lacks_is_shown_of_the_other(make_evidence) -> None:
    runs = {"baseline": make_evidence({"a": 1.0}, release="faq@1"), "candidate": make_evidence({"b": 1.0})}
    view = answers.sample("a", runs, None, ["exact"], "regressed", PAGE)
    assert [shown.arm for pair in view.pairs for shown in pair] == ["baseline"]
    assert view.moved == (Moved("exact", 1.0, None),)
