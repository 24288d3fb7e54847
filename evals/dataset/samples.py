"""Samples: what makes one valid, its digest, and the digest of many."""

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from evals.schema import Sample, cluster_key
from gateway.contracts import canonical

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
_ALWAYS = frozenset({"id", "input", "reference", "tags", "cluster"})
_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode
_EMPTY_BY_DEFAULT = frozenset({"tags", "follow_ups", "tools"})
"""Where an empty list says that nothing was set. In any other field it says something: no call, no passage."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Samples in the order of the file; `digests` by sample id; `digest` of the whole, which no order changes."""

    path: Path
    samples: tuple[Sample, ...]
    digests: dict[str, str]
    digest: str

    def tagged(self, tag: str | None) -> list[Sample]:
        """The samples that carry a tag; all of them for None."""
        return [sample for sample in self.samples if tag is None or tag in sample.tags]

    def only(self, ids: Iterable[str]) -> "Dataset":
        """The data set of these samples alone, in the order of the file, with a digest of its own."""
        kept = set(ids)
        samples = tuple(sample for sample in self.samples if sample.id in kept)
        digests = {sample.id: self.digests[sample.id] for sample in samples}
        return Dataset(self.path, samples, digests, whole_digest(digests))


def unit(sample: Sample) -> str:
    """The unit of the statistics that a sample belongs to: see `schema.cluster_key`."""
    return cluster_key(sample.id, sample.cluster)


def sample_digest(sample: Sample) -> str:
    """sha256 over the canonical JSON of the fields; those that not every sample has count only where they are set."""
    if _is_plain(sample):
        return _plain_digest(sample)
    fields: dict[str, Any] = msgspec.to_builtins(sample)
    return canonical.digest({key: value for key, value in fields.items() if key in _ALWAYS or is_set(key, value)})


def is_set(field: str, value: Any) -> bool:
    """Whether a value of a sample's field is more than what the field holds anyway."""
    return value is not None and not (value == [] and field in _EMPTY_BY_DEFAULT)


def _is_plain(sample: Sample) -> bool:
    """Whether every value of a sample is text, or a list of texts, under the keys that each sample has."""
    more = sample.follow_ups or sample.tools or sample.relevant
    return isinstance(sample.input, str) and not more and sample.expected_calls is None and sample.contexts is None


def _plain_digest(sample: Sample) -> str:
    """The same digest, ten times as fast: for text alone the standard library writes RFC 8785's JSON already."""
    values = {name: getattr(sample, name) for name in _ALWAYS}
    return "sha256:" + hashlib.sha256(_encode(values).encode()).hexdigest()


def whole_digest(digests: dict[str, str]) -> str:
    """The digest of a data set: over the pairs of id and sample digest, sorted by id."""
    return canonical.digest(sorted(digests.items()))


def parse(raw: Any) -> Sample:
    """A JSON value as a sample. Raises ValueError (msgspec's errors are ValueErrors) with a message for people."""
    if not isinstance(raw, dict):
        raise ValueError(f"expected a JSON object, found a {type(raw).__name__}")
    unknown = sorted(set(raw) - set(Sample.__struct_fields__))
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}: the keys are {', '.join(Sample.__struct_fields__)}")
    for key in ("id", "input"):
        if key not in raw:
            raise ValueError(f"missing key {key!r}: every sample needs it")
    sample = msgspec.convert(raw, Sample)
    _check(sample)
    if isinstance(sample.input, list):
        _check_messages(sample.input)
    _check_conversation(sample)
    _check_tools(sample)
    _check_documents(sample)
    return sample


def _check(sample: Sample) -> None:
    if not sample.id:
        raise ValueError("id is empty")
    if not sample.input:
        raise ValueError("input is empty")
    if sample.cluster == "":
        raise ValueError("cluster is empty: leave the key out for a sample on its own")
    if sample.reference == []:
        raise ValueError("reference is an empty list: leave the key out when there is no expected answer")
    if not all(sample.tags):
        raise ValueError("tags: one of them is empty; leave it out")


def _check_messages(messages: list[dict[str, Any]]) -> None:
    for position, message in enumerate(messages):
        if message.get("role") not in _ROLES or "content" not in message:
            raise ValueError(
                f"input[{position}]: expected a chat message with 'role' (one of {', '.join(sorted(_ROLES))}) "
                "and 'content'"
            )


def _check_conversation(sample: Sample) -> None:
    if not all(text.strip() for text in sample.follow_ups):
        raise ValueError("follow_ups: expected what the user says next, found an empty text; leave it out")
    if sample.follow_ups and isinstance(sample.input, list) and sample.input[-1]["role"] != "user":
        raise ValueError(
            f"follow_ups: expected input to end with the user's message, found {sample.input[-1]['role']!r}: "
            "a follow-up is asked once that message is answered"
        )


def _check_tools(sample: Sample) -> None:
    names: list[str] = []
    for position, tool in enumerate(sample.tools):
        function = tool.get("function")
        function = function if isinstance(function, dict) else {}
        name = function.get("name")
        if tool.get("type") != "function" or not isinstance(name, str) or not name:
            shape = '{"type": "function", "function": {"name": ..., "parameters": {...}}}'
            raise ValueError(f"tools[{position}]: expected {shape}, found {tool!r:.200}")
        if not isinstance(function.get("parameters", {}), dict):
            raise ValueError(f"tools[{position}]: parameters of {name!r}: expected a JSON schema, which is an object")
        if name in names:
            raise ValueError(f"tools[{position}]: a second tool is called {name!r}: names have to differ")
        names.append(name)
    for position, call in enumerate(sample.expected_calls or ()):
        if not call.name:
            raise ValueError(f"expected_calls[{position}]: name is empty: expected the name of a tool")
        if names and call.name not in names:
            raise ValueError(f"expected_calls[{position}]: no tool {call.name!r}: the tools are {', '.join(names)}")


def _check_documents(sample: Sample) -> None:
    relevant = sample.relevant
    if relevant is not None and not relevant:
        raise ValueError("relevant is empty: name a document, or leave the key out when none is known")
    for name in relevant or ():
        if not name:
            raise ValueError("relevant: expected the id of a document, found an empty text")
    if isinstance(relevant, list) and len(set(relevant)) < len(relevant):
        raise ValueError("relevant: a document is named twice: name it once")
    for name, grade in relevant.items() if isinstance(relevant, dict) else ():
        if not (math.isfinite(grade) and grade > 0):
            raise ValueError(f"relevant[{name!r}]: expected a grade above 0, found {grade!r}; leave out what is not")
    for position, text in enumerate(sample.contexts or ()):
        if not text.strip():
            raise ValueError(f"contexts[{position}]: expected a passage, found an empty text; leave it out")
