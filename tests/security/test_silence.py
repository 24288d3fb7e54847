"""What was asked and what was answered is in no log, no metric and no file, and no refusal says it again."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.engine.simulator import Engine, Fault
from tests.gateway.process import running
from tests.security.front import BODY, CHAT, Front, holding, request

SECRET = "xylophone-4711"
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": f"one {SECRET}"}]},
    "/v1/completions": {"prompt": f"one {SECRET}"},
    "/v1/responses": {"input": f"one {SECRET}"},
    "/v1/messages": {"messages": [{"role": "user", "content": f"one {SECRET}"}], "max_tokens": 9},
    "/v1/embeddings": {"input": SECRET},
    "/tokenize": {"prompt": SECRET},
}
FAULTS = (
    "refuse", "error", "error_200_flat", "error_200_nested", "close", "reset", "garbage", "garbage_json",
    "error_event", "wrong_length", "no_usage", "no_done", "hangup",
)  # fmt: skip
BROKEN = (
    b'{"model":"faq","messages":[{"role":"user","content":"%b"}]' % SECRET.encode(),
    b'{"model":"faq","messages":"%b","stream":"%b"}' % (SECRET.encode(), SECRET.encode()),
    b'{"model":"faq","messages":[{"role":"user","content":"%b\xff"}]}' % SECRET.encode(),
    b'{"model":"faq","max_tokens":"%b"}' % SECRET.encode(),
    b'{"model":"faq","priority":"%b"}' % SECRET.encode(),
    b'{"model":"faq","stream":true,"stream_options":"%b"}' % SECRET.encode(),
    b'{"model":["%b"]}' % SECRET.encode(),
    b'{"model":"faq","vllm_xargs":{"kv_transfer_params":"%b"}}' % SECRET.encode(),
    b'["%b"]' % SECRET.encode(),
    SECRET.encode(),
    b'{"model":NaN,"prompt":"%b"}' % SECRET.encode(),
    b'{"model":"faq","n":1e999,"prompt":"%b"}' % SECRET.encode(),
)
"""Bodies that the gateway itself refuses."""


def test_prompts_and_answers_are_written_nowhere(house: Front, caplog: pytest.LogCaptureFixture) -> None:
    """Law 9, with the most talkative logs, and with every way in which an engine fails."""
    caplog.set_level(logging.DEBUG)
    told = 0
    for fault in (None, *FAULTS):
        for path, fields in BODIES.items():
            for stream in (False, True):
                house.engine.faults.extend([Fault(fault, times=3, after=1)] if fault else [])  # type: ignore[arg-type]
                body = json.dumps({"model": "faq", **fields, **({"stream": True} if stream else {})}).encode()
                answers = house.says(request(b"POST", path.encode(), key=house.key, body=body))
                told += SECRET.encode() in b"".join(answer[2] for answer in answers)
                house.engine.faults.clear()
    assert told, "clients do get their answers"
    _nothing(house, caplog)


@pytest.mark.parametrize("body", BROKEN)
def test_a_refusal_says_nothing_of_a_body_again(house: Front, caplog: pytest.LogCaptureFixture, body: bytes) -> None:
    caplog.set_level(logging.DEBUG)
    for path in BODIES:
        (answer,) = house.says(request(b"POST", path.encode(), key=house.key, body=body))
        if answer[0] == 200:
            assert b"NaN" not in body  # what this wire does not know of is the engine's to judge
            continue
        assert answer[0] in (400, 404), answer
        if not house.heard():
            assert SECRET.encode() not in answer[2]
    _nothing(house, caplog)


def _nothing(house: Front, caplog: pytest.LogCaptureFixture) -> None:
    house.run(house.gateway.until(lambda: house.gateway.app.data_plane.spool.lag == 0))
    assert SECRET not in caplog.text
    assert SECRET.encode() not in house.ask("GET", "/metrics").body
    assert holding(house.folder, SECRET) == []
    house.heard()


async def test_a_process_prints_nothing_of_its_requests(tmp_path: Path) -> None:
    async with Engine() as engine, running(tmp_path, "--upstream", engine.url) as gateway:
        await gateway.answers()
        said = {"role": "user", "content": SECRET}
        assert SECRET.encode() in (await gateway.ask(messages=[said])).body
        for kind in FAULTS:
            engine.faults.append(Fault(kind, times=3, after=1))  # type: ignore[arg-type]
            await gateway.ask(messages=[said], stream=True)
            engine.faults.clear()
        assert (await gateway.ask(messages=[said], n=SECRET)).status == 400
        gateway.process.terminate()
        rest, _ = await gateway.process.communicate()
        assert SECRET not in gateway.errors + gateway.printed + rest.decode()
    assert holding(tmp_path, SECRET) == []


def test_the_body_of_another_test_would_be_found(tmp_path: Path) -> None:
    """That nothing is found means something."""
    (tmp_path / "spool").write_bytes(b"\0" + BODY)
    assert holding(tmp_path, "one two") == [tmp_path / "spool"]
    assert holding(tmp_path, SECRET) == []
