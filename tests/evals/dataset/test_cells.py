import pytest

from evals.dataset.cells import cells, value
from evals.schema import Sample


@pytest.mark.parametrize(
    ("name", "cell", "expected"),
    [
        ("input", "What is [1]?", "What is [1]?"),
        ("input", "[1, 2]", "[1, 2]"),
        ("input", '[{"role": "user", "content": "Hi"}]', [{"role": "user", "content": "Hi"}]),
        ("input", '"quoted"', '"quoted"'),
        ("input", "", ""),
        ("reference", '["a", "b"]', ["a", "b"]),
        ("reference", "[1, 2]", "[1, 2]"),
        ("reference", "[not json", "[not json"),
        ("reference", "", None),
        ("reference", '""', ""),
        ("tags", "a; b;;c ", ["a", "b", "c"]),
        ("tags", '["a;b"]', ["a;b"]),
        ("cluster", "", None),
        ("cluster", '["a"]', '["a"]'),
        ("follow_ups", '["And?"]', ["And?"]),
        ("expected_calls", "[]", []),
    ],
)
def test_a_cell_says(name: str, cell: str, expected: object) -> None:
    assert value(name, cell) == expected


def test_a_text_that_would_be_read_as_something_else_is_quoted() -> None:
    written = cells(Sample(id="a", input='[{"role": "user"}]', reference="", tags=["a;b"]))
    assert written["input"] == r'"[{\"role\": \"user\"}]"'
    assert written["reference"] == '""'
    assert written["tags"] == '["a;b"]'


def test_json_that_is_none_is_refused_with_an_example() -> None:
    with pytest.raises(ValueError, match=r"relevant: expected JSON, such as \[\"doc-1\"\].*found 'doc-1'"):
        value("relevant", "doc-1")
