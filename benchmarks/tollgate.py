"""Tollgate for the benchmark, set up by its public commands: a key, prices, a ledger, a release that may serve.

With everything on, that is also rules over a local calendar, limits of the key and its team, a cap and a queue in front
of the replicas, and the policy that scores them; nothing of that refuses or delays a request here. The plain one has
none of it, and takes the replica with the fewest requests.

Enforcement is `require`: the release serves with a verdict, signed by a key that is made for the run and thrown away.
The verdict is a waiver, since nobody evaluated a model that does not exist; the gateway checks it like any other.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path

from gateway.contracts import attestation, release
from gateway.contracts.verdict import MetricResult, Predicate, Reference, Verdict, Waiver

HOUSE = """\
listen: {{host: 127.0.0.1, port: {port}}}
database: sqlite:///tollgate.db
prices: prices.yaml
enforcement: {{mode: require, trusted_keys: [gate.pub], verdicts: verdicts}}
"""
"""How each configuration begins."""
CONFIG = (
    HOUSE
    + """\
pools:
  bench:
    served_model: bench
    {pool}
    replicas:
{replicas}
models:
  bench:
    live: bench@1
    releases: [{{manifest: release.yaml, pool: bench}}]
{model}{top}"""
)
RULES = """\
    rules:
      - {id: holiday, when: 'local.is_holiday && key.team == "nobody"', release: bench@1}
      - {id: gold, when: 'headers["x-tier"] == "gold"', release: bench@1}
      - {id: peak, when: '"peak" in local.windows && req.max_tokens > 100000', release: bench@1}
      - {id: default, release: live}
"""
TOP = """\
headers: [x-tier]
regions:
  default: BR-SP
  calendars: {BR-SP: {timezone: America/Sao_Paulo, country: BR, subdivision: SP, categories: [public, optional]}}
windows:
  peak: {rrule: "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;BYHOUR=18;BYMINUTE=0;BYSECOND=0", duration: PT5H}
teams:
  bench: {rpm: 100000000, tpm: 100000000000, concurrency: 1000000, class: interactive, weight: 2}
"""
LIMITS = ("--rpm", "100000000", "--tpm", "100000000000", "--concurrency", "1000000")
PRICES = """\
version: "1"
currency: USD
models:
  bench: {input: "0.20", cached_input: "0.02", output: "0.60"}
"""
RELEASE = """\
schema: tollgate.release/v1
name: bench@1
model: {id: bench}
engine: {name: vllm, version: 0.32.0}
"""


@dataclass(frozen=True)
class Setup:
    """What configurations differ in: a line of the pool, lines of the model and of the top level, a key's limits."""

    pool: str = "policy: least_in_flight"
    model: str = ""
    top: str = ""
    limits: Sequence[str] = ()


PLAIN, EVERYTHING = Setup(), Setup("queue: {max_in_flight: 10000}", RULES, TOP, LIMITS)


@dataclass(frozen=True)
class Gate:
    """A gateway that can be started: its command, and a key that it takes."""

    version: str
    command: Sequence[str]
    key: str
    config: Path

    def audit(self) -> dict[str, object]:
        """What the ledger holds in all, when the gateway has ended."""
        totals: dict[str, object] = json.loads(_gateway(self.config, "costs", "--json"))["totals"]
        return {"cost": totals["list_cost"], **totals}


def prepare(folder: Path, port: int, engines: Sequence[str], setup: Setup = EVERYTHING) -> Gate:
    """Write configuration, prices, manifest and verdict into a folder, and make a key."""
    replicas = "\n".join(f'      - {{name: engine-{number}, url: "{url}"}}' for number, url in enumerate(engines))
    text = CONFIG.format(port=port, replicas=replicas, pool=setup.pool, model=setup.model, top=setup.top)
    (folder / "gateway.yaml").write_text(text, encoding="utf-8")
    (folder / "prices.yaml").write_text(PRICES, encoding="utf-8")
    (folder / "release.yaml").write_text(RELEASE, encoding="utf-8")
    (folder / "verdicts").mkdir()
    attestation.generate_keys(folder / "gate.pem", folder / "gate.pub")
    signed = attestation.sign(waiver(folder / "release.yaml"), attestation.load_private(folder / "gate.pem"))
    (folder / "verdicts/bench@1.dsse.json").write_bytes(signed)
    config = folder / "gateway.yaml"
    return gate(config, *setup.limits)


def gate(config: Path, *limits: str) -> Gate:
    """A gateway of a configuration, and a new key for it."""
    key = json.loads(_gateway(config, "keys", "create", "--team", "bench", "--json", *limits))["key"]
    return Gate(metadata.version("tollgate"), [_program(), "serve", "--config", str(config)], key, config)


def waiver(manifest: Path) -> Verdict:
    """What lets a release serve that nobody evaluated."""
    made = release.load(manifest)
    nothing = Reference(name="none", digest=f"sha256:{'0' * 64}")
    now = datetime.now(UTC)
    expires, reason = now + timedelta(days=1), "a benchmark: there is no model to evaluate"
    about = {"metric": "none", "test": "absolute", "alpha": 0.05, "samples": 0, "clusters": 0}
    return Verdict(
        release=made.name,
        release_digest=made.digest(),
        predicate=Predicate(
            verdict="waived",
            reason=reason,
            created=now,
            expires=expires,
            gate=nothing,
            suite=nothing,
            dataset=nothing,
            candidate_run=nothing,
            metrics=(MetricResult.model_validate({**about, "verdict": "waived", "reason": reason}),),
            waivers=(Waiver(metric="none", owner="benchmarks", reason=reason, expires=expires),),
            harness="benchmarks",
        ),
    )


def _program() -> str:
    return str(Path(sys.executable).with_name("gateway"))


def _gateway(config: Path, *arguments: str) -> str:
    command = [_program(), *arguments, "--config", str(config)]
    done = subprocess.run(command, cwd=config.parent, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise RuntimeError(f"`gateway {' '.join(arguments)}` failed: {done.stderr.strip()}")
    return done.stdout
