import pytest
from pydantic import ValidationError

from evals.retrieval_config import ChunkerConfig, EmbeddingsConfig, RetrievalConfig, is_server


def refusal(kind: type, **values: object) -> str:
    with pytest.raises(ValidationError) as caught:
        kind(**values)
    return str(caught.value)


def test_the_defaults_need_no_network_and_no_store() -> None:
    assert EmbeddingsConfig().local
    assert (RetrievalConfig(corpus="d.jsonl").store, RetrievalConfig(corpus="d.jsonl").chunker.by) == (
        ":memory:",
        "document",
    )


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"by": "characters"}, "missing key 'size'"),
        ({"by": "document", "size": 10}, "do not belong to by: document"),
        ({"by": "paragraphs", "size": 10, "overlap": 2}, "'overlap' does not belong"),
        ({"by": "characters", "size": 10, "overlap": 6}, "at most half the size (10), found 6"),
        ({"by": "sentences", "size": 10}, "'document', 'characters' or 'paragraphs'"),
        ({"by": "characters", "size": 0}, "greater than or equal to 1"),
    ],
)
def test_a_chunker_that_cannot_work_is_refused(values: dict, told: str) -> None:
    assert told in refusal(ChunkerConfig, **values)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"template": "{question}"}, "expected {passages} once, found it 0 times"),
        ({"template": "{passages} {passages} {question}"}, "found it 2 times"),
        ({"store": "http://user:secret@h:6333"}, "carries neither credentials"),
        ({"store": ".index", "api_key_env": "QDRANT_KEY"}, "belongs to a server"),
        ({"k": 0}, "greater than or equal to 1"),
        ({"colection": "x"}, "Extra inputs are not permitted"),
    ],
)
def test_a_retrieval_that_cannot_work_is_refused(values: dict, told: str) -> None:
    message = refusal(RetrievalConfig, corpus="d.jsonl", **values)
    assert told in message


def test_the_local_model_takes_no_url_and_a_served_one_does() -> None:
    assert "does not belong to 'wordllama'" in refusal(EmbeddingsConfig, base_url="http://h/v1")
    assert not EmbeddingsConfig(model="bge-m3", base_url="http://h/v1", api_key_env="KEY").local
    assert "expected a URL such as" in refusal(EmbeddingsConfig, model="bge-m3", base_url="h:8080")


def test_braces_in_a_template_are_text() -> None:
    made = RetrievalConfig(corpus="d", template='{"json": {}} {passages} {question}')
    assert made.template.startswith('{"json"')


@pytest.mark.parametrize(
    ("store", "server"),
    [("http://h:6333", True), ("https://h", True), (".index", False), (":memory:", False), ("httpdocs", False)],
)
def test_a_store_is_a_server_by_its_scheme(store: str, server: bool) -> None:
    assert is_server(store) is server
