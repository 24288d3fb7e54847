"""The configuration of providers and of fallbacks: what is wrong is said where it stands."""

import pytest
from pydantic import ValidationError

from gateway.contracts.documents import Secret
from gateway.providers import ProviderConfig, fallback_mistakes


def test_a_provider() -> None:
    found = ProviderConfig(model="openai/gpt-5-mini", api_key=Secret(env="KEY"), base_url="https://api.example.com/v1/")
    assert found.base_url == "https://api.example.com/v1"
    assert ProviderConfig(model="hosted_vllm/Qwen/Qwen3-8B").api_key is None


@pytest.mark.parametrize("model", ["gpt-5-mini", "openai/", "/gpt", "openai/a b", "Open AI/x"])
def test_a_model_needs_its_providers_name(model: str) -> None:
    with pytest.raises(ValidationError):
        ProviderConfig(model=model)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("api.example.com", "expected a URL such as https://api.example.com/v1"),
        ("ftp://api.example.com", "expected a URL"),
        ("https://user:secret@api.example.com", "its key stands under `api_key`"),
        ("https://api.example.com/v1?key=secret", "its key stands under `api_key`"),
        ("https://api.example.com:port", "expected a URL"),
    ],
)
def test_a_base_url_is_one_and_carries_no_secret(url: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        ProviderConfig(model="openai/m", base_url=url)
    assert "its key" not in said or "secret" not in str(caught.value.errors(include_input=False))


def test_chains_of_fallbacks_may_meet() -> None:
    fallbacks = {"a": ("b", "c"), "b": ("d",), "c": ("d",), "d": ()}
    assert list(fallback_mistakes(fallbacks)) == []


@pytest.mark.parametrize(
    ("fallbacks", "expected"),
    [
        ({"a": ("a",)}, [(("models", "a", "fallback", 0), "'a' cannot fall back to itself")]),
        ({"a": ("x",), "b": ()}, [(("models", "a", "fallback", 0), "no model 'x'; the models here are a, b")]),
        ({"a": ("b", "b"), "b": ()}, [(("models", "a", "fallback", 1), "'b' is listed twice")]),
        (
            {"a": ("b",), "b": ("c",), "c": ("a",)},
            [
                (("models", "a", "fallback", 0), "a circle: a → b → c → a"),
                (("models", "b", "fallback", 0), "a circle: b → c → a → b"),
                (("models", "c", "fallback", 0), "a circle: c → a → b → c"),
            ],
        ),
    ],
)
def test_what_is_wrong_with_fallbacks(fallbacks: dict[str, tuple[str, ...]], expected: object) -> None:
    assert list(fallback_mistakes(fallbacks)) == expected
