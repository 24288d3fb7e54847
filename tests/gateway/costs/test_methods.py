"""Other methods: how far a share moves with them, on numbers that were worked out elsewhere."""

import pytest

from gateway.costs.methods import Asked, Weigh, requests, split, tokens, weighted

LONG = {("long", at): Asked(2000, 6000, 200) for at in range(1000)}
"""Long prompts, of which three quarters are cached, and short answers."""
SHORT = {("short", at): Asked(300, 0, 600) for at in range(2000)}
BUSY = 10**9


@pytest.mark.parametrize(("method", "percent"), [(requests, 33), (tokens, 82), (weighted, 39)])
def test_a_tenants_share_moves_with_the_method(method: Weigh, percent: int) -> None:
    parts = split(BUSY, {**LONG, **SHORT}, method)
    assert sum(parts.values()) == BUSY
    assert round(100 * sum(parts[key] for key in LONG) / BUSY) == percent


def test_a_token_weighs_by_its_kind() -> None:
    asked = Asked(10, 20, 30, 0.5)
    assert (requests(asked), tokens(asked), weighted(asked)) == (0.5, 30.0, 0.5 * (10 + 2 + 120))


def test_a_request_that_fell_into_two_hours_counts_once() -> None:
    first, second = Asked(10, 20, 30, 0.25), Asked(10, 20, 30, 0.75)
    for method in (requests, tokens, weighted):
        assert method(first) + method(second) == method(first._replace(part=1.0))


def test_where_nobody_knows_tokens_requests_count() -> None:
    asked = {"a": Asked(0, 0, 0, 0.5), "b": Asked(0, 0, 0, 1.0)}
    assert split(30, asked, tokens) == {"a": 10, "b": 20}


def test_who_has_no_known_tokens_beside_others_has_none_of_the_tokens_money() -> None:
    assert split(30, {"a": Asked(0, 0, 0), "b": Asked(1, 0, 0)}, weighted) == {"a": 0, "b": 30}
