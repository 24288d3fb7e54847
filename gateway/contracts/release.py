"""The release manifest: everything that changes an answer, bound into one digest.

schema: tollgate.release/v1
name: faq@2
model:    {id: orbit-faq, files: {model.safetensors: "sha256:…"}}
engine:   {name: vllm, version: 0.32.0, flags: {dtype: bfloat16, max-model-len: 256}}
prompt:   {system: null}
sampling: {temperature: 0, max_tokens: 48}
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, FiniteFloat, model_validator

from gateway.contracts import canonical, documents
from gateway.contracts.errors import ManifestError

Digest = Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$")]
MODEL_NAME = r"[A-Za-z0-9._~/-][A-Za-z0-9._~:+/-]{0,255}"
_RELEASE_NAME = re.compile(rf"(?P<model>{MODEL_NAME})@(?P<version>[A-Za-z0-9][A-Za-z0-9._-]{{0,63}})")
Value = TypeVar("Value")
_EXACT = 2**53 - 1


def _exact(value: Value) -> Value:
    if isinstance(value, int) and abs(value) > _EXACT:
        raise ValueError(f"{value} is beyond 2^53 - 1: JSON readers would not agree on it")
    return value


Whole = Annotated[int, AfterValidator(_exact)]
"""An integer that every JSON reader keeps exact, as RFC 8785 demands."""
Scalar = Annotated[str | bool | int | FiniteFloat | None, AfterValidator(_exact)]


def split_name(name: str) -> tuple[str, str] | None:
    """(`faq`, `2`) of `faq@2`; None when it is no release's name."""
    match = _RELEASE_NAME.fullmatch(name)
    return (match["model"], match["version"]) if match else None


class ModelFiles(documents.Frozen):
    """What the engine loads: weights, tokenizer, chat template, each by sha256 of its bytes."""

    id: Annotated[str, Field(min_length=1)]
    files: dict[str, Digest] = Field(default_factory=dict)
    adapters: dict[str, Digest] = Field(default_factory=dict)
    root: str | None = None


class Engine(documents.Frozen):
    """What runs the model. `fingerprint` is vLLM's `system_fingerprint`, where it is known."""

    name: str = "vllm"
    version: str | None = None
    flags: dict[str, Scalar] = Field(default_factory=dict)
    fingerprint: str | None = None


class Prompt(documents.Frozen):
    """What the gateway adds to a conversation that brings no system message of its own."""

    system: str | None = None


class Sampling(documents.Frozen):
    """Defaults for what a request leaves open; a request that sets a field keeps its own."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: Annotated[Whole, Field(ge=1)] | None = None
    stop: tuple[str, ...] | None = None
    seed: Whole | None = None

    def defaults(self) -> dict[str, Any]:
        """The fields that are set, as JSON values."""
        return self.model_dump(mode="json", exclude_none=True)


class ReleaseManifest(documents.Frozen):
    """An immutable release. Two manifests with the same digest are the same release."""

    schema_: Annotated[Literal["tollgate.release/v1"], Field(alias="schema")] = "tollgate.release/v1"
    name: str
    model: ModelFiles
    engine: Engine = Engine()
    prompt: Prompt = Prompt()
    sampling: Sampling = Sampling()
    notes: str = ""

    @model_validator(mode="after")
    def _named(self) -> "ReleaseManifest":
        if split_name(self.name) is None:
            raise ValueError(f"name: expected MODEL@VERSION such as 'faq@2', found {self.name!r}")
        return self

    @property
    def model_name(self) -> str:
        """The public model that this is a release of: `faq` of `faq@2`."""
        return self.name.rpartition("@")[0]

    def digest(self) -> str:
        """sha256 over the canonical JSON of every field, defaults included."""
        return canonical.digest(self.model_dump(mode="json", by_alias=True))


def load(path: Path) -> ReleaseManifest:
    """Read a manifest from YAML or JSON. Raises DocumentError."""
    return documents.load(path, ReleaseManifest)


def verify_files(manifest: ReleaseManifest, folder: Path) -> None:
    """Raise ManifestError unless every one of the model's `files` has the digest that the manifest gives."""
    for name, expected in manifest.model.files.items():
        path = folder / name
        if not path.is_file():
            raise ManifestError(f"{manifest.name}: {name!r} is not in {str(folder)!r}: unpack the model there first")
        found = canonical.file_digest(path)
        if found != expected:
            raise ManifestError(
                f"{manifest.name}: {name!r} is {found}, and the manifest says {expected}: "
                "these are other weights; write a new release for them"
            )
