"""How a pool chooses among its replicas."""

from typing import Literal

PolicyName = Literal[
    "score",
    "least_outstanding",
    "least_in_flight",
    "power_of_two",
    "consistent_hash",
    "session_affinity",
    "round_robin",
]
"""A key of `gateway.policy.routing.POLICIES`."""
