import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.corpus import Document, chunks, load, spans
from evals.retrieval_config import ChunkerConfig
from gateway.contracts.errors import DocumentError

TEXTS = st.text(alphabet="ab \n\t.é", max_size=300)
CUTTERS = st.one_of(
    st.builds(ChunkerConfig, by=st.just("paragraphs"), size=st.integers(1, 60)),
    st.integers(1, 60).flatmap(
        lambda size: st.builds(
            ChunkerConfig, by=st.just("characters"), size=st.just(size), overlap=st.integers(0, size // 2)
        )
    ),
)


@settings(deadline=None)
@given(TEXTS, CUTTERS)
def test_no_word_is_lost_and_no_chunk_is_too_long(text: str, chunker: ChunkerConfig) -> None:
    cut = spans(text, chunker)
    covered = {position for start, end in cut for position in range(start, end)}
    assert all(position in covered for position, character in enumerate(text) if not character.isspace())
    assert all(0 <= start < end <= len(text) and end - start <= chunker.size for start, end in cut)
    assert [start for start, _ in cut] == sorted({start for start, _ in cut})


def pieces(text: str, **chunker: object) -> list[str]:
    return [chunk.text for chunk in chunks([Document("d", text)], ChunkerConfig(**chunker))]


def test_a_document_stays_whole_unless_told_otherwise() -> None:
    (chunk,) = chunks([Document("plans/team", "One.\n\nTwo.\n")], ChunkerConfig())
    assert (chunk.id, chunk.document, chunk.text) == ("plans/team#0", "plans/team", "One.\n\nTwo.")
    assert chunk.sha256 == hashlib.sha256(b"One.\n\nTwo.").hexdigest()


def test_a_corpus_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_bytes(b'\xef\xbb\xbf{"id": "a", "text": "One."}\n')
    assert load(tmp_path / "c.jsonl") == (Document("a", "One."),)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.md").write_bytes(b"\xef\xbb\xbfOne.")
    assert load(tmp_path / "folder") == (Document("a.md", "One."),)
    (tmp_path / "folder" / "b.txt").write_bytes(b"\xef\xbb\xbf")
    with pytest.raises(DocumentError, match="is blank"):
        load(tmp_path / "folder")


def test_characters_cut_between_words_and_overlap_from_a_words_beginning() -> None:
    text = "alpha beta gamma delta epsilon"
    assert pieces(text, by="characters", size=12) == ["alpha beta", "gamma delta", "epsilon"]
    assert pieces(text, by="characters", size=14, overlap=6) == [
        "alpha beta",
        "beta gamma",
        "gamma delta",
        "delta epsilon",
    ]
    assert pieces("x" * 25, by="characters", size=10) == ["x" * 10, "x" * 10, "x" * 5]


def test_paragraphs_are_joined_while_they_fit_and_cut_when_they_do_not() -> None:
    text = "one\n\ntwo\n \nthree and a half words\n\nend"
    assert pieces(text, by="paragraphs", size=100) == [text]
    assert pieces(text, by="paragraphs", size=10) == ["one\n\ntwo", "three and", "a half", "words\n\nend"]


def test_a_title_begins_every_chunk() -> None:
    cut = chunks([Document("d", "aaa bbb", title=" Team plan ")], ChunkerConfig(by="characters", size=4))
    assert [(chunk.id, chunk.text) for chunk in cut] == [("d#0", "Team plan\naaa"), ("d#1", "Team plan\nbbb")]


def test_a_file_is_read_in_the_order_of_ids(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"id": "b", "text": "two"}\n\n{"id": "a", "text": "one", "title": "T", "metadata": {"x": 1}}\n')
    assert load(path) == (Document("a", "one", "T", {"x": 1}), Document("b", "two"))


def test_every_mistake_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    lines = [
        '{"id": "a", "text": "x"}',
        '{"id": "a", "text": "y"}',
        '{"id": "b", "text": " "}',
        "{",
        '{"id": "c#1", "text": "x"}',
    ]
    lines += ['{"id": "d", "text": "x", "titel": "T"}', '{"id": "", "text": "x"}']
    path.write_text("\n".join(lines))
    with pytest.raises(DocumentError) as caught:
        load(path)
    message = str(caught.value)
    for told in (
        "line 2: duplicate id 'a': line 1 has it too",
        "line 3: document 'b' is blank",
        "line 4: not a document",
        "line 5: the id 'c#1' has a '#'",
        "line 6: not a document: Object contains unknown field `titel`",
        "line 7: the id is empty",
    ):
        assert told in message


def test_mistakes_that_are_left_out_are_counted(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text("{}\n" * 60)
    with pytest.raises(DocumentError, match="and 10 mistakes more"):
        load(tmp_path / "d.jsonl")


def test_json_that_is_too_deep_is_a_mistake_of_its_line(tmp_path: Path) -> None:
    deep = "[" * 5000 + "]" * 5000
    (tmp_path / "d.jsonl").write_text(f'{{"id": "a", "text": "x", "metadata": {{"a": {deep}}}}}\n')
    with pytest.raises(DocumentError, match="line 1: not a document"):
        load(tmp_path / "d.jsonl")


def test_a_folder_is_a_corpus_of_its_texts(tmp_path: Path) -> None:
    (tmp_path / "plans").mkdir()
    (tmp_path / ".git").mkdir()
    for name in ("b.txt", "plans/a.md", "picture.png", ".git/x.md"):
        (tmp_path / name).write_text(f"text of {name}")
    assert [document.id for document in load(tmp_path)] == ["b.txt", "plans/a.md"]
    (tmp_path / "empty.md").write_text("\n")
    with pytest.raises(DocumentError, match=r"document 'empty\.md' is blank"):
        load(tmp_path)


def test_nothing_is_no_corpus(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text("\n")
    with pytest.raises(DocumentError, match="no documents: expected one"):
        load(tmp_path / "d.jsonl")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DocumentError, match=r"ends in \.md or \.txt"):
        load(tmp_path / "empty")
