"""What is read of JSON, and what makes it unreadable."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from gateway.policy import shapes

OF_STREAMS = ("chunk", "last", "messages_event", "responses_event", "responses_end")
READERS: dict[str, Callable[[bytes], Any]] = {
    name: getattr(shapes, name) for name in (*OF_STREAMS, "message", "answer", "counts", "metadata")
}


@pytest.mark.parametrize("name", READERS)
def test_what_is_not_there_has_its_default(name: str) -> None:
    empty = READERS[name](b"{}")
    assert READERS[name](b'{"unknown": [1, {"deep": null}]}') == empty
    assert empty == type(empty)()


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"a": }', b"{} {}"])
def test_what_is_no_object_is_unreadable(name: str, body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        READERS[name](body)


def test_a_member_of_another_type_is_unreadable_unless_any_will_do() -> None:
    assert shapes.answer(b'{"usage": 1, "object": []}') == shapes.Answer(usage=1, object=[])
    with pytest.raises(msgspec.ValidationError):
        shapes.chunk(b'{"choices": {}}')
    with pytest.raises(msgspec.ValidationError):
        shapes.responses_end(b'{"response": 1}')


def test_what_passes_on_keeps_its_bytes() -> None:
    read = shapes.chunk(b'{"usage": {"a":  1.0e0}, "choices": [{"index": 2}]}')
    assert bytes(read.usage) == b'{"a":  1.0e0}'
    assert [choice.index for choice in read.choices] == [2]
