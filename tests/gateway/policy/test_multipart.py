"""Forms: what is read is what the engine reads, what is ambiguous is refused, and no other byte changes."""

from contextlib import suppress
from email import message_from_bytes, policy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.contracts.errors import InvalidRequest
from gateway.policy.multipart import MAX_HEAD_BYTES, MAX_PARTS, MAX_TEXT_BYTES, Form, parse

TYPE = b"multipart/form-data; boundary=X"
FILE = b'--X\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n%b\r\n'
END = b"--X--\r\n"
NAMES = st.text(st.characters(min_codepoint=32, exclude_characters='"\\', exclude_categories=["Cs", "Cc"]), max_size=8)
VALUES = st.binary(max_size=40).filter(lambda value: b"--X" not in value)


def _field(name: str, value: bytes) -> bytes:
    return b'--X\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (name.encode(), value)


def _form(*parts: bytes) -> Form:
    return parse(b"".join(parts) + END, TYPE)


def _values(form: Form) -> list[tuple[str, bytes]]:
    """As another reader of forms sees them."""
    head = b"Content-Type: " + form.content_type + b"\r\n\r\n"
    found = message_from_bytes(head + form.body, policy=policy.HTTP)
    return [
        (str(part.get_param("name", header="content-disposition")), part.get_payload(decode=True))
        for part in found.get_payload()
    ]


def _refused(body: bytes, content_type: bytes | None = TYPE) -> str:
    with pytest.raises(InvalidRequest) as caught:
        parse(body, content_type)
    return caught.value.message


@settings(deadline=None)
@given(st.lists(st.tuples(NAMES, VALUES), max_size=5))
def test_every_part_is_found_where_it_lies(fields: list[tuple[str, bytes]]) -> None:
    form = _form(*(_field(name, value) for name, value in fields))
    found = [(part.start, name, form.body[part.start : part.end]) for name in form.parts for part in form.parts[name]]
    assert [(name, value) for _, name, value in sorted(found)] == fields


def test_another_reader_sees_the_same_before_and_after() -> None:
    form = _form(_field("model", b"faq"), FILE % b"\x00\r\n--\xff", _field("prompt", b"hi"))
    sent = parse(form.rewritten({"model": "/models/other", "seed": "1"}), form.content_type)
    assert _values(form) == [("model", b"faq"), ("file", b"\x00\r\n--\xff"), ("prompt", b"hi")]
    assert _values(sent) == [("seed", b"1"), ("model", b"/models/other"), *_values(form)[1:]]


@settings(deadline=None)
@given(VALUES, VALUES, st.sampled_from(["a", "a longer name", "é"]))
def test_only_the_part_that_changes_changes(before: bytes, after: bytes, model: str) -> None:
    parts = [FILE % before, _field("model", b"faq"), _field("language", after)]
    assert _form(*parts).rewritten({"model": model}) == b"".join(
        [parts[0], _field("model", model.encode()), parts[2], END]
    )


def test_nothing_to_change_is_the_same_bytes() -> None:
    form = _form(FILE % b"abc", _field("model", b"faq"))
    assert form.rewritten({}) == form.body


@pytest.mark.parametrize("end", [b"", b"\r\n", b"\n", b"\r"])
def test_a_form_may_end_with_a_line_or_not(end: bytes) -> None:
    assert parse(_field("model", b"faq") + b"--X--" + end, TYPE).text("model") == "faq"


def test_a_file_is_no_text() -> None:
    with pytest.raises(InvalidRequest, match="short text") as caught:
        _form(FILE % b"abc").text("file")
    assert caught.value.param == "file"


@pytest.mark.parametrize("value", [b"x" * (MAX_TEXT_BYTES + 1), b"\xff"], ids=["long", "bytes"])
def test_a_text_is_short_and_in_utf_8(value: bytes) -> None:
    with pytest.raises(InvalidRequest):
        _form(_field("model", value)).text("model")


def test_a_text_that_comes_twice_is_refused_when_it_is_read() -> None:
    form = _form(_field("model", b"a"), _field("model", b"b"), _field("language", b"de"))
    assert form.text("language") == "de"
    with pytest.raises(InvalidRequest, match="2 times"):
        form.text("model")


def test_what_is_missing_or_empty_is_none() -> None:
    form = _form(_field("prompt", b""))
    assert (form.text("prompt"), form.text("model")) == (None, None)


@pytest.mark.parametrize(
    "told",
    [
        TYPE,
        b'multipart/form-data; boundary="X"',
        b"Multipart/Form-Data;boundary=X",
        b"multipart/form-data ; BOUNDARY=X ",
    ],
)
def test_the_content_type_is_told_on_in_one_way(told: bytes) -> None:
    assert parse(END, told).content_type == b'multipart/form-data; boundary="X"'


@pytest.mark.parametrize(
    "told",
    [
        None,
        b"",
        b"application/json",
        b"multipart/form-data",
        b"multipart/form-data; boundary=",
        b'multipart/form-data; boundary=""',
        b"multipart/mixed; boundary=X",
        b"multipart/form-data; boundary=X; boundary=Y",
        b"multipart/form-data; boundary=X; charset=utf-16",
        b"multipart/form-data; charset=utf-16; boundary=X",
        b"multipart/form-data; boundary=" + b"X" * 71,
        b'multipart/form-data; boundary="X\r\nX"',
    ],
)
def test_another_content_type_is_refused(told: bytes | None) -> None:
    assert "multipart/form-data; boundary" in _refused(END, told)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"preamble\r\n" + END,
        b"\r\n" + END,
        b"--X",
        b"--X\r\n",
        b"--X\n--X--",
        b"--X \r\n" + _field("a", b"1")[5:] + END,
        _field("a", b"1"),
        _field("a", b"1") + b"--X-",
        _field("a", b"1") + END + b"epilogue",
        _field("a", b"1") + END + b"\r\n" * 99,
        _field("a", b"1") + b"--X--a",
        _field("a", b"1") + b"--XY\r\n" + END,
        b'--X\r\nContent-Disposition: form-data; name="a"\r\n\r\n--X--\r\n',
        b'--X\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + _field("model", b"faq") + END,
        b"--X\r\n\r\nvalue\r\n" + END,
        b'--X\nContent-Disposition: form-data; name="a"\n\n1\n--X--\n',
        b'--X\r\nContent-Disposition: form-data; name="a"\r\n folded: x\r\n\r\n1\r\n' + END,
        b"--X\r\nX: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n1\r\n" + END,
        _field("a", b"1") * (MAX_PARTS + 1) + END,
    ],
)
def test_what_two_readers_could_read_in_two_ways_is_refused(body: bytes) -> None:
    assert "not a form" in _refused(body)


@pytest.mark.parametrize(
    "disposition",
    [
        b"form-data",
        b"form-data; name",
        b"attachment; name=a",
        b'form-data; name="a"; name="b"',
        b'form-data; name="a\\"b"',
        b"form-data; name*=utf-8''model",
        b'form-data; name="a"; filename="x"; name="model"',
        b'form-data; name="a"; other="b"',
        b'form-data; name="\xff"',
    ],
)
def test_a_name_is_told_once_and_plainly(disposition: bytes) -> None:
    _refused(b"--X\r\nContent-Disposition: " + disposition + b"\r\n\r\n1\r\n" + END)


def test_a_part_has_one_disposition() -> None:
    twice = b'--X\r\nContent-Disposition: form-data; name="a"\r\nContent-Disposition: form-data; name="b"\r\n\r\n1\r\n'
    _refused(twice + END)


@pytest.mark.parametrize(
    ("disposition", "expected"),
    [
        (b"form-data; name=model", ("model", False)),
        (b'FORM-DATA;name="timestamp_granularities[]"', ("timestamp_granularities[]", False)),
        (b'form-data; name="file"; filename="a \\"b\\".wav"', ("file", True)),
        (b'form-data; name="file"; filename="a.wav"; filename*=utf-8\'\'a.wav', ("file", True)),
        (b"form-data; name=file; filename=a.wav", ("file", True)),
    ],
)
def test_the_ways_of_writing_a_name(disposition: bytes, expected: tuple[str, bool]) -> None:
    form = _form(b"--X\r\ncontent-disposition: " + disposition + b"\r\n\r\n1\r\n")
    ((name, parts),) = form.parts.items()
    assert (name, parts[0].file) == expected


@settings(deadline=None)
@given(st.binary(max_size=120))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with suppress(InvalidRequest):
        parse(b"--X\r\n" + body + END, TYPE)


def test_law_9_a_refusal_does_not_repeat_the_body() -> None:
    for body in (b"my secret", b"--X\r\nmy secret\r\n\r\n1\r\n" + END, _field("a", b"my secret")):
        assert "my secret" not in _refused(body)
