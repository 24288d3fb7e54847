"""The keys of a suite that say where passages come from: `embeddings` and `retrieval`.

embeddings: {model: wordllama}
retrieval:
  corpus: documents.jsonl
  chunker: {by: paragraphs, size: 800}
  k: 5
"""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from gateway.contracts import documents

LOCAL_MODEL = "wordllama"
MEMORY = ":memory:"
PASSAGES, QUESTION = "{passages}", "{question}"
TEMPLATE = """\
Answer the question from the passages below and from nothing else. If they do not hold the answer, say that you do \
not know.

{passages}

Question: {question}"""

EnvName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Collection = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


def is_server(store: str) -> bool:
    """Whether a store is a Qdrant server's URL, and not a folder or memory."""
    return store.startswith(("http://", "https://"))


def checked_template(template: str) -> str:
    """The template. Raises ValueError unless passages and question have one place each; other braces are text."""
    for place in (PASSAGES, QUESTION):
        if template.count(place) != 1:
            raise ValueError(f"expected {place} once, found it {template.count(place)} times")
    return template


class EmbeddingsConfig(documents.Frozen):
    """Which model makes vectors of text.

    `wordllama` runs in this process and needs no network; any other name is asked of `/v1/embeddings` under `base_url`
    (the run's own, if left out) with the key in the variable `api_key_env`.
    """

    model: Annotated[str, Field(min_length=1)] = LOCAL_MODEL
    base_url: str | None = None
    api_key_env: EnvName | None = None

    @property
    def local(self) -> bool:
        """Whether the model runs in this process."""
        return self.model == LOCAL_MODEL

    @field_validator("base_url")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        if value is not None:
            documents.http_url(value, "http://127.0.0.1:8080/v1")
        return value

    @model_validator(mode="after")
    def _served(self) -> "EmbeddingsConfig":
        for key in ("base_url", "api_key_env"):
            if self.local and getattr(self, key) is not None:
                raise ValueError(f"{key!r} does not belong to {LOCAL_MODEL!r}, which asks nobody: leave it out")
        return self


class ChunkerConfig(documents.Frozen):
    """How a document is cut into chunks.

    `document`: not at all. `characters`: pieces of at most `size` characters, cut between words where there are any, of
    which each repeats up to `overlap` characters of the one before. `paragraphs`: blank lines separate; neighbours are
    joined while they fit into `size`, and a longer paragraph is cut like `characters`.
    """

    by: Literal["document", "characters", "paragraphs"] = "document"
    size: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    overlap: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _sizes(self) -> "ChunkerConfig":
        if self.by == "document" and (self.size is not None or self.overlap is not None):
            raise ValueError("'size' and 'overlap' do not belong to by: document, which cuts nothing")
        if self.by != "document" and self.size is None:
            raise ValueError(f"missing key 'size': by: {self.by} needs the most characters of a chunk")
        if self.by == "paragraphs" and self.overlap is not None:
            raise ValueError("'overlap' does not belong to by: paragraphs, which cuts between them")
        if self.size is not None and self.overlap is not None and 2 * self.overlap > self.size:
            raise ValueError(f"expected an overlap of at most half the size ({self.size}), found {self.overlap}")
        return self


class RetrievalConfig(documents.Frozen):
    """Which passages a question gets.

    `corpus` is a JSON Lines file or a folder, beside the suite. `store` is a Qdrant server's URL, a folder (Qdrant's
    local mode; one process at a time), or memory, where the index is made anew for each run. `collection` defaults to
    the corpus's name. `exact` asks a server not to use its index. `template` puts passages and question together.
    """

    corpus: Annotated[str, Field(min_length=1)]
    store: Annotated[str, Field(min_length=1)] = MEMORY
    collection: Collection | None = None
    api_key_env: EnvName | None = None
    chunker: ChunkerConfig = ChunkerConfig()
    k: Annotated[int, Field(ge=1, le=1000)] = 5
    exact: bool = False
    template: str = TEMPLATE

    @field_validator("template")
    @classmethod
    def _places(cls, value: str) -> str:
        return checked_template(value)

    @field_validator("store")
    @classmethod
    def _store(cls, value: str) -> str:
        if is_server(value):
            documents.http_url(value, "http://127.0.0.1:6333")
        return value

    @model_validator(mode="after")
    def _keyed(self) -> "RetrievalConfig":
        if self.api_key_env is not None and not is_server(self.store):
            raise ValueError("'api_key_env' belongs to a server: leave it out for a store on this machine")
        return self
