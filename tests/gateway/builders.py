"""Small factories for the gateway's tests: each builds one valid thing and takes what should differ."""

import itertools
import json
import os
import resource
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.budgeting import Budgeting
from gateway.config import (
    Deployment,
    Enforcement,
    GatewayConfig,
    ModelConfig,
    PoolConfig,
    Release,
    ReleaseConfig,
    ReplicaConfig,
    deploy,
)
from gateway.contracts import attestation
from gateway.contracts.ledger import LedgerRow
from gateway.contracts.release import ReleaseManifest
from gateway.contracts.verdict import Predicate, Verdict
from gateway.policy.auth import KeyRecord, Principal, new_key
from gateway.policy.gating import Gate
from gateway.policy.resolution import Snapshot
from gateway.stores.budget_books import book_of
from gateway.stores.database import METADATA
from gateway.stores.spend import Spend
from gateway.telemetry import Telemetry

MOMENT = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOW = MOMENT.timestamp()
DIGEST = f"sha256:{'a' * 64}"
NO_GPU_PRICE = "# warning: pool 'main': no `gpu` price for main-0: their GPU cost is unknown, not zero\n"
"""What `gateway check` says of a pool of one replica without a price."""


def counting_bytes(first: int = 0) -> Callable[[int], bytes]:
    """A source of bytes that never repeats itself, in place of the system's random one."""
    numbers = itertools.count(first)
    return lambda size: next(numbers).to_bytes(size, "big")


def key(first: int = 0, **changes: Any) -> tuple[str, KeyRecord]:
    """(text, record) of a virtual key; another `first` makes another key."""
    text, public, digest = new_key(counting_bytes(first))
    fields = {"name": "n", "team": "search", "scope": "serve", "models": None, "created_at": NOW - 1}
    return text, KeyRecord(**{**fields, "id": public, "digest": digest, **changes})


def principal(**changes: Any) -> Principal:
    """Who asks."""
    return Principal(**{"key_id": "k", "team": "search", "scope": "serve", "models": None, **changes})


def manifest(name: str = "faq@1", **changes: Any) -> ReleaseManifest:
    """A release manifest."""
    return ReleaseManifest.model_validate({"name": name, "model": {"id": "m"}, **changes})


def release(name: str = "faq@1", pool: str = "main", **changes: Any) -> Release:
    """A release as the gateway serves it; `changes` are the manifest's."""
    made = manifest(name, **changes)
    return Release(name, made.model_name, made.digest(), made, pool)


def snapshot(
    releases: Iterable[Release] = (),
    *,
    live: dict[str, str] | None = None,
    keys: Iterable[KeyRecord] = (),
    gates: dict[str, Gate] | None = None,
    mode: str = "off",
) -> Snapshot:
    """What decisions read. Without `live`, the first release of each model is."""
    named = {each.name: each for each in releases}
    first = {each.model: each.name for each in reversed(named.values())}
    records = {record.id: record for record in keys}
    return Snapshot(records, named, first if live is None else live, gates or {}, mode)


def deployment(
    urls: Sequence[str] = ("http://127.0.0.1:1",),
    releases: Sequence[Release] | None = None,
    *,
    enforcement: Enforcement | None = None,
    **changes: Any,
) -> Deployment:
    """One pool named `main` of these engines; the first release of each model is live; nothing is on disk."""
    made = [release()] if releases is None else list(releases)
    models = {
        each.model: ModelConfig(
            live=each.name,
            releases=tuple(ReleaseConfig(manifest=Path("-"), pool=r.pool) for r in made if r.model == each.model),
        )
        for each in reversed(made)
    }
    config = GatewayConfig(
        pools={"main": PoolConfig(replicas=tuple(ReplicaConfig(url=url) for url in urls))},
        models=models,
        enforcement=Enforcement(mode="off") if enforcement is None else enforcement,
        **changes,
    )
    return deploy(config, {each.name: each for each in made})


async def nothing() -> None:
    """There is nothing to wait for."""


def budgeting(telemetry: Telemetry, monotonic: Callable[[], float], clock: Callable[[], float]) -> Budgeting:
    """The budgets of a process alone, with an empty ledger in memory."""
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    METADATA.create_all(engine)
    return Budgeting(book_of(None, None, monotonic, clock), Spend(engine), telemetry, clock, nothing)


def verdict(
    digest: str = DIGEST,
    answer: str = "pass",
    *,
    created: datetime = MOMENT - timedelta(hours=1),
    expires: datetime = MOMENT + timedelta(days=1),
    name: str = "faq@1",
) -> Verdict:
    """A gate's answer about one digest."""
    held = answer if answer == "waived" else "pass"
    metric = {"metric": "exact", "test": "absolute", "verdict": held, "reason": "r", "alpha": 0.05}
    waiver = {"metric": "exact", "owner": "ml", "reason": "known", "expires": expires}
    fields = {
        "verdict": answer,
        "reason": f"because of {answer}",
        "created": created,
        "expires": expires,
        "metrics": [{**metric, "samples": 9, "clusters": 9}],
        "waivers": [waiver] if answer == "waived" else [],
        "harness": "evals 0.1",
        **{each: {"name": each, "digest": DIGEST} for each in ("gate", "suite", "dataset", "candidate_run")},
    }
    return Verdict(release=name, release_digest=digest, predicate=Predicate.model_validate(fields))


@dataclass(frozen=True)
class Signer:
    """A fresh ed25519 pair: `public` is its PEM file."""

    private: Ed25519PrivateKey
    public: Path

    def write(self, folder: Path, signed: Verdict, name: str = "one") -> Path:
        """A signed verdict file in a folder."""
        folder.mkdir(exist_ok=True)
        path = folder / f"{name}.dsse.json"
        path.write_bytes(attestation.sign(signed, self.private))
        return path


def signer(folder: Path, name: str = "gate") -> Signer:
    """A fresh pair, its public half in a folder."""
    private = Ed25519PrivateKey.generate()
    public = folder / f"{name}.pub"
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(private.public_key().public_bytes(serialization.Encoding.PEM, form))
    return Signer(private, public)


def row(request_id: str = "tg-1", **changes: Any) -> LedgerRow:
    """A row of the ledger, admitted and not settled."""
    base = LedgerRow(
        request_id=request_id,
        started_at=NOW,
        key_id="k",
        team="search",
        purpose="serve",
        model="faq",
        release="faq@1",
        release_digest=DIGEST,
        endpoint="/v1/chat/completions",
        stream=False,
        outcome="gateway_lost",
        status=0,
    )
    return msgspec.structs.replace(base, **changes)


def settled(request_id: str = "tg-1", **changes: Any) -> LedgerRow:
    """The row of a request that completed."""
    done = {"outcome": "completed", "status": 200, "input_tokens": 3, "output_tokens": 2}
    return row(request_id, **{**done, **changes})


def write_config(folder: Path, urls: Sequence[str] = ("http://127.0.0.1:1",), **changes: Any) -> Path:
    """`gateway.yaml` with the releases faq@1 (live) and faq@2, enforcement off, and a database, all in one folder."""
    for name in ("faq@1", "faq@2"):
        (folder / f"{name}.yaml").write_text(json.dumps({"name": name, "model": {"id": "m"}}))
    values = {
        "database": f"sqlite:///{folder / 'tollgate.db'}",
        "enforcement": {"mode": "off"},
        "pools": {"main": {"replicas": [{"url": url} for url in urls]}},
        "models": {
            "faq": {
                "live": "faq@1",
                "releases": [{"manifest": f"{name}.yaml", "pool": "main"} for name in ("faq@1", "faq@2")],
            }
        },
    }
    path = folder / "gateway.yaml"
    path.write_text(json.dumps({**values, **changes}, indent=2))
    return path


def kill(folder: Path) -> None:
    """Close the descriptors of a folder's files behind their owner's back, as the death of its process does.

    Let go of the owner first: a mapping dies with its process too, and would close its descriptor a second time.
    """
    inodes = {(path.stat().st_dev, path.stat().st_ino) for path in folder.iterdir()}
    for number in range(3, 512):
        with suppress(OSError):
            found = os.fstat(number)
            if (found.st_dev, found.st_ino) in inodes:
                os.close(number)


@contextmanager
def room_for(folder: Path, size: int) -> Iterator[None]:
    """A disk on which the one file of the folder may grow by so many bytes."""
    (path,) = folder.iterdir()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
