"""Strict YAML: each mistake a person can make is named with its line and key."""

import textwrap
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from gateway.contracts import documents
from gateway.contracts.errors import DocumentError, Mistake


class Inner(documents.Frozen):
    """A nested model."""

    rate: int
    burst: int = 1


class Outer(documents.Frozen):
    """A model with every nesting that configuration uses."""

    name: str
    limits: Inner | None = None
    pools: dict[str, Inner] = Field(default_factory=dict)
    items: tuple[Inner, ...] = ()
    folder: str = ""


def _read(text: str, model: type[documents.Frozen] = Outer) -> documents.Frozen:
    return documents.validate(*documents.parse(textwrap.dedent(text), "c.yaml"), model, "c.yaml")


def _mistakes(text: str, model: type[documents.Frozen] = Outer) -> tuple[Mistake, ...]:
    with pytest.raises(DocumentError) as caught:
        _read(text, model)
    assert str(caught.value).startswith("c.yaml: line ")
    return caught.value.mistakes


def _write(folder: Path, text: str | bytes) -> Path:
    path = folder / "c.yaml"
    path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
    return path


def test_a_good_file_becomes_a_frozen_model(tmp_path: Path) -> None:
    path = _write(tmp_path, "name: a\npools:\n  x: {rate: 3}\nitems:\n  - rate: 1\n  - {rate: 2, burst: 4}\n")
    loaded = documents.load(path, Outer)
    assert loaded == Outer(name="a", pools={"x": Inner(rate=3)}, items=(Inner(rate=1), Inner(rate=2, burst=4)))
    with pytest.raises(ValueError, match="frozen"):
        loaded.name = "b"  # type: ignore[misc]


def test_a_check_of_the_whole_model_names_lines_too(tmp_path: Path) -> None:
    path = _write(tmp_path, "name: a\npools:\n  x:\n    rate: 3\n")

    def check(model: Outer) -> Iterator[tuple[documents.Location, str]]:
        yield ("pools", "x", "rate"), f"the rate of {model.name!r} is odd"
        yield ("pools", "x", "burst"), "says nothing"

    with pytest.raises(DocumentError) as caught:
        documents.load(path, Outer, check=check)
    assert [(m.line, m.key) for m in caught.value.mistakes] == [(3, "pools.x.burst"), (4, "pools.x.rate")]
    assert documents.load(path, Outer, check=lambda _: ()).name == "a"


@pytest.mark.parametrize(
    ("text", "line", "key", "says"),
    [
        ("name: a\nnmae: b\n", 2, "nmae", "unknown key 'nmae': did you mean 'name'?"),
        (
            "name: a\nzzz: 1\n",
            2,
            "zzz",
            "unknown key 'zzz': the keys known here are folder, items, limits, name, pools",
        ),
        ("name: a\nlimits:\n  rate: 1\n  brust: 2\n", 4, "limits.brust", "did you mean 'burst'?"),
        ("name: a\npools:\n  x:\n    rate: 1\n    rates: 2\n", 5, "pools.x.rates", "did you mean 'rate'?"),
        ("name: a\nitems:\n  - rate: 1\n  - rate: 2\n    brst: 2\n", 5, "items.1.brst", "did you mean 'burst'?"),
        ("name: a\nlimits:\n  burst: 2\n", 2, "limits.rate", "missing key 'rate': it is required here"),
        ("name: a\nitems:\n  - rate: 1\n  - burst: 2\n", 4, "items.1.rate", "missing key 'rate'"),
        ("limits: {rate: 1}\n", 1, "name", "missing key 'name'"),
        ("name: a\nlimits:\n  rate: fast\n", 3, "limits.rate", "expected a whole number, found 'fast'"),
        ("name: a\nname: b\n", 2, "name", "duplicate key 'name': keep one of the two"),
        ("name: a\nlimits:\n  rate: 1\n  rate: 2\n", 4, "limits.rate", "duplicate key 'rate'"),
        ("name: a\nlimits: {rate: 1, rate: 1}\n", 2, "limits.rate", "duplicate key 'rate'"),
        ("name: &a x\nfolder: *a\n", 2, "", "aliases (*name) are refused"),
        ("name: a\nlimits: &l {rate: 1}\npools:\n  x:\n    <<: *l\n", 5, "", "aliases"),
        ("name: a\nlimits: [\n", 3, "", "not valid YAML"),
        ("name: a\n\tlimits: 1\n", 2, "", "not valid YAML"),
        ("name: a\n---\nname: b\n", 2, "", "not valid YAML"),
        ('name: a\nfolder: "\\ud83c"\n', 2, "folder", "found half a character"),
        ('name: a\npools:\n  "\\udf89": {rate: 1}\n', 3, "pools", "cannot read this key"),
        ("- name\n", 1, "", "expected keys and values at the top level, found a list"),
        ("just text\n", 1, "", "found a str"),
    ],
)
def test_each_mistake_is_named_with_its_line_and_key(text: str, line: int, key: str, says: str) -> None:
    (mistake,) = _mistakes(text)
    assert (mistake.line, mistake.key) == (line, key)
    assert says in mistake.message


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.getcwd []",
        "!include other.yaml",
        "!!python/name:os.system",
        "!!bool maybe",
        '!!int ""',
        '!!float ""',
        "!!timestamp soon",
    ],
)
def test_tags_are_refused_and_run_nothing(tag: str) -> None:
    assert _mistakes(f"name: {tag}\n")[0].line == 1


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfkey: \xef\xbb\xbfvalue\n")
    assert documents.read_text(tmp_path / "a") == "key: \ufeffvalue\n"


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_path_that_cannot_be_one_is_a_mistake_too(name: str) -> None:
    with pytest.raises(DocumentError, match="cannot be read"):
        documents.read_text(Path(name))


def test_every_mistake_is_reported_in_the_order_of_lines() -> None:
    found = _mistakes("nmae: a\nlimits:\n  rate: x\n  brust: 1\npools: 3\n")
    assert [(m.line, m.key) for m in found] == [
        (1, "name"),
        (1, "nmae"),
        (3, "limits.rate"),
        (4, "limits.brust"),
        (5, "pools"),
    ]


def test_several_duplicates_are_reported_together() -> None:
    assert [m.line for m in _mistakes("name: a\nname: b\nfolder: c\nfolder: d\n")] == [2, 4]


def test_a_bad_value_is_named_with_its_place() -> None:
    (mistake,) = _mistakes("name: a\nfolder: 2026-13-45\n")
    assert (mistake.line, mistake.key) == (2, "folder")


def test_an_empty_file_has_no_keys(tmp_path: Path) -> None:
    assert documents.parse("", "c.yaml") == ({}, {(): 1})
    with pytest.raises(DocumentError, match="missing key 'name'"):
        documents.load(_write(tmp_path, "# nothing\n"), Outer)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00name", b"name: \x80"])
def test_a_binary_file_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DocumentError, match="cannot be read"):
        documents.load(_write(tmp_path, content), Outer)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="no such file"):
        documents.load(tmp_path / "none.yaml", Outer)
    with pytest.raises(DocumentError, match="cannot be read"):
        documents.load(tmp_path, Outer)


def test_a_huge_file_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(DocumentError, match=f"at most {documents.MAX_BYTES}"):
        documents.parse("a" * (documents.MAX_BYTES + 1), "c.yaml")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "[" * 5_000 + "]" * 5_000, "{a: " * 50_000, "- " * 20_000, "? " * 20_000]
)
def test_deep_nesting_is_a_document_error(text: str) -> None:
    """A file of brackets must neither end the process that reads it nor keep it for minutes."""
    with pytest.raises(DocumentError, match=f"more than {documents.MAX_DEPTH} deep") as caught:
        documents.parse(f"a: b\nc:\n {text}", "c.yaml")
    assert caught.value.mistakes[0].line == 3


def test_lists_beside_each_other_are_not_deep() -> None:
    text = "".join(f"a{at}: [[], {{}}, [[]]]\n" for at in range(3 * documents.MAX_DEPTH))
    deep = "b: " + "[" * (documents.MAX_DEPTH - 1) + "]" * (documents.MAX_DEPTH - 1)
    assert len(documents.parse(text + deep, "c.yaml")[0]) == 3 * documents.MAX_DEPTH + 1


def test_an_unhashable_key_is_a_document_error_or_text() -> None:
    values, _ = documents.parse("? [a, b]\n: 1\n", "c.yaml")
    assert all(isinstance(key, str) for key in values)


@pytest.mark.parametrize(("text", "value"), [("a: yes", True), ("a: 1_000", 1000), ("a: '1'", "1"), ("a:", None)])
def test_scalars_are_what_yamls_safe_schema_makes_of_them(text: str, value: object) -> None:
    assert documents.parse(text, "c.yaml")[0] == {"a": value}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(st.characters(codec="ascii"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abcdefgh", min_size=1, max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(value=st.dictionaries(st.text("abcdefgh", min_size=1, max_size=4), JSON, max_size=4))
def test_what_yaml_writes_is_read_back_and_every_key_has_its_line(value: dict[str, Any]) -> None:
    # Without anchors, which a dumper makes for a value that occurs twice.
    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    text = yaml.dump(value, Dumper=Plain, default_flow_style=False)
    read, lines = documents.parse(text, "c.yaml")
    # `y` and `no` as keys stay text: keys are never converted.
    assert read == value
    for key in value:
        assert text.splitlines()[lines[(key,)] - 1].lstrip("'\"? ").startswith(key)


@given(text=st.text(max_size=60) | st.text(":-?[]{}&*!|>'\"#, \n\tab1", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(DocumentError):
        documents.parse(text, "c.yaml")


def test_a_duplicate_key_hides_no_other_mistake(tmp_path: Path) -> None:
    path = _write(tmp_path, "name: a\nname: b\nfolder: x\nnonsense: 1\n")
    with pytest.raises(DocumentError) as caught:
        documents.load(path, Outer)
    assert [(m.line, m.key) for m in caught.value.mistakes] == [(2, "name"), (4, "nonsense")]


def test_paths_start_beside_the_file_that_a_link_leads_to(tmp_path: Path) -> None:
    """And a folder's own link stays, as another folder may be put behind it."""
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.yaml").touch()
    (tmp_path / "current").symlink_to("one")
    (tmp_path / "a.yaml").symlink_to("one/a.yaml")
    (tmp_path / "again.yaml").symlink_to("a.yaml")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    assert documents.folder_of(tmp_path / "a.yaml") == documents.folder_of(tmp_path / "again.yaml") == tmp_path / "one"
    assert documents.folder_of(tmp_path / "current" / "a.yaml") == tmp_path / "current"
    assert documents.folder_of(tmp_path / "one" / ".." / "one" / "a.yaml") == tmp_path / "one"
    assert documents.folder_of(tmp_path / "loop.yaml") == tmp_path


def test_a_character_that_json_writes_as_a_pair_is_one() -> None:
    assert documents.parse('{"\\ud83c\\udf89": "a \\ud83c\\udf89 \\u00fc", "b": "\\ufeff\U0001f389"}', "f")[0] == {
        "\U0001f389": "a \U0001f389 \u00fc",
        "b": "\ufeff\U0001f389",
    }
