"""A ledger of a small fleet over some weeks, for reports: made by a seeded generator, the same each time.

python -m tests.gateway.costs_ledger FOLDER      makes a demo there: tollgate.db, prices.yaml, gateway.yaml
"""

import json
import math
import random
import sys
import time
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from gateway.contracts.ledger import LedgerRow
from gateway.contracts.prices import Price, PriceBook
from gateway.contracts.usage import Usage
from gateway.costs import closing
from gateway.settings.gpu_price import GpuPrice
from gateway.stores.bundle import Stores, open_stores
from tests.gateway.builders import DIGEST

HOUR_S, DAY_S = 3600, 86_400
POOLS: Mapping[str, tuple[str, int, str]] = {
    "chat-1": ("chat", 2, "2.49"),
    "chat-2": ("chat", 2, "2.49"),
    "embed-1": ("embed", 1, "1.10"),
}
"""Replicas: their pool, GPUs, and USD for a GPU and hour."""
TEAMS = {
    "search": (40, 2400, 1900, 400, {"project": "faq"}),
    "support": (30, 900, 300, 1200, {"project": "chat"}),
    "sales": (15, 500, 100, 1800, {"project": "chat"}),
    "research": (8, 6000, 200, 4000, {}),
}
"""Requests in a busy hour, tokens in, of them cached, tokens out, and tags."""
PRICES = PriceBook(
    version="2026-11-01",
    models={
        "support": Price(input=Decimal("0.20"), cached_input=Decimal("0.02"), output=Decimal("0.60")),
        "vectors": Price(input=Decimal("0.02"), output=Decimal(0)),
        "drafts": "unpriced",
    },
)


def rows(
    now: float, days: int, teams: Mapping[str, tuple[int, int, int, int, dict[str, str]]] = TEAMS
) -> Iterator[LedgerRow]:
    """Requests of whole days up to `now`: most of them in office hours, a few failed on a replica first."""
    draw = random.Random(7)
    for hour in range(int(now // HOUR_S) - 24 * days, int(now // HOUR_S) + 1):
        weekday, of_day = (hour // 24 + 3) % 7, hour % 24
        busy = (1.0 if 8 <= of_day < 19 else 0.15) * (1.0 if weekday < 5 else 0.25)
        for team, (count, read, cached, written, tags) in teams.items():
            for number in range(round(count * busy * draw.uniform(0.6, 1.4))):
                started = hour * HOUR_S + draw.uniform(0, HOUR_S - 60)
                if started < now - 600:
                    model = draw.choices(("support", "vectors", "drafts"), (8, 3, 1))[0]
                    yield _row(f"{team}-{hour}-{number}", started, team, model, (read, cached, written), tags, draw)
        if of_day == 3:
            yield _row(f"harness-{hour}", hour * HOUR_S + 60.0, "harness", "support", (1200, 0, 300), {}, draw)


def _row(
    name: str,
    started: float,
    team: str,
    model: str,
    tokens: tuple[int, int, int],
    tags: dict[str, str],
    draw: random.Random,
) -> LedgerRow:
    read, cached, written = (max(0, round(count * draw.lognormvariate(0, 0.5))) for count in tokens)
    written = 0 if model == "vectors" else written
    usage = Usage(input_tokens=read, cached_tokens=min(cached, read), output_tokens=written)
    first = 0.05 + (read - min(cached, read)) / 12_000
    known = draw.random() > 0.01
    cost = PRICES.cost(model, usage, started) if known else None
    tries = [["chat-1", 0.0, 2.5]] if draw.random() < 0.01 else None
    return LedgerRow(
        request_id=name,
        started_at=started,
        key_id=f"{team}-key",
        team=team,
        purpose="evaluate" if team == "harness" else "serve",
        model=model,
        release=f"{model}@{3 if draw.random() < 0.8 else 4}",
        release_digest=DIGEST,
        endpoint="/v1/chat/completions",
        stream=True,
        outcome="completed",
        status=200,
        replica="embed-1" if model == "vectors" else draw.choice(("chat-1", "chat-2")),
        attempts=1 if tries is None else 2,
        input_tokens=read if known else None,
        cached_tokens=usage.cached_tokens if known else None,
        output_tokens=written if known else None,
        reasoning_tokens=0 if known else None,
        cost=None if cost is None else format(cost, "f"),
        price_version=PRICES.version,
        dispatched_s=0.001 if tries is None else 2.6,
        tries=None if tries is None else json.dumps(tries),
        first_byte_s=first if tries is None else first + 2.6,
        duration_s=first + 0.04 * written + (0 if tries is None else 2.6),
        region=draw.choice(("BR-SP", "US-CA")),
        tags=json.dumps(tags, sort_keys=True) if tags else None,
    )


def fill(stores: Stores, now: float, days: int) -> None:
    """Fill a ledger, pay for its replicas from its beginning on, and close the hours that are over."""
    begun = math.floor(now / HOUR_S) * HOUR_S - days * DAY_S
    prices = {
        name: (pool, GpuPrice(usd_per_gpu_hour=Decimal(price), gpus=gpus))
        for name, (pool, gpus, price) in POOLS.items()
    }
    stores.rentals.declare("gateway-1", float(begun), prices)
    stores.ledger.insert(list(rows(now, days)))
    closing.close(stores, now)


def demo(folder: Path) -> None:
    """A database up to now, and the files of its prices and of its gateway's configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    fill(open_stores(f"sqlite:///{folder / 'tollgate.db'}"), time.time(), 24)
    entries = {
        name: entry if isinstance(entry, str) else {k: str(v) for k, v in entry.model_dump(exclude_none=True).items()}
        for name, entry in PRICES.models.items()
    }
    (folder / "prices.yaml").write_text(json.dumps({"version": PRICES.version, "models": entries}))
    configure(folder, prices="prices.yaml")


def configure(folder: Path, **changes: Any) -> Path:
    """The configuration of the gateway that would have written the ledger."""
    pools: dict[str, Any] = {}
    for replica, (pool, gpus, usd) in POOLS.items():
        known = pools.setdefault(pool, {"gpu": {"usd_per_gpu_hour": usd, "gpus": gpus}, "replicas": []})
        known["replicas"].append({"name": replica, "url": f"http://{replica}.internal:8000"})
    models = {}
    for model, pool in (("support", "chat"), ("vectors", "embed")):
        manifest = {"schema": "tollgate.release/v1", "name": f"{model}@1", "model": {"id": model}}
        (folder / f"{model}.yaml").write_text(json.dumps(manifest))
        models[model] = {"live": f"{model}@1", "releases": [{"manifest": f"{model}.yaml", "pool": pool}]}
    values = {
        "database": f"sqlite:///{folder / 'tollgate.db'}",
        "enforcement": {"mode": "off"},
        "pools": pools,
        "models": models,
    }
    path = folder / "gateway.yaml"
    path.write_text(json.dumps({**values, **changes}, indent=2))
    return path


if __name__ == "__main__":
    demo(Path(sys.argv[1]))
