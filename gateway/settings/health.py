"""How engines are watched."""

from typing import Annotated

from pydantic import Field

from gateway.contracts import documents

Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Health(documents.Frozen):
    """How engines are watched. Times in seconds.

    Every `period` each replica is probed, for at most `timeout`; `failures` failed probes in a row make it down.
    `slow_start` is how long a replica that came back takes to get its full share again; 0 gives it at once.
    `fingerprint` asks each engine for one token when it is first seen: only an answer carries its fingerprint.
    Every `scrape` each engine is asked for its load; 0 never does, and routing goes by the gateway's own counts alone.
    Without `probes` no engine is asked anything, and real traffic alone says how they are.
    """

    probes: bool = True
    period: Seconds = 5.0
    timeout: Seconds = 2.0
    failures: Annotated[int, Field(ge=1, le=1000)] = 2
    slow_start: Annotated[float, Field(ge=0, le=86_400)] = 10.0
    scrape: Annotated[float, Field(ge=0, le=86_400)] = 1.0
    fingerprint: bool = True
