"""Releases as they are listed; tests of the pages and of the command promote them."""

from pathlib import Path

from gateway.admin.releases import listed, state_of
from tests.gateway.admin.desk import desk
from tests.gateway.builders import NOW, signer


def test_a_promotion_of_the_store_is_what_is_live(tmp_path: Path) -> None:
    made = desk(tmp_path)
    state = state_of(made.deployment, made.house.stores)
    assert [(each["release"], each["live"]) for each in listed(made.deployment, state, NOW)] == [
        ("faq@1", True), ("faq@2", False),
    ]  # fmt: skip
    state.promote("faq@2")
    again = state_of(made.deployment, made.house.stores)
    assert [each["live"] for each in listed(made.deployment, again, NOW)] == [False, True]


def test_what_may_not_serve_says_why(tmp_path: Path) -> None:
    signer(tmp_path)
    made = desk(tmp_path, enforcement={"mode": "require", "trusted_keys": ["gate.pub"], "verdicts": "verdicts"})
    for each in listed(made.deployment, state_of(made.deployment, made.house.stores), NOW):
        assert (each["verdict"], "no verdict" in each["refusal"]) == ("none", True)
