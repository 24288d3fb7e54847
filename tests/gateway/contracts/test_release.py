"""The manifest: one digest binds every field, and no two different releases share one."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from gateway.contracts import canonical, release
from gateway.contracts.errors import DocumentError, ManifestError
from gateway.contracts.release import ModelFiles, ReleaseManifest, Sampling, split_name

A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
FULL: dict[str, Any] = {
    "schema": "tollgate.release/v1",
    "name": "faq@2",
    "model": {"id": "orbit-faq", "files": {"w": A}, "adapters": {"de": A}, "root": "models/faq"},
    "engine": {"name": "vllm", "version": "0.32.0", "flags": {"dtype": "bfloat16"}, "fingerprint": "f"},
    "prompt": {"system": "Be brief."},
    "sampling": {"temperature": 0.5, "top_p": 0.9, "max_tokens": 48, "stop": ["\n"], "seed": 7},
    "notes": "n",
}
OTHER: dict[tuple[str, ...], Any] = {
    ("name",): "faq@3",
    ("model", "id"): "orbit-faq2",
    ("model", "files"): {"w": B},
    ("model", "adapters"): {"de": B},
    ("model", "root"): None,
    ("engine", "name"): "sglang",
    ("engine", "version"): "0.33.0",
    ("engine", "flags"): {"dtype": "float16"},
    ("engine", "fingerprint"): None,
    ("prompt", "system"): "Be brief. ",
    ("sampling", "temperature"): 0.5000001,
    ("sampling", "top_p"): None,
    ("sampling", "max_tokens"): 49,
    ("sampling", "stop"): ["\n", "\n"],
    ("sampling", "seed"): 8,
    ("notes",): "",
}


def _manifest(value: dict[str, Any] | None = None) -> ReleaseManifest:
    return ReleaseManifest.model_validate(FULL if value is None else value)


def _with(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(FULL)
    at = changed
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = value
    return changed


def _fields(model: type[BaseModel], at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        path = (*at, field.alias or name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _fields(field.annotation, path)
        else:
            yield path


def test_the_list_of_changes_covers_every_field() -> None:
    assert set(_fields(ReleaseManifest)) == {*OTHER, ("schema",)}


@pytest.mark.parametrize(("path", "value"), list(OTHER.items()), ids=[".".join(path) for path in OTHER])
def test_any_changed_field_changes_the_digest(path: tuple[str, ...], value: Any) -> None:
    assert _manifest(_with(path, value)).digest() != _manifest().digest()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("model", "files"), {"w": A, "x": A}),
        (("model", "files"), {"v": A}),
        (("model", "files"), {}),
        (("engine", "flags"), {"dtype": "bfloat16", "seed": 0}),
        (("engine", "flags"), {"dtype": None}),
        (("sampling", "stop"), []),
        (("sampling", "stop"), ["\n", "."]),
        (("sampling", "temperature"), None),
        (("prompt", "system"), ""),
        (("prompt", "system"), None),
    ],
)
def test_added_missing_and_empty_values_change_the_digest(path: tuple[str, ...], value: Any) -> None:
    assert _manifest(_with(path, value)).digest() != _manifest().digest()


def test_text_numbers_and_truth_are_different_flags() -> None:
    values = ["1", 1, True, None, "True"]
    digests = {_manifest(_with(("engine", "flags"), {"x": value})).digest() for value in values}
    assert len(digests) == len(values)


def test_the_same_number_is_the_same_release_however_it_is_written() -> None:
    whole, point = (_manifest(_with(("sampling", "temperature"), value)) for value in (1, 1.0))
    assert whole.digest() == point.digest()


def test_the_order_of_keys_and_written_defaults_do_not_matter() -> None:
    shuffled = {key: FULL[key] for key in reversed(FULL)}
    assert _manifest(shuffled).digest() == _manifest().digest()
    short = {"name": "faq@1", "model": {"id": "m"}}
    long = {**short, "schema": "tollgate.release/v1", "notes": "", "sampling": {"stop": None}, "engine": {"flags": {}}}
    assert _manifest(short).digest() == _manifest(long).digest()


def test_a_digest_never_changes() -> None:
    """Verdicts are signed over it: another digest for the same manifest would void every verdict there is."""
    assert _manifest().digest() == canonical.digest(FULL)
    assert _manifest().digest() == "sha256:5937afd3437b539b572fceeef18fcce53018332632f8cc2922272ec4d6642011"


FLAG = st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text("ab", max_size=2)
MANIFESTS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["faq@1", "faq@2", "support@1"]),
        "model": st.fixed_dictionaries({"id": st.sampled_from(["m", "n"])}, optional={"files": st.just({"w": A})}),
    },
    optional={
        "engine": st.fixed_dictionaries({"flags": st.dictionaries(st.text("ab", min_size=1, max_size=2), FLAG)}),
        "prompt": st.fixed_dictionaries({"system": st.none() | st.text("ab", max_size=2)}),
        "sampling": st.fixed_dictionaries({"max_tokens": st.none() | st.integers(1, 3)}),
    },
)


@given(one=MANIFESTS, other=MANIFESTS)
def test_two_manifests_share_a_digest_only_when_they_are_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = _manifest(one), _manifest(other)
    same = first.model_dump_json() == second.model_dump_json()
    assert (first.digest() == second.digest()) == same


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("faq@2", ("faq", "2")),
        ("org/Model-7B:fp8@2026.11-a_b", ("org/Model-7B:fp8", "2026.11-a_b")),
        ("a@" + "v" * 64, ("a", "v" * 64)),
    ],
)
def test_a_releases_name_has_a_model_and_a_version(name: str, parts: tuple[str, str]) -> None:
    assert split_name(name) == parts
    assert _manifest(_with(("name",), name)).model_name == parts[0]


BAD_NAMES = [
    "faq",
    "faq@",
    "@2",
    "a@b@c",
    "faq@2\n",
    "faq @2",
    "a@-1",
    "é@1",
    "a" * 257 + "@1",
    "a@" + "v" * 65,
]


@pytest.mark.parametrize("name", ["", *BAD_NAMES])
def test_what_is_no_releases_name_is_refused(name: str) -> None:
    assert split_name(name) is None
    with pytest.raises(ValidationError, match="expected MODEL@VERSION"):
        _manifest(_with(("name",), name))


@pytest.mark.parametrize(
    "digest", ["", "a" * 64, "sha256:" + "A" * 64, "sha256:" + "a" * 63, "md5:" + "a" * 64, f"{A}\n"]
)
def test_a_digest_is_sha256_in_lower_case(digest: str) -> None:
    with pytest.raises(ValidationError):
        ModelFiles(id="m", files={"w": digest})


@pytest.mark.parametrize(
    ("field", "value"),
    [("temperature", -0.1), ("temperature", 2.1), ("top_p", 0), ("top_p", 1.1), ("max_tokens", 0), ("top_k", 3)],
)
def test_sampling_that_no_engine_takes_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValidationError):
        Sampling.model_validate({field: value})


def test_sampling_defaults_are_the_fields_that_are_set() -> None:
    assert Sampling().defaults() == {}
    assert Sampling(temperature=0, stop=("a",)).defaults() == {"temperature": 0.0, "stop": ["a"]}


def test_the_manifest_in_the_docstring_is_read(tmp_path: Path) -> None:
    text = (release.__doc__ or "").split("\n\n", 1)[1].replace("sha256:…", A)
    path = tmp_path / "m.yaml"
    path.write_text(text)
    assert release.load(path).name == "faq@2"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("nmae: x", "unknown key 'nmae'"),
        ("schema: tollgate.release/v2", "tollgate.release/v1"),
        ("name: b@1", "duplicate"),
    ],
)
def test_a_mistake_in_a_manifest_is_named_with_its_line(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(f"name: a@1\nmodel: {{id: m}}\n{line}\n")
    with pytest.raises(DocumentError, match="line 3") as caught:
        release.load(path)
    assert says in str(caught.value)


@pytest.mark.parametrize("number", ["9007199254740992", ".nan", ".inf"])
@pytest.mark.parametrize("place", ["engine: {{flags: {{x: {}}}}}", "sampling: {{seed: {}}}"])
def test_a_number_that_has_no_digest_is_refused_when_the_manifest_is_read(
    tmp_path: Path, place: str, number: str
) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(f"name: a@1\nmodel: {{id: m}}\n{place.format(number)}\n")
    with pytest.raises(DocumentError, match="line 3"):
        release.load(path)


def _folder(tmp_path: Path) -> tuple[Path, ReleaseManifest]:
    (tmp_path / "sub").mkdir()
    (tmp_path / "w").write_bytes(b"weights")
    (tmp_path / "sub" / "t").write_bytes(b"tokens")
    files = {name: canonical.file_digest(tmp_path / name) for name in ("w", "sub/t")}
    return tmp_path, _manifest(_with(("model", "files"), files))


def test_files_as_the_manifest_says_pass(tmp_path: Path) -> None:
    folder, manifest = _folder(tmp_path)
    release.verify_files(manifest, folder)


def test_changed_missing_and_replaced_files_are_refused(tmp_path: Path) -> None:
    folder, manifest = _folder(tmp_path)
    (folder / "w").write_bytes(b"weightz")
    with pytest.raises(ManifestError, match=r"faq@2: 'w' is sha256:.*other weights"):
        release.verify_files(manifest, folder)
    (folder / "w").unlink()
    with pytest.raises(ManifestError, match="'w' is not in"):
        release.verify_files(manifest, folder)
    (folder / "w").mkdir()
    with pytest.raises(ManifestError, match="'w' is not in"):
        release.verify_files(manifest, folder)
