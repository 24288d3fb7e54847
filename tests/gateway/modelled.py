"""A vLLM as the simulator models it: its counters after bursts whose steps take exactly what a profile says."""

import asyncio
import json
from collections.abc import Iterator
from itertools import product
from random import Random

from gateway.settings.profile import EngineProfile, StepTime
from gateway.simulation.engine import NEVER, Engine
from gateway.simulation.fit import Burst, Window, measured
from gateway.simulation.jobs import Job
from gateway.simulation.pages import MARK, Counters

STEP = StepTime(base_s=0.012, prefill_token_s=6e-5, sequence_s=4e-5, context_token_s=9e-8)
PROFILE = EngineProfile(name="known", kv_tokens=65_536, step=STEP)
BURSTS = [Burst(*sizes) for sizes in product((1, 4, 16), (64, 512, 2048), (1, 16, 64))]


class Modelled:
    """The engine and its clock. `page` is its `/metrics`; it can be asked over HTTP for the bursts in `plan`."""

    def __init__(self, profile: EngineProfile = PROFILE, plan: Iterator[Burst] = iter(())) -> None:  # noqa: B008
        self.engine = Engine(profile)
        self.now = 100.0
        self.written = self.firsts = self.until_first_s = self.inside_s = self.itl_s = self.itls = 0.0
        self.strangers = self.crowd = 0
        """Requests of others: so far, and beside each burst."""
        self.kv_usage = 0.0
        self._plan = plan
        self._asked: list[Job] = []
        self._over = asyncio.Event()

    def serve(self, jobs: list[Job]) -> None:
        """Answer requests that come at once."""
        start = self.now
        self.strangers += self.crowd
        for job in jobs:
            self.engine.submit(job, start)
        while self.engine.next_at < NEVER:
            self.now = self.engine.next_at
            self.engine.advance()
        for job in jobs:
            assert job.first_at is not None
            assert job.finished_at is not None
            self.firsts += 1
            self.written += job.output_tokens
            self.until_first_s += job.first_at - start
            self.inside_s += job.finished_at - start
            self.itl_s += job.finished_at - job.first_at
            self.itls += job.output_tokens - 1

    def window(self, burst: Burst) -> Window:
        """What a burst shows."""
        before, start = self.counters(), self.now
        self.serve([Job(burst.input_tokens, burst.output_tokens) for _ in range(burst.requests)])
        return measured(before, self.counters(), burst, self.now - start, 0.0)

    def counters(self) -> Counters:
        """Its counters, without the way over a page."""
        return Counters(
            self.now, self.engine.steps, self.engine.prefilled, self.written, self.firsts, self.itl_s, self.itls,
            self.firsts + self.strangers, self.until_first_s, self.inside_s, self.kv_usage, self.engine.kv.capacity,
        )  # fmt: skip

    def page(self) -> str:
        """`/metrics`."""
        found = self.counters()
        one = '{engine="0",model_name="faq"}'
        rows = {
            f"iteration_tokens_total_count{one}": found.steps,
            'prompt_tokens_by_source_total{engine="0",source="local_compute"}': found.computed,
            'prompt_tokens_by_source_total{engine="0",source="local_cache_hit"}': 7.0,
            f"generation_tokens_total{one}": found.written,
            f"time_to_first_token_seconds_count{one}": found.firsts,
            f"inter_token_latency_seconds_sum{one}": found.itl_s,
            f"inter_token_latency_seconds_count{one}": found.itls,
            f"request_inference_time_seconds_count{one}": found.ended,
            f"request_prefill_time_seconds_sum{one}": found.until_first_s,
            f"request_queue_time_seconds_sum{one}": 0.0,
            f"request_inference_time_seconds_sum{one}": found.inside_s,
            f"kv_cache_usage_perc{one}": found.kv_usage,
            'cache_config_info{engine="0",block_size="16",num_gpu_blocks="4096"}': 1.0,
        }
        return "# HELP of no use\n" + "".join(f"vllm:{name} {float(value)!r}\n" for name, value in rows.items())

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request over HTTP; those of a burst are answered together."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split()[1]
        body, status = self.page().encode(), 200
        if path == "/tokenize":
            body = b'{"tokens": [3, 5, 7, 11]}'
        elif path == "/v1/models":
            body = b'{"data": [{"id": "faq", "max_model_len": 4096}]}'
        elif path == "/v1/completions":
            length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
            await self._asks(json.loads(await reader.readexactly(length)))
            body = b"{}"
        elif path != "/metrics":
            body, status = b'{"detail":"Not Found"}', 404
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body))
        await reader.read()

    async def _asks(self, fields: dict[str, object]) -> None:
        prompt, tokens = fields["prompt"], fields["max_tokens"]
        assert isinstance(prompt, list)
        assert isinstance(tokens, int)
        assert fields["ignore_eos"] is True
        if not self._asked:
            self._burst, self._over = next(self._plan), asyncio.Event()
        over = self._over
        self._asked.append(Job(len(prompt), tokens))
        if len(self._asked) == self._burst.requests:
            asked, self._asked = self._asked, []
            self.serve(asked)
            over.set()
        await over.wait()


def looks(noise_s: float = 0.0) -> str:
    """Sixty looks at a known engine that serves loads of all kinds; each step takes up to `noise_s` more."""
    model, random, found = Modelled(), Random(2), []
    for _ in range(60):
        many, prompt = random.choice((1, 2, 4, 8, 16, 32)), random.choice((32, 128, 512))
        before = model.itls
        model.serve([Job(prompt, 128) for _ in range(many)])
        model.itl_s += random.uniform(0, noise_s) * (model.itls - before)
        model.kv_usage = many * (prompt + 64) / PROFILE.kv_tokens
        found.append(f"{MARK}{model.now}\n{model.page()}")
    return "".join(found)
