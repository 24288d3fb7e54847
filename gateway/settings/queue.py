"""How a saturated pool is shared."""

from typing import Annotated

from pydantic import Field

from gateway.contracts import documents
from gateway.settings.health import Seconds

LEAST_AGEING = 0.1
"""Seconds. Each that waits is looked at once in them: at a millisecond, a thousand that wait would take a core."""
TokenWeight = Annotated[float, Field(ge=0, le=1000)]


class QueueConfig(documents.Frozen):
    """The queue of one pool. Times in seconds.

    `max_in_flight` is how many requests each replica gets at once from one process of the gateway; the next ones wait,
    at most `max_queued` of them, each for at most `max_wait`. Without it nothing waits here. A request that has waited
    for `ageing` counts as one of the next higher class, again and again.

    `input`, `cached` and `output` are what a token of each kind weighs in a team's share: `cached` one of the prompt
    that a prefix cache gives, `input` any other one of the prompt. A written token takes a step of its own, one that is
    read shares its step with many, hence 2 to 1 as in the paper of the virtual token counter; a cached one takes none.
    """

    max_in_flight: Annotated[int, Field(ge=1, le=100_000)] | None = None
    max_queued: Annotated[int, Field(ge=0, le=1_000_000)] = 1000
    max_wait: Seconds = 30.0
    ageing: Annotated[float, Field(ge=LEAST_AGEING, le=86_400)] = 10.0
    input: TokenWeight = 1.0
    cached: TokenWeight = 0.1
    output: TokenWeight = 2.0
