"""Numbers that nobody can mean are refused in the dialect of the API, before anything is reserved or forwarded."""

from pathlib import Path

import pytest

from gateway.config import Deployment
from gateway.policy.limits import Admission
from gateway.settings.limits import Quota
from tests.engine import raw
from tests.engine.simulator import Engine
from tests.gateway.calls import CHAT, COMPLETION, MESSAGE, RESPONSE, SERVED, TRANSCRIPTION, Call
from tests.gateway.serving import deployment, serving

BAD = ("-1", "NaN", "Infinity", "-Infinity", "1e999", "9" * 40, "0.5", '"many"', "true", "2147483648")
FIELDS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "n", "best_of", "top_logprobs")


def _deployed(engine: Engine) -> Deployment:
    return deployment({"main": [engine.url]}, served_model=SERVED)


def _body(call: Call, field: str, told: str) -> bytes:
    whole, kind = call.sent("faq", **{field: "@"})
    if kind == "application/json":
        return whole.replace(b'"@"', told.encode())
    return whole.replace(b"\r\n@\r\n", b"\r\n" + told.encode() + b"\r\n")


@pytest.mark.parametrize("call", [CHAT, COMPLETION, RESPONSE, MESSAGE, TRANSCRIPTION], ids=lambda call: call.name)
async def test_a_bad_number_is_a_clear_400_and_reaches_nothing(tmp_path: Path, call: Call) -> None:
    async with call.served() as engine, serving(_deployed(engine), tmp_path) as (gateway, key, _):
        for field in FIELDS:
            for told in BAD:
                headers = {"x-api-key": key, "content-type": call.sent("faq")[1]}
                if field == "top_logprobs" and told == "-1":  # that is a way to ask for all of them
                    continue
                answer = await raw.post(gateway.url, call.path, _body(call, field, told), headers)
                error = answer.json["error"]
                assert answer.status == 400, (field, told)
                assert error["type"] == "invalid_request_error"
                anthropic = call.endpoint.dialect == "anthropic"
                assert (answer.json.get("type"), "param" in error) == (("error", False) if anthropic else (None, True))
                assert field in error["message"] or "not a JSON object" in error["message"]
        assert await gateway.rows(0) == engine.requests == []
        assert sum(gateway.in_flight()) == 0


async def test_the_largest_number_that_passes_overflows_no_reservation(tmp_path: Path) -> None:
    most = 2**31 - 1
    async with CHAT.served() as engine, serving(_deployed(engine), tmp_path) as (gateway, key, _):
        body, kind = CHAT.sent("faq", max_tokens=most)
        answer = await raw.post(gateway.url, CHAT.path, body, {"x-api-key": key, "content-type": kind})
        assert answer.status in (200, 400), "the engine's own context may refuse it"
        await gateway.until(lambda: gateway.stores.ledger.recent(1))
        (row,) = gateway.stores.ledger.recent(2)
        assert row["status"] == answer.status


def test_a_reservation_of_the_largest_request_is_settled_in_full() -> None:
    admission = Admission()
    quota = Quota(tpm=2**31)
    assert quota.tpm is not None
    holder = admission.keys.of("k", quota, 0.0)
    end = holder.take(2**31 - 1, 0.0)
    assert end is not None
    assert holder.tokens_whole - holder.tokens.weight == pytest.approx(1.0, abs=1e-3)
