"""A gateway in front of many engines and models: what it takes when nobody asks, and what requests wait for.

    python -m benchmarks.many
    python -m benchmarks.many --engines 100 --models 1000 --seconds 10 --json

Each engine is a pool of its own, models share them in turn, and each has a verdict that lets it serve. The gateway has
one core, engines and the client have the other. Requests come on one connection, a few milliseconds apart, so that what
one waits for is what the gateway does besides: probes and scrapes, the look at keys and verdicts, drains. Then the same
while its metrics are read without a pause, and while a changed configuration is taken over.
"""

import argparse
import contextlib
import http.client
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import install, machine, tollgate
from benchmarks.bench import Engine
from gateway.contracts import attestation

APART_S = 0.004
SETTLE_S = 8.0
"""After the first answer: engines that came up are registered, and their counters read, once."""
START_S = 90.0
RELOAD_S = 8.0
CONFIG = (
    tollgate.HOUSE
    + """\
pools:
{pools}
models:
{models}
"""
)
CHANGED = "timeouts: {total: 601}\n"
TITLES = {
    "cores": "cores when idle",
    "mb": "MB",
    "list_ms": "list of models, ms",
    "page_ms": "page of metrics, ms",
    "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
    "most_ms": "most, ms",
    "beside_p50_ms": "beside metrics: p50",
    "beside_p99_ms": "p99",
    "reload_ms": "most, in a reload",
}


def prepare(folder: Path, port: int, urls: Sequence[str], models: int) -> tollgate.Gate:
    """Write configuration, prices, manifests and verdicts into a folder, and make a key."""
    pools = [
        f'  p{at}: {{served_model: bench, replicas: [{{name: e{at}, url: "{url}"}}]}}' for at, url in enumerate(urls)
    ]
    names = [f"m{at}" for at in range(models)]
    served = [
        f"  {name}: {{live: {name}@1, releases: [{{manifest: {name}.yaml, pool: p{at % len(urls)}}}]}}"
        for at, name in enumerate(names)
    ]
    (folder / "verdicts").mkdir()
    attestation.generate_keys(folder / "gate.pem", folder / "gate.pub")
    private = attestation.load_private(folder / "gate.pem")
    for name in names:
        manifest = folder / f"{name}.yaml"
        manifest.write_text(tollgate.RELEASE.replace("bench", name), encoding="utf-8")
        (folder / f"verdicts/{name}.dsse.json").write_bytes(attestation.sign(tollgate.waiver(manifest), private))
    priced = "".join(f"  {name}: {{input: '0.20', output: '0.60'}}\n" for name in names)
    (folder / "prices.yaml").write_text(f'version: "1"\ncurrency: USD\nmodels:\n{priced}', encoding="utf-8")
    config = folder / "gateway.yaml"
    config.write_text(CONFIG.format(port=port, pools="\n".join(pools), models="\n".join(served)), encoding="utf-8")
    return tollgate.gate(config)


class Client:
    """One connection to the gateway."""

    def __init__(self, port: int, key: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}

    def page(self, path: str) -> float:
        """Seconds that a page takes."""
        return self._timed("GET", path, None)

    def ask(self, model: str) -> float:
        """Seconds that an answer takes."""
        asked = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
        return self._timed("POST", "/v1/chat/completions", json.dumps(asked))

    def _timed(self, method: str, path: str, body: str | None) -> float:
        begun = time.perf_counter()
        self._connection.request(method, path, body, self._headers)
        answer = self._connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            sys.exit(f"benchmarks.many: {path} answers {answer.status}: {said[:300]!r}")
        return time.perf_counter() - begun


def asked(client: Client, models: int, seconds: float) -> list[float]:
    """Milliseconds of each request, in their order: every model gets some."""
    found, until, at = list[float](), time.monotonic() + seconds, 0
    while time.monotonic() < until:
        found.append(client.ask(f"m{at % models}") * 1e3)
        at += 1
        time.sleep(APART_S)
    return found


def percentile(values: Sequence[float], number: int) -> float:
    """Between two neighbours, as `statistics` has it."""
    return statistics.quantiles(values, n=100, method="inclusive")[number - 1]


@contextlib.contextmanager
def reading(client: Client) -> Iterator[None]:
    """The page of metrics is read again and again meanwhile."""
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            client.page("/metrics")

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield
    finally:
        ended.set()
        reader.join()


def first_answer(process: machine.Process, client: Callable[[], Client], log: Path) -> None:
    """Wait for it. Ends this process with the gateway's log when it does not come."""
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.popen.poll() is None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            client().ask("m0")
            return
        time.sleep(0.05)
    sys.exit(f"benchmarks.many: no answer; the gateway's log: {log.read_text(encoding='utf-8')[-2000:]}")


def measure(engines: int, models: int, seconds: float) -> dict[str, float]:
    """All of it, once."""
    core, load_core = machine.cores()
    os.sched_setaffinity(0, {load_core})
    with ExitStack() as stack:
        engine = Engine(load_core, engines)
        stack.callback(engine.process.stop)
        folder, port = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="many-"))), machine.free_port()
        gate = prepare(folder, port, engine.urls, models)
        log = folder / "log.txt"
        process = machine.Process(gate.command, core, folder=folder, log=log)
        stack.callback(process.stop)
        first_answer(process, lambda: Client(port, gate.key), log)
        time.sleep(SETTLE_S)
        before, since = process.cpu_s(), time.monotonic()
        time.sleep(seconds)
        cores = (process.cpu_s() - before) / (time.monotonic() - since)
        client, other = Client(port, gate.key), Client(port, gate.key)
        alone = asked(client, models, seconds)
        listed, page = other.page("/v1/models"), other.page("/metrics")
        with reading(other):
            beside = asked(client, models, seconds)
        with gate.config.open("a", encoding="utf-8") as config:
            config.write(CHANGED)
        reloaded = asked(client, models, RELOAD_S)
        if "timeouts.total" not in log.read_text(encoding="utf-8"):
            sys.exit("benchmarks.many: the changed configuration was not taken over")
        values = {
            "cores": cores, "mb": process.memory_mb(), "list_ms": listed * 1e3, "page_ms": page * 1e3,
            "p50_ms": percentile(alone, 50), "p99_ms": percentile(alone, 99), "most_ms": max(alone),
            "beside_p50_ms": percentile(beside, 50), "beside_p99_ms": percentile(beside, 99),
            "reload_ms": max(reloaded),
        }  # fmt: skip
    return {name: round(value, 3) for name, value in values.items()}


def table(engines: int, models: int, values: dict[str, float]) -> str:
    """One line of a table, and its head."""
    titles, told = ["engines", "models", *TITLES.values()], [engines, models, *(values[name] for name in TITLES)]
    lines = ("| " + " | ".join(map(str, cells)) + " |" for cells in (titles, ["---:"] * len(titles), told))
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", type=int, default=300, help="pools of one replica (300)")
    parser.add_argument("--models", type=int, default=900, help="models, and as many verdicts (900)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each part (20)")
    parser.add_argument("--json", action="store_true", help="the same for a program")
    options = parser.parse_args()
    if min(options.engines, options.models, options.seconds) <= 0:
        parser.error("--engines, --models and --seconds are above 0")
    machine.allow_many_files()
    install.CACHE.mkdir(exist_ok=True)
    values = measure(options.engines, options.models, options.seconds)
    print(json.dumps(values) if options.json else table(options.engines, options.models, values))


if __name__ == "__main__":
    main()
