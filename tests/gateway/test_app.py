"""The composed application: who gets where, and what survives."""

import asyncio
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import openai
import pytest
from openai import AsyncOpenAI

from gateway.app import build
from gateway.config import Release
from gateway.contracts import attestation
from gateway.contracts.errors import InputError, ReleaseNotGated
from gateway.contracts.verdict import MetricResult, Predicate, Reference, Verdict
from gateway.control_plane import loops
from gateway.settings.enforcement import Enforcement
from gateway.stores import spool
from gateway.stores.bundle import open_stores
from tests.engine import raw
from tests.engine.simulator import Engine
from tests.gateway.serving import Gateway, deployment, make_key, manifest_parts, release, serving

HELLO = [{"role": "user", "content": "hello there you"}]


def verdict(of: Release, answer: str = "pass") -> Verdict:
    """A verdict about a release, made now."""
    now, thing = datetime.now(UTC), Reference(name="x", digest="sha256:" + "0" * 64)
    metric = MetricResult(metric="exact", test="absolute", verdict=answer, reason="", alpha=0.05, samples=9, clusters=9)  # type: ignore[arg-type]
    return Verdict(
        release=of.name,
        release_digest=of.digest,
        predicate=Predicate(
            verdict=answer,  # type: ignore[arg-type]
            reason="exact is worse by 0.1",
            created=now,
            expires=now + timedelta(days=1),
            gate=thing,
            suite=thing,
            dataset=thing,
            candidate_run=thing,
            metrics=(metric,),
            harness="test",
        ),
    )


class Signer:
    """A key pair, and the enforcement that trusts it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "verdicts"
        self.folder.mkdir()
        attestation.generate_keys(folder / "gate.pem", folder / "gate.pub")
        self._key = attestation.load_private(folder / "gate.pem")
        self.enforcement = Enforcement(mode="require", trusted_keys=(folder / "gate.pub",), verdicts=self.folder)

    def sign(self, of: Release, answer: str = "pass") -> None:
        """Put a signed verdict where the gateway looks."""
        data = attestation.sign(verdict(of, answer), self._key)
        (self.folder / f"{of.name}.dsse.json").write_bytes(data)


def client(gateway: Gateway, key: str) -> AsyncOpenAI:
    """OpenAI's client without retries of its own."""
    return AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0, timeout=10.0)


async def release_that_answers(api: AsyncOpenAI, model: str = "faq") -> str:
    """The release header of an answer."""
    answer = await api.chat.completions.with_raw_response.create(model=model, messages=HELLO)  # type: ignore[arg-type]
    return str(answer.headers["x-tollgate-release"])


async def test_traffic_reaches_a_release_only_with_a_verdict(tmp_path: Path) -> None:
    """Law 6, on the running gateway."""
    signer = Signer(tmp_path)
    first, second, third = (release(v, **manifest_parts(max_tokens=n)) for v, n in (("1", 8), ("2", 9), ("3", 10)))
    signer.sign(first)
    signer.sign(third, "fail")
    async with Engine() as engine:
        deployed = deployment({"main": [engine.url]}, [first, second, third], enforcement=signer.enforcement)
        async with serving(deployed, tmp_path) as (gateway, key, evaluate):
            state = gateway.app.state
            async with client(gateway, key) as api, client(gateway, evaluate) as harness:
                assert await release_that_answers(api) == "faq@1"
                for pinned in ("faq@2", "faq@3"):
                    assert await release_that_answers(harness, pinned) == pinned
                    with pytest.raises(openai.PermissionDeniedError):
                        await release_that_answers(api, pinned)
                with pytest.raises(ReleaseNotGated) as unjudged:
                    state.promote("faq@2")
                assert "no verdict" in str(unjudged.value)
                with pytest.raises(ReleaseNotGated) as failed:
                    state.promote("faq@3")
                assert "worse by 0.1" in str(failed.value)
                signer.sign(second)
                state.refresh()
                state.promote("faq@2")
                assert await release_that_answers(api) == "faq@2"
                (signer.folder / "faq@2.dsse.json").unlink()
                await loops.refresh(state)
                with pytest.raises(openai.InternalServerError) as withdrawn:
                    await release_that_answers(api)
                assert withdrawn.value.code == "release_not_gated"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/nothing",
        "//v1/chat/completions",
        "/V1/chat/completions",
        "/v1/chat/completions/",
        "/v1/chat/../models",
        "/",
    ],
)
async def test_a_path_of_nobodys_is_denied(tmp_path: Path, path: str) -> None:
    async with Engine() as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (gateway, key, _):
        answer = await raw.exchange(gateway.url, "POST", path, b"{}", {"authorization": f"Bearer {key}"})
        assert (answer.status, answer.json["error"]["code"]) == (404, "unknown_url")
        assert engine.requests == []


async def test_no_header_chooses_the_upstream_or_reaches_it(tmp_path: Path) -> None:
    headers = {
        "x-forwarded-host": "evil", "x-original-url": "/metrics", "x-data-parallel-rank": "3", "x-request-id": "mine",
        "cookie": "a=b", "content-type": "application/json",
    }  # fmt: skip
    body = b'{"model":"faq","messages":[{"role":"user","content":"hi"}]}'
    async with Engine() as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (gateway, key, _):
        answer = await raw.post(gateway.url, "/v1/chat/completions", body, headers | {"authorization": f"Bearer {key}"})
        assert answer.status == 200
        names = {name.lower() for name, _ in engine.received("/v1/chat/completions")[0].headers}
        assert names == {"host", "content-type", "content-length", "x-request-id"}
        assert engine.received("/v1/chat/completions")[0].header("x-request-id") != "mine"


async def test_a_revoked_key_is_refused_at_the_next_refresh(tmp_path: Path) -> None:
    async with Engine() as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (gateway, key, _):
        late = gateway.key()
        await loops.refresh(gateway.app.state)
        async with client(gateway, late) as api:
            await release_that_answers(api)
            gateway.stores.keys.revoke(late.split("-")[2], 1.0)
            await loops.refresh(gateway.app.state)
            with pytest.raises(openai.AuthenticationError):
                await release_that_answers(api)
        async with client(gateway, key) as api:
            assert await release_that_answers(api) == "faq@1"


async def test_readiness_follows_the_engines(tmp_path: Path) -> None:
    async with Engine() as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (gateway, _, _):
        assert (await raw.exchange(gateway.url, "GET", "/ready", b"", {})).status == 200
        await engine.stop()
        answer = await raw.exchange(gateway.url, "GET", "/ready", b"", {})
        assert answer.status == 503
        assert "main" in answer.json["reason"]
        await engine.start()


def test_a_spool_that_cannot_be_written_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "tollgate.db.spool").write_text("a file, and no folder")
    stores = open_stores(f"sqlite:///{tmp_path / 'tollgate.db'}")
    with pytest.raises(InputError, match=r"the spool '.*tollgate.db.spool' cannot be written: File exists"):
        build(deployment({"main": ["http://127.0.0.1:1"]}), stores)
    stores.database.dispose()


async def test_law_a_killed_gateway_loses_no_row(tmp_path: Path) -> None:
    """Law 1 after kill -9: a request in flight becomes `gateway_lost`, a finished one stays `completed`."""
    stores = open_stores(f"sqlite:///{tmp_path / 'tollgate.db'}")
    key = make_key(stores)
    async with Engine() as engine:
        command = [str(Path(sys.executable).with_name("gateway")), "serve", "--upstream", engine.url, "--port", "0"]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
        try:
            url = await _url(process)
            async with AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as api:
                await release_that_answers(api)
                engine.hold()
                engine.step(1)
                stream = await api.chat.completions.create(model="faq", messages=HELLO, stream=True)  # type: ignore[arg-type]
                await stream.__anext__()
                process.send_signal(signal.SIGKILL)
                process.wait()
                await engine.wait_for(lambda e: e.running == 0)
                await stream.close()
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
    spool.recover(stores.spool_folder, stores.ledger.insert)
    outcomes = sorted(row["outcome"] for row in stores.ledger.recent(10) if row["purpose"] != "probe")
    assert outcomes == ["completed", "gateway_lost"]


async def _url(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = await asyncio.to_thread(process.stdout.readline)
    return line.split()[-1].removesuffix("/v1")
