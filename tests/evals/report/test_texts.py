import pytest

from evals.report import texts
from evals.report.view import Message
from evals.schema import Sample, ToolCall


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\n\ttext", "plain\n\ttext"),
        ("red \x1b[31malert\x1b[0m", "red <U+001B>[31malert<U+001B>[0m"),
        ("user\u202egnp.exe", "user<U+202E>gnp.exe"),
        ("two\r\nlines\x00", "two\nlines<U+0000>"),
        ("lone \ud800", "lone <U+D800>"),
        ("Grüße 日本 مرحبا", "Grüße 日本 مرحبا"),
    ],
)
def test_what_would_be_obeyed_and_not_seen_is_shown_as_its_code(text: str, shown: str) -> None:
    assert texts.clean(text) == shown


def test_a_long_text_says_what_is_left_out() -> None:
    assert texts.cut("abcdef", 4) == ("abcd", 2)
    assert texts.ending("abcdef", 4) == "abcd … (2 more characters)"
    assert texts.ending("abcd", 4) == "abcd"


def test_a_call_is_written_like_one() -> None:
    assert texts.call(ToolCall("find", {"plan": "Große"})) == 'find({"plan": "Große"})'


def test_a_prompt_is_what_is_asked_in_order() -> None:
    sample = Sample(id="a", input="first?", contexts=["given"], follow_ups=["then?"])
    assert texts.prompt(sample, 100) == (
        Message("given passage", "given"),
        Message("user", "first?"),
        Message("user, then", "then?"),
    )


def test_messages_of_many_parts_show_their_text_and_name_the_rest() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is this?"}, picture, "odd"]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
    ]
    assert [message.text for message in texts.prompt(Sample(id="a", input=messages), 100)] == [
        "Be brief.",
        "What is this?\n[image_url]\n[str]",
        '[{"id": "1"}]',
    ]
