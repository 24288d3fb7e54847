"""The live release answers for its model; a release by name is for the harness; errors say what to do."""

from dataclasses import replace

import pytest

from gateway.contracts.errors import ModelNotFound, PermissionDenied, ReleaseNotGated, RequestError
from gateway.policy.auth import Principal
from gateway.policy.gating import Gate
from gateway.policy.resolution import Asked, Resolved, Snapshot, fallbacks, resolve
from gateway.policy.rules import Rulebook
from tests.gateway.builders import NOW, principal, release, snapshot
from tests.gateway.ruled import header, request, ruled

ONE, TWO, OTHER = release("faq@1"), release("faq@2"), release("shop@1")
OPEN, CLOSED = Gate(None, "pass", NOW + 10), Gate("no verdict: run `evals gate`")
HARNESS = principal(scope="evaluate")


def _snapshot(mode: str = "off", gate: Gate = OPEN) -> Snapshot:
    gates = {} if mode == "off" else {"faq@1": gate, "faq@2": CLOSED, "shop@1": OPEN}
    return snapshot([ONE, TWO, OTHER], mode=mode, gates=gates)


def _refused(kind: type[RequestError], name: str, who: object = None, state: Snapshot | None = None) -> str:
    with pytest.raises(kind) as caught:
        resolve(name, who or principal(), state or _snapshot(), NOW)  # type: ignore[arg-type]
    assert caught.value.param == "model"
    return caught.value.message


def test_a_model_is_answered_by_its_live_release() -> None:
    assert resolve("faq", principal(), _snapshot(), NOW) == Resolved(ONE, None)
    promoted = snapshot([ONE, TWO], live={"faq": "faq@2"})
    assert resolve("faq", principal(), promoted, NOW) == Resolved(TWO, None)


def test_require_serves_an_open_gate_and_refuses_a_closed_one() -> None:
    assert resolve("faq", principal(), _snapshot("require"), NOW) == Resolved(ONE, None)
    assert "evals gate" in _refused(ReleaseNotGated, "faq", state=_snapshot("require", CLOSED))


def test_a_gate_closes_while_the_snapshot_stays() -> None:
    state = _snapshot("require")
    with pytest.raises(ReleaseNotGated, match="expired"):
        resolve("faq", principal(), state, NOW + 10)


def test_warn_serves_and_says_so() -> None:
    assert resolve("faq", principal(), _snapshot("warn"), NOW) == Resolved(ONE, None)
    assert resolve("faq", principal(), _snapshot("warn", CLOSED), NOW) == Resolved(ONE, CLOSED.refusal)


def test_off_asks_for_no_gate() -> None:
    assert resolve("faq", principal(), _snapshot("off"), NOW) == Resolved(ONE, None)


def test_the_harness_is_held_to_the_gate_when_it_asks_for_the_model() -> None:
    _refused(ReleaseNotGated, "faq", HARNESS, _snapshot("require", CLOSED))


@pytest.mark.parametrize("mode", ["require", "warn", "off"])
def test_the_harness_alone_pins_a_release_before_it_has_a_verdict(mode: str) -> None:
    assert resolve("faq@2", HARNESS, _snapshot(mode), NOW) == Resolved(TWO, None)
    message = _refused(PermissionDenied, "faq@2", state=_snapshot(mode))
    assert "evaluate" in message
    assert "'faq'" in message


def test_a_key_reaches_the_models_of_its_list_alone() -> None:
    limited = principal(models=frozenset({"shop"}))
    assert resolve("shop", limited, _snapshot(), NOW) == Resolved(OTHER, None)
    assert "'faq'" in _refused(PermissionDenied, "faq", limited)


def test_a_pinned_release_counts_as_its_model() -> None:
    limited = principal(scope="evaluate", models=frozenset({"shop"}))
    assert resolve("shop@1", limited, _snapshot(), NOW) == Resolved(OTHER, None)
    _refused(PermissionDenied, "faq@2", limited)
    # The name of a release in the list is not the name of a model.
    _refused(PermissionDenied, "faq@2", principal(scope="evaluate", models=frozenset({"faq@2"})))


def test_a_refused_model_is_refused_before_its_gate_is_asked() -> None:
    _refused(PermissionDenied, "faq", principal(models=frozenset()), _snapshot("require", CLOSED))


def test_an_unknown_model_is_answered_with_those_that_the_key_may_use() -> None:
    message = _refused(ModelNotFound, "fak")
    assert "'fak'" in message
    assert "'faq', 'shop'" in message
    limited = _refused(ModelNotFound, "fak", principal(models=frozenset({"shop"})))
    assert "'shop'" in limited
    assert "'faq'" not in limited
    assert _refused(ModelNotFound, "fak", principal(models=frozenset())).endswith("may use none")


def test_of_a_name_that_is_long_an_error_repeats_the_beginning() -> None:
    assert _refused(ModelNotFound, "é" * 100).startswith(f"no model '{'é' * 100}' here; ")
    message = _refused(ModelNotFound, "é" * 3_000_000)
    assert message.startswith(f"no model '{'é' * 100}'… (3000000 characters) here; ")
    assert len(message) < 300


def test_an_unknown_release_says_how_releases_are_named() -> None:
    assert "MODEL@VERSION" in _refused(ModelNotFound, "faq@9", HARNESS)
    assert "MODEL@VERSION" not in _refused(ModelNotFound, "faq-9", HARNESS)


@pytest.mark.parametrize("name", ["", "FAQ", " faq", "faq ", "faq@", "@1", "faq@1@1", "../faq", "' OR 1=1"])
def test_names_are_compared_whole(name: str) -> None:
    _refused(ModelNotFound, name, HARNESS)


def _ruled(mode: str = "off", gate: Gate = OPEN) -> Snapshot:
    """`faq`, whose second release is for the team `sales`."""
    return replace(_snapshot(mode, gate), rules=Rulebook(ruled('key.team == "sales"')))


ASKED = Asked(request(), header())


def test_a_rule_names_the_release_and_the_decision_is_told() -> None:
    sales = resolve("faq", principal(team="sales"), _ruled(), NOW, ASKED)
    assert sales.decision is not None
    assert (sales.release, sales.decision.rule, sales.decision.inputs["key.team"]) == (TWO, "r0", "sales")
    other = resolve("faq", principal(), _ruled(), NOW, ASKED)
    assert other.decision is not None
    assert (other.release, other.decision.rule) == (ONE, "default")


def test_the_default_is_what_was_promoted() -> None:
    promoted = replace(_ruled(), live={"faq": "faq@2", "shop": "shop@1"})
    assert resolve("faq", principal(), promoted, NOW, ASKED).release == TWO


def test_without_a_request_or_without_rules_the_live_release_answers() -> None:
    assert resolve("faq", principal(team="sales"), _ruled(), NOW) == Resolved(ONE, None)
    assert resolve("shop", principal(team="sales"), _ruled(), NOW, ASKED) == Resolved(OTHER, None)
    assert resolve("faq", principal(team="sales"), _snapshot(), NOW, ASKED) == Resolved(ONE, None)


def test_the_release_of_a_rule_needs_its_verdict_too() -> None:
    """Law 6."""
    with pytest.raises(ReleaseNotGated):
        resolve("faq", principal(team="sales"), _ruled("require"), NOW, ASKED)
    assert resolve("faq", principal(team="sales"), _ruled("warn"), NOW, ASKED).ungated == CLOSED.refusal


def test_no_rule_takes_part_where_a_release_is_pinned() -> None:
    harness = principal(scope="evaluate", team="sales")
    assert resolve("faq@1", harness, _ruled(), NOW, ASKED) == Resolved(ONE, None)


def _chain(of: dict[str, tuple[str, ...]], who: Principal, **changes: Gate) -> list[str]:
    """The releases that may answer for `faq`; with `changes`, where a verdict is required."""
    gates = {"faq@1": OPEN, "faq@2": CLOSED, "shop@1": OPEN} | changes
    state = snapshot([ONE, TWO, OTHER], mode="require", gates=gates)
    return [each.release.name for each in fallbacks("faq", who, replace(state, fallbacks=of), NOW)]


def test_fallbacks_come_in_their_order_each_once() -> None:
    assert _chain({"faq": ("shop",)}, principal()) == ["shop@1"]
    assert _chain({"faq": ("shop",), "shop": ("faq", "shop")}, principal()) == ["shop@1"]
    assert _chain({}, principal()) == []


def test_who_may_not_use_a_fallback_gets_none_and_the_harness_never() -> None:
    assert _chain({"faq": ("shop",)}, principal(models=frozenset({"faq"}))) == []
    assert _chain({"faq": ("shop",)}, HARNESS) == []


def test_a_fallback_without_a_verdict_is_left_out_where_one_is_required() -> None:
    assert _chain({"faq": ("shop",)}, principal(), **{"shop@1": CLOSED}) == []
