"""A pool of a provider in a configuration file, and the models that fall back to it."""

from pathlib import Path

import pytest

from gateway import config
from gateway.config import Deployment
from gateway.contracts.documents import Secret
from gateway.contracts.errors import DocumentError

GOOD = """\
enforcement: {mode: off}
prices: prices.yaml
pools:
  main: {replicas: [{url: "http://10.0.0.7:8000"}]}
  api:
    provider:
      model: openai/gpt-5-mini
      api_key: {file: openai.key}
      base_url: https://api.example.com/v1
models:
  faq:
    live: faq@1
    releases: [{manifest: faq1.yaml, pool: main}]
    fallback: [api]
  api:
    live: api@1
    releases: [{manifest: api1.yaml, pool: api}]
"""
PRICES = "version: v1\nmodels:\n  faq: {input: '0.2', output: '0.6'}\n  api: {input: '0.25', output: '2.00'}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("faq@1", "api@1"):
        (tmp_path / f"{name.replace('@', '')}.yaml").write_text(f"name: {name}\nmodel: {{id: m}}\n")
    (tmp_path / "prices.yaml").write_text(PRICES)
    (tmp_path / "openai.key").write_text("sk-1\n")
    return tmp_path


def _load(folder: Path, text: str = GOOD) -> Deployment:
    (folder / "gateway.yaml").write_text(text)
    return config.load(folder / "gateway.yaml")


def _mistakes(folder: Path, old: str, new: str) -> list[tuple[str, str]]:
    assert old in GOOD
    with pytest.raises(DocumentError) as caught:
        _load(folder, GOOD.replace(old, new, 1))
    return [(mistake.key, mistake.message) for mistake in caught.value.mistakes]


def test_a_provider_is_a_pool_like_any_other(folder: Path) -> None:
    found = _load(folder)
    pool = found.config.pools["api"]
    assert pool.provider is not None
    assert pool.provider.model == "openai/gpt-5-mini"
    assert pool.provider.api_key == Secret(file=folder / "openai.key")
    assert pool.provider.api_key.read() == "sk-1"
    assert pool.replicas == ()
    assert found.releases["api@1"].pool == "api"
    assert found.config.models["faq"].fallback == ("api",)
    assert found.config.models["api"].fallback == ()


def test_a_provider_without_a_price_is_an_error_at_start(folder: Path) -> None:
    (folder / "prices.yaml").write_text(PRICES.replace("  api: {input: '0.25', output: '2.00'}\n", ""))
    with pytest.raises(DocumentError, match="no price for 'api'"):
        _load(folder)


@pytest.mark.parametrize(
    ("old", "new", "key", "said"),
    [
        (
            "  api:\n    provider:",
            "  api:\n    replicas: [{url: 'http://h'}]\n    provider:",
            "pools.api",
            "exactly one",
        ),
        ('{replicas: [{url: "http://10.0.0.7:8000"}]}', "{replicas: []}", "pools.main", "exactly one"),
        ("    provider:", "    served_model: m\n    provider:", "pools.api", "`served_model`: for replicas alone"),
        ("    provider:", "    policy: round_robin\n    provider:", "pools.api", "`policy`: for replicas alone"),
        ("openai/gpt-5-mini", "gpt-5-mini", "pools.api.provider.model", "should match pattern"),
        ("      api_key: {file: openai.key}", "      key: x", "pools.api.provider.key", "unknown key 'key'"),
        ("[api]", "[faq]", "models.faq.fallback.0", "cannot fall back to itself"),
        ("[api]", "[oops]", "models.faq.fallback.0", "no model 'oops'"),
    ],
)
def test_a_mistake_is_named_with_its_key(folder: Path, old: str, new: str, key: str, said: str) -> None:
    found = _mistakes(folder, old, new)
    assert len(found) == 1
    assert found[0][0] == key
    assert said in found[0][1]


def test_replicas_of_a_pool_have_names_of_their_own(folder: Path) -> None:
    twice = '[{url: "http://10.0.0.7:8000", name: a}, {url: "http://10.0.0.8:8000", name: a}]'
    (folder / "gateway.yaml").write_text(GOOD.replace('[{url: "http://10.0.0.7:8000"}]', twice))
    with pytest.raises(DocumentError, match="names of their own, found a, a"):
        config.load(folder / "gateway.yaml")
