"""Data sets: JSON Lines, one sample a line, with a digest for each sample and one for the whole."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from evals.schema import Sample
from gateway.contracts import canonical, documents
from gateway.contracts.errors import DocumentError, InputError, Mistake

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
_MOST_MISTAKES = 50
_ALWAYS = frozenset({"id", "input", "reference", "tags", "cluster"})


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


def sample_digest(sample: Sample) -> str:
    """sha256 over the canonical JSON of the fields; those that not every sample has count only where they are set."""
    fields: dict[str, Any] = msgspec.to_builtins(sample)
    return canonical.digest({key: value for key, value in fields.items() if key in _ALWAYS or value not in (None, [])})


def whole_digest(digests: dict[str, str]) -> str:
    """The digest of a data set: over the pairs of id and sample digest, sorted by id."""
    return canonical.digest(sorted(digests.items()))


def load(path: Path) -> Dataset:
    """Read and check a data set. Raises DocumentError with every mistake and its line."""
    mistakes: list[Mistake] = []
    lines: dict[str, int] = {}
    samples: list[Sample] = []
    digests: dict[str, str] = {}
    for number, text in enumerate(documents.read_text(path).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            sample = _parse(text)
            digest = sample_digest(sample)
        except (ValueError, InputError) as error:
            mistakes.append(Mistake(number, "", str(error)))
            continue
        if sample.id in lines:
            same = f"duplicate id {sample.id!r}: line {lines[sample.id]} has it too; give each sample an id of its own"
            mistakes.append(Mistake(number, "id", same))
            continue
        lines[sample.id] = number
        samples.append(sample)
        digests[sample.id] = digest
    if not samples and not mistakes:
        mistakes.append(
            Mistake(1, "", 'no samples: expected one JSON object a line, such as {"id": ..., "input": ...}')
        )
    if mistakes:
        raise DocumentError(str(path), mistakes[:_MOST_MISTAKES])
    return Dataset(path, tuple(samples), digests, whole_digest(digests))


def _parse(text: str) -> Sample:
    """One line as a sample. Raises ValueError (msgspec's errors are ValueErrors) with a message for people."""
    try:
        raw: Any = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(f"not valid JSON: {error}") from error
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
    if isinstance(sample.input, list):
        for position, message in enumerate(sample.input):
            if message.get("role") not in _ROLES or "content" not in message:
                raise ValueError(
                    f"input[{position}]: expected a chat message with 'role' (one of {', '.join(sorted(_ROLES))}) "
                    "and 'content'"
                )
