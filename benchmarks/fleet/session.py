"""The rounds: for each seed and workload every contender once, and what each of these runs showed."""

import contextlib
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import install, machine
from benchmarks.fleet.contenders import Contender
from benchmarks.fleet.load import Plan, ask
from benchmarks.fleet.workload import MODEL, WORKLOADS
from benchmarks.gateways import Launch, Place

ENGINES = 8
START_S = 60.0
SETTLE_S = 0.25
"""After a gateway's first answer: it shall know all its engines by then."""
AHEAD_S = 0.15
"""From the order to send until simulated time begins."""
BOUND_S = 180.0
FOREIGN = 0.3
"""Cores: when others use more during a run, it is repeated."""
QUIET_S = 3.0
QUESTION = {"model": MODEL, "messages": [{"role": "user", "content": "Are you there?"}], "max_tokens": 1}
ROOT = install.HERE.parent
Record = Callable[..., None]


class Failed(Exception):
    """A gateway that did not start, or a load that gave no result."""


class Session:
    """One call of the benchmark.

    `scales` are the workloads to run, each with its scale; `hold_s` may shorten them. A run that others disturb is
    repeated until there have been `attempts`, and the one that was disturbed least counts.
    """

    def __init__(
        self,
        contenders: Sequence[Contender],
        scales: Mapping[str, float],
        hold_s: float | None,
        attempts: int,
        record: Record,
    ) -> None:
        self._contenders, self._scales, self._hold_s, self._record = contenders, scales, hold_s, record
        self._attempts = attempts
        self._core, self._load_core = machine.cores()
        self._launches: dict[tuple[Contender, float], tuple[Launch, Place]] = {}
        self._ports: list[int] = []

    def rounds(self, seeds: Sequence[int]) -> None:
        """Everything, the contenders in turns: what is compared was measured within minutes."""
        with self._fleet(), tempfile.TemporaryDirectory(prefix="fleet-") as folder:
            for seed in seeds:
                for workload in (name for name in self._scales if seed <= WORKLOADS[name].seeds):
                    # Each begins a round once, so that no one always follows the same neighbour's noise.
                    first = seed % len(self._contenders)
                    for contender in [*self._contenders[first:], *self._contenders[:first]]:
                        self._try(contender, workload, self._scales[workload], seed, Path(folder))

    @contextlib.contextmanager
    def _fleet(self) -> Iterator[None]:
        command = [sys.executable, "-m", "benchmarks.fleet.server", str(ENGINES)]
        self._engines = machine.Process(command, self._load_core, folder=ROOT, stdin=subprocess.PIPE)
        try:
            assert self._engines.popen.stdout is not None
            self._ports = json.loads(self._engines.popen.stdout.readline())["ports"]
            yield
        finally:
            self._engines.stop()

    def _try(self, contender: Contender, workload: str, scale: float, seed: int, folder: Path) -> None:
        about = {"gateway": contender.gateway, "policy": contender.policy, "workload": workload, "seed": seed}
        scale /= contender.slower
        runs: list[dict[str, Any]] = []
        try:
            while len(runs) < self._attempts and not (runs and runs[-1]["foreign"] <= FOREIGN):
                machine.quiet((self._core, self._load_core), QUIET_S)
                runs.append(self._measure(contender, workload, scale, seed, folder))
        except (Failed, install.Missing) as error:
            self._record("left_out", **about, reason=str(error))
            print(f"{contender.name} {workload} {seed}: left out: {error}", file=sys.stderr)
            return
        best = min(runs, key=lambda run: float(run["foreign"]))
        self._record("run", **about, scale=scale, attempts=len(runs), **best)
        keys = ("cached_share", "ttft_p50", "ttft_p90", "balance", "failed", "gateway_cpu", "load_cpu", "foreign")
        shown = " ".join(f"{key}={best[key]}" for key in keys)
        print(f"{contender.name} {workload} {seed}: {shown}", file=sys.stderr)

    def _measure(self, contender: Contender, workload: str, scale: float, seed: int, folder: Path) -> dict[str, Any]:
        with ExitStack() as stack:
            launch, ports, place = Launch("-"), self._ports, None
            if contender.launch is not None:
                launch, place = self._launch(contender, scale, folder)
                ports = [place.port]
            plan = Plan(
                workload, seed, ports, scale, self._ports[0], launch.headers, contender.spread, contender.session,
                hold_s=self._hold_s,
            )  # fmt: skip
            # It makes its texts while the gateway starts.
            load = self._load(plan)
            stack.callback(load.stop)
            gateway = None
            if place is not None:
                log = place.folder / "log.txt"
                gateway = machine.Process(launch.command, self._core, folder=place.folder, env=launch.env, log=log)
                stack.callback(gateway.stop)
                _until_it_answers(gateway, launch, place.port, log)
                time.sleep(SETTLE_S)
            return {"version": launch.version, **self._run(plan, load, gateway)}

    def _load(self, plan: Plan) -> machine.Process:
        command = [sys.executable, "-m", "benchmarks.fleet.load"]
        load = machine.Process(command, self._load_core, folder=ROOT, stdin=subprocess.PIPE)
        assert load.popen.stdin is not None
        load.popen.stdin.write(json.dumps(asdict(plan)).encode() + b"\n")
        load.popen.stdin.flush()
        return load

    def _launch(self, contender: Contender, scale: float, folder: Path) -> tuple[Launch, Place]:
        """How a contender is started: its files and its key are made once."""
        if (contender, scale) not in self._launches:
            assert contender.launch is not None
            own = folder / f"{contender.name.replace(':', '-')}-{scale:g}"
            own.mkdir()
            place = Place(machine.free_port(), tuple(f"http://127.0.0.1:{port}" for port in self._ports), own)
            self._launches[contender, scale] = (contender.launch(place, scale), place)
        return self._launches[contender, scale]

    def _run(self, plan: Plan, load: machine.Process, gateway: machine.Process | None) -> dict[str, Any]:
        """One run, and the use of both cores from the first arrival to the last."""
        workload, origin = plan.chosen(), time.monotonic() + AHEAD_S
        ask(self._ports[0], "POST", "/_fleet/begin", {"origin": origin, "scale": plan.scale})
        assert load.popen.stdin is not None
        load.popen.stdin.write(f"{origin}\n".encode())
        load.popen.stdin.close()
        load.popen.stdin = None
        time.sleep(max(0.0, origin - time.monotonic()))
        before, since = self._use(load, gateway), time.monotonic()
        time.sleep((workload.ramp_s + workload.hold_s) / plan.scale)
        wall = time.monotonic() - since
        spent = [(after - start) / wall for after, start in zip(self._use(load, gateway), before, strict=True)]
        try:
            out, _ = load.popen.communicate(timeout=BOUND_S)
            told = json.loads(out)
        except (subprocess.TimeoutExpired, json.JSONDecodeError) as error:
            raise Failed(f"the load gave no result: {error}") from error
        both = spent[3] + spent[4]
        use = {
            "gateway_cpu": round(spent[0], 3),
            "load_cpu": round(spent[1] + spent[2], 3),
            "foreign": round(max(0.0, both - sum(spent[:3])), 3),
        }
        return result(told["requests"], ask(self._ports[0], "GET", "/_fleet/log")) | use

    def _use(self, load: machine.Process, gateway: machine.Process | None) -> list[float]:
        """CPU seconds of gateway, engines and load, and those of the two cores for anyone."""
        own = [gateway.cpu_s() if gateway else 0.0, self._engines.cpu_s(), load.cpu_s()]
        return [*own, machine.busy_s(self._core), machine.busy_s(self._load_core)]


def _until_it_answers(process: machine.Process, launch: Launch, port: int, log: Path) -> None:
    headers = {"content-type": "application/json", **dict(header.split(": ", 1) for header in launch.headers)}
    said, since = "nothing", time.monotonic()
    while time.monotonic() - since < START_S and process.popen.poll() is None:
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection,
        ):
            connection.request("POST", "/v1/chat/completions", json.dumps(QUESTION), headers)
            answer = connection.getresponse()
            said = f"status {answer.status}: {answer.read()[:300]!r}"
            if answer.status == 200:
                return
        time.sleep(0.02)
    tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
    raise Failed(f"no good answer in {time.monotonic() - since:.0f} s; it said {said}; its log: {' / '.join(tail)}")


def result(requests: Sequence[Sequence[Any]], engines: Mapping[str, Any]) -> dict[str, Any]:
    """One run in numbers: what the load saw, joined with what the engines did.

    `requests` are (number, measured, TTFT, lateness, failure); times are simulated seconds. Shares and work are those
    of the measured requests alone, by the engines' own word.
    """
    done = {row[0]: row for row in engines["log"] if row[0] >= 0}
    measured = [(request, done[request[0]]) for request in requests if request[1] and request[0] in done]
    failures = [request[4] for request in requests if request[4] is not None]
    ttft = sorted(request[2] for request in requests if request[1] and request[2] is not None)
    # An engine's log row: number, engine, arrived, started, first, finished, prompt tokens, cached tokens.
    inside = sorted(row[4] - row[2] for _, row in measured)
    work = [sum(row[6] - row[7] for _, row in measured if row[1] == engine) for engine in range(ENGINES)]
    prompt = sum(row[6] for _, row in measured)
    return {
        "requests": len(requests),
        "measured": len(ttft),
        "failed": len(failures),
        "failure": failures[0] if failures else None,
        "cached_share": round(sum(row[7] for _, row in measured) / prompt, 4) if prompt else None,
        **_quantiles("ttft", ttft),
        **_quantiles("engine_ttft", inside),
        "work": work,
        "balance": round(max(work) / statistics.fmean(work), 3) if any(work) else None,
        "load_late_p99": _quantile(sorted(request[3] for request in requests), 0.99),
        "engine_late_p99": _quantile(sorted(engines["late"]), 0.99),
        "asked": {**engines["asked"], **engines["unknown"]},
    }


def _quantiles(name: str, ordered: Sequence[float]) -> dict[str, float | None]:
    mean = round(statistics.fmean(ordered), 4) if ordered else None
    return {f"{name}_p50": _quantile(ordered, 0.5), f"{name}_p90": _quantile(ordered, 0.9), f"{name}_mean": mean}


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that at least this share of all do not exceed."""
    if not ordered:
        return None
    return round(ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)], 4)
