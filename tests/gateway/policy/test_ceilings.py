"""The most that a request can cost: what a client can write must not come to less than what an engine may do."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import ModelConfig
from gateway.contracts.prices import Price, PriceBook
from gateway.contracts.usage import Usage
from gateway.policy.ceilings import MOST, TEMPLATE_TOKENS, Bound, Ceiling, Rate, bound, ceiling, ceilings, may_answer
from gateway.policy.endpoints import ENDPOINTS
from gateway.policy.prompt import output_limit
from gateway.policy.request import parse
from gateway.settings.profile import A10G
from tests.gateway import builders

CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
PRICE = Price.model_validate({"input": "0.20", "cached_input": "0.02", "output": "0.60"})
STEP = A10G.step


def asked(path: str = CHAT, *, sampled: int | None = None, context: int | None = None, **fields: Any) -> Bound:
    body = json.dumps({"model": "faq", **fields}).encode()
    found = bound(parse(body, ENDPOINTS[path]), 0, sampled, context, 777)
    if found.known and context is None:
        assert found.prompt >= len(body)
    return found


def test_a_prompt_has_no_more_tokens_than_bytes_and_what_the_template_adds() -> None:
    body = b'{"model":"faq","messages":[],"max_tokens":5}'
    assert bound(parse(body, ENDPOINTS[CHAT]), 100, None, None, 0) == Bound(len(body) + 100 + TEMPLATE_TOKENS, 5)


@pytest.mark.parametrize(
    ("path", "fields", "output"),
    [
        (CHAT, {"max_tokens": 5}, 5),
        (CHAT, {"max_tokens": 5, "n": 3}, 15),
        (CHAT, {"max_tokens": 5, "best_of": 4}, 20),
        # Engines differ in which of a wire's names they read: the largest counts. They read no name of another wire.
        (CHAT, {"max_tokens": 9, "max_completion_tokens": 1}, 9),
        (COMPLETIONS, {"max_tokens": 9, "max_completion_tokens": 100}, 9),
        (CHAT, {"max_tokens": 9, "max_completion_tokens": None}, 9),
        (RESPONSES, {"max_output_tokens": 7}, 7),
        # Several prompts in one request.
        (COMPLETIONS, {"prompt": ["a", "b", "c"], "n": 2, "max_tokens": 4}, 24),
        (COMPLETIONS, {"prompt": [[1, 2], [3]], "max_tokens": 4}, 8),
        (COMPLETIONS, {"prompt": [1, 2, 3], "max_tokens": 4}, 4),
        ("/v1/embeddings", {"input": "x"}, 0),
        (CHAT, {"max_tokens": 2**31 - 1}, 2**31 - 1),
    ],
)
def test_the_output_is_that_of_all_choices_of_all_prompts(path: str, fields: dict[str, Any], output: int) -> None:
    found = asked(path, **fields)
    assert (found.output, found.known) == (output, True)


@pytest.mark.parametrize("told", ["100000", 1e5, 0, None])
def test_a_limit_that_an_engine_may_read_otherwise_is_none(told: object) -> None:
    assert not asked(max_tokens=told, sampled=1).known
    assert asked(max_tokens=told, sampled=1, context=4096).output == 4096


def test_what_a_request_leaves_open_its_release_may_say() -> None:
    assert asked(sampled=50).output == 50
    assert asked("/v1/messages", sampled=50, messages=[]).known is False, "no default is written into that wire"
    assert (asked().output, asked().known) == (777, False)


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": ""}}]}]},
        {"input": [{"type": "input_image", "image_url": "http://x"}]},
        {"chat_template": "{% for i in range(99999) %}x{% endfor %}"},
    ],
)
def test_what_an_engine_renders_itself_is_bounded_by_the_context_alone(fields: dict[str, Any]) -> None:
    assert not asked(**fields, max_tokens=1).known
    found = asked(**fields, max_tokens=1, context=8192)
    assert (found.prompt, found.known) == (8192, True)


def test_a_letter_in_hiding_does_not_help() -> None:
    body = b'{"model":"faq","max_tokens":1,"messages":[{"role":"user","content":[{"type":"image\\u005furl"}]}]}'
    assert not bound(parse(body, ENDPOINTS[CHAT]), 0, None, None, 0).known


def test_a_text_about_images_is_a_text() -> None:
    assert asked(messages=[{"role": "user", "content": 'what is "image_url" in <json>?'}], max_tokens=1).known


def test_the_context_bounds_what_is_absurd() -> None:
    found = asked(max_tokens=10**9, n=2, context=4096)
    assert found.output == 2 * 4096
    assert asked(COMPLETIONS, prompt=["x"] * 3, max_tokens=10**8, context=100).prompt == 300


def test_a_form_has_the_context_or_nothing() -> None:
    body = b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nfaq\r\n--b--\r\n'
    form = parse(body, ENDPOINTS["/v1/audio/transcriptions"], b"multipart/form-data; boundary=b")
    assert not bound(form, 0, None, None, 9).known
    assert bound(form, 0, None, 448, 9) == Bound(448, 448)


@pytest.mark.parametrize(("flag", "n", "beams"), [("true", "8", 8), ("On", "8", 8), ("false", "8", 1), ("1", "", 1)])
def test_each_beam_of_a_form_may_be_as_long_as_the_context(flag: str, n: str, beams: int) -> None:
    """vLLM's beams for sound are `n`, and it tells no usage of them: what is held back is what they cost."""
    told = {"model": "faq", "use_beam_search": flag, "n": n, "max_completion_tokens": "20"}
    parts = [f'--b\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{told[name]}\r\n' for name in told]
    body = "".join([*parts, "--b--\r\n"]).encode()
    form = parse(body, ENDPOINTS["/v1/audio/transcriptions"], b"multipart/form-data; boundary=b")
    assert bound(form, 0, None, 448, 9) == Bound(448, 448 * beams, beams)
    assert output_limit(form) == 20 * beams


@given(
    st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**7),
    st.decimals(0, 10**6, places=9), st.decimals(0, 10**6, places=9), st.decimals(0, 10**6, places=9),
)  # fmt: skip
def test_no_request_within_its_bound_costs_more_than_its_ceiling(
    prompt: int, cached: int, output: int, read: Any, kept: Any, written: Any
) -> None:
    price = Price.model_validate({"input": read, "cached_input": kept, "output": written})
    book = PriceBook(version="1", models={"faq": price})
    made = ceiling(book, [builders.release()], {})
    cost = price.cost(Usage(prompt, output, min(cached, prompt)))
    assert int(cost.scaleb(9)) <= made.listed(Bound(prompt, output)) or made.listed(Bound(prompt, output)) == MOST


def test_the_dearest_of_those_that_may_answer_counts() -> None:
    releases = [builders.release("faq@1", sampling={"max_tokens": 5}), builders.release("big@1", "other")]
    book = PriceBook(
        version="1",
        models={"faq": PRICE, "big": Price.model_validate({"input": "3", "output": "9"}), "none": "unpriced"},
    )
    rates = {"main": Rate(1.0, STEP), "other": Rate(5.0, STEP), "third": Rate(9.0, STEP)}
    made = ceiling(book, [*releases, builders.release("none@1")], rates)
    assert (made.read, made.written) == (3 * 10**9, 9 * 10**9)
    assert [rate.nano_s for rate in made.rates] == [1.0, 5.0]
    assert made.sampled is None, "another release has no limit of its own"
    assert ceiling(book, releases[:1], {}).sampled == 5
    assert Ceiling().listed(Bound(10, 10)) == 0


def test_a_models_fallbacks_and_theirs_may_answer() -> None:
    made = builders.deployment(releases=[builders.release(f"{name}@1") for name in ("a", "b", "c")])
    models = {
        name: ModelConfig.model_validate(
            {**model.model_dump(), "fallback": {"a": ["b"], "b": ["c", "a"], "c": []}[name]}
        )
        for name, model in made.config.models.items()
    }
    made = type(made)(made.config.model_copy(update={"models": models}), made.releases, made.prices)
    found = {name: sorted(each.model for each in releases) for name, releases in may_answer(made).items()}
    assert found == {"a": ["a", "b", "c"], "b": ["a", "b", "c"], "c": ["c"]}
    assert set(ceilings(made, {})) == {"a", "b", "c"}


@given(st.integers(0, 30_000), st.integers(0, 4000), st.integers(1, 200))
def test_what_a_request_is_charged_of_a_gpu_is_no_more_than_it_reserved(
    prompt: int, output: int, in_flight: int
) -> None:
    rate = Rate(700_000.0, STEP)
    share = rate.share(Usage(prompt, output), in_flight)
    assert 0 <= share <= rate.most(Bound(prompt, output)) + 1


def test_who_shares_the_engine_pays_a_part_of_its_fixed_time() -> None:
    rate, usage = Rate(1e9, STEP, chunk=1000), Usage(2000, 10, cached_tokens=500)
    alone, shared = rate.share(usage, 1), rate.share(usage, 12)
    assert alone - shared == pytest.approx(1e9 * STEP.base_s * 12 * 11 / 12, abs=2)
    own = 1500 * STEP.prefill_token_s + 10 * (STEP.sequence_s + 2005 * STEP.context_token_s)
    assert alone == pytest.approx(1e9 * (own + 12 * STEP.base_s), abs=2)
