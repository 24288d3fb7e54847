"""The snapshot follows the stores: keys, promotions and verdicts, from this process and from others."""

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.contracts.errors import PermissionDenied, ReleaseNotGated, VerdictError
from gateway.control_plane.state import State
from gateway.policy.auth import KeyRecord, Principal
from gateway.policy.resolution import resolve
from gateway.settings.enforcement import Enforcement
from gateway.settings.limits import ClassConfig, Quota, TeamConfig
from gateway.stores.database import open_database
from gateway.stores.keys import KeyStore
from gateway.stores.releases import ReleaseStore
from tests.gateway.builders import MOMENT, NOW, Signer, counting_bytes, deployment, release, signer, verdict

ONE, TWO = release("faq@1"), release("faq@2")


class House:
    """Stores, a folder of verdicts and a clock, shared by any number of gateways."""

    def __init__(self, folder: Path, engine: sa.Engine, gate: Signer) -> None:
        self.folder, self.gate, self.now = folder / "verdicts", gate, NOW
        self.folder.mkdir()
        self.keys, self.releases = KeyStore(engine), ReleaseStore(engine)

    def state(self, mode: str = "require", clock: Callable[[], float] | None = None, **changes: Any) -> State:
        enforcement = Enforcement.model_validate(
            {"mode": mode, "trusted_keys": [self.gate.public], "verdicts": self.folder}
        )
        found = deployment(releases=[ONE, TWO], enforcement=enforcement, **changes)
        return State(found, self.keys, self.releases, clock or (lambda: self.now), pools={})

    def key(self, first: int = 0, **changes: Any) -> KeyRecord:
        asked = {"name": "n", "team": "search", "scope": "serve", "models": None, "now": NOW, "ttl_s": None}
        return self.keys.create(**{**asked, **changes}, random_bytes=counting_bytes(first))[1]

    def passes(self, name: str = "two") -> Path:
        return self.gate.write(self.folder, verdict(TWO.digest, name="faq@2"), name)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    engine = open_database(f"sqlite:///{tmp_path / 't.db'}")
    yield House(tmp_path, engine, signer(tmp_path))
    engine.dispose()


def test_what_the_configuration_says_is_live_at_first(house: House) -> None:
    snapshot = house.state().snapshot
    assert (snapshot.live, snapshot.mode, set(snapshot.gates)) == ({"faq": "faq@1"}, "require", {"faq@1", "faq@2"})
    assert house.state("off").snapshot.gates == {}


def test_require_promotes_only_through_an_open_gate(house: House) -> None:
    state = house.state()
    with pytest.raises(ReleaseNotGated, match="evals gate"):
        state.promote("faq@2")
    assert state.snapshot.live == {"faq": "faq@1"}
    assert house.releases.promoted() == {}
    house.passes()
    state.refresh()
    assert state.promote("faq@2") == TWO
    assert state.snapshot.live == {"faq": "faq@2"}


@pytest.mark.parametrize("mode", ["warn", "off"])
def test_warn_and_off_promote_without_a_verdict(house: House, mode: str) -> None:
    state = house.state(mode)
    state.promote("faq@2")
    assert state.snapshot.live == {"faq": "faq@2"}


@pytest.mark.parametrize("mode", ["require", "warn", "off"])
def test_an_unknown_release_is_never_promoted(house: House, mode: str) -> None:
    with pytest.raises(ReleaseNotGated, match="faq@1, faq@2"):
        house.state(mode).promote("faq@9")


def test_a_gate_that_closed_since_the_last_refresh_does_not_promote(house: House) -> None:
    house.passes()
    state = house.state()
    house.now = (MOMENT + timedelta(days=1)).timestamp()
    with pytest.raises(ReleaseNotGated, match="expired"):
        state.promote("faq@2")


def test_a_new_verdict_is_seen_and_a_later_fail_ends_it(house: House) -> None:
    state = house.state()
    assert state.snapshot.gates["faq@2"].closed(NOW) is not None
    house.passes()
    state.refresh()
    assert state.snapshot.gates["faq@2"].closed(NOW) is None
    house.gate.write(house.folder, verdict(TWO.digest, "fail", created=MOMENT), "later")
    state.refresh()
    assert "fail" in (state.snapshot.gates["faq@2"].explained(NOW) or "")


def test_a_verdict_that_is_taken_away_no_longer_counts(house: House) -> None:
    path = house.passes()
    state = house.state()
    path.unlink()
    state.refresh()
    assert state.snapshot.gates["faq@2"].closed(NOW) is not None


def test_an_altered_verdict_is_refused_and_told_once(house: House, caplog: pytest.LogCaptureFixture) -> None:
    path = house.passes()
    path.write_bytes(path.read_bytes().replace(b'"sig": "', b'"sig": "00'))
    with caplog.at_level(logging.WARNING, "tollgate"):
        state = house.state()
        state.refresh()
    assert "two.dsse.json" in (state.snapshot.gates["faq@2"].explained(NOW) or "")
    assert sum("two.dsse.json" in record.getMessage() for record in caplog.records) == 1


def test_a_link_to_nothing_among_the_verdicts_stops_nothing(house: House) -> None:
    house.passes()
    (house.folder / "link.dsse.json").symlink_to(house.folder / "nothing")
    assert house.state().snapshot.gates["faq@2"].closed(NOW) is None


def test_a_key_is_seen_when_it_is_made_and_when_it_is_revoked(house: House) -> None:
    state = house.state("off")
    _, record = house.keys.create(
        name="n", team="t", scope="serve", models=None, now=NOW, ttl_s=None, random_bytes=counting_bytes()
    )
    assert state.snapshot.keys == {}
    state.refresh()
    assert state.snapshot.keys == {record.id: record}
    house.keys.revoke(record.id, NOW)
    state.refresh()
    assert state.snapshot.keys[record.id].refusal(NOW) is not None


def test_a_promotion_by_another_process_is_followed(house: House) -> None:
    here, there = house.state("off"), house.state("off")
    there.promote("faq@2")
    assert here.snapshot.live == {"faq": "faq@1"}
    here.refresh()
    assert here.snapshot.live == {"faq": "faq@2"}


@pytest.mark.parametrize(("name", "digest"), [("faq@9", ONE.digest), ("faq@2", ONE.digest)], ids=["gone", "changed"])
def test_a_promoted_release_that_is_not_here_does_not_serve(
    house: House, name: str, digest: str, caplog: pytest.LogCaptureFixture
) -> None:
    house.releases.promote("faq", name, digest, NOW)
    with caplog.at_level(logging.WARNING, "tollgate"):
        assert house.state("off").snapshot.live == {"faq": "faq@1"}
    assert name in caplog.text


def test_a_promotion_of_a_model_that_is_not_here_is_nobodys(house: House) -> None:
    house.releases.promote("shop", "faq@2", TWO.digest, NOW)
    assert house.state("off").snapshot.live == {"faq": "faq@1"}


def test_a_trusted_key_that_is_gone_does_not_keep_a_revocation_waiting(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.passes()
    state = house.state()
    gates = state.snapshot.gates
    house.gate.public.write_text("no key any more")
    house.gate.write(house.folder, verdict(ONE.digest), "one")
    _, record = house.keys.create(
        name="n", team="t", scope="serve", models=None, now=NOW, ttl_s=None, random_bytes=counting_bytes()
    )
    house.keys.revoke(record.id, NOW)
    for _ in range(3):
        state.refresh()
    assert state.snapshot.keys[record.id].refusal(NOW) is not None
    assert state.snapshot.gates == gates
    assert caplog.text.count("not read anew") == 1


def test_a_trusted_key_that_is_gone_at_the_start_is_an_error(house: House) -> None:
    house.gate.public.write_text("no key")
    with pytest.raises(VerdictError):
        house.state()


def test_a_snapshot_is_replaced_and_never_changed(house: House) -> None:
    state = house.state("off")
    before, live = state.snapshot, dict(state.snapshot.live)
    state.promote("faq@2")
    assert before.live == live
    assert state.snapshot is not before


def test_without_a_trusted_key_that_reads_nothing_starts(house: House) -> None:
    house.gate.public.unlink()
    start: Callable[[], State] = house.state
    with pytest.raises(VerdictError, match="PEM"):
        start()
    assert house.state("off").snapshot.live == {"faq": "faq@1"}


def test_what_was_read_first_is_not_stored_last(house: House) -> None:
    reading, go_on, slow = threading.Event(), threading.Event(), []

    def clock() -> float:
        if threading.current_thread() in slow:  # it has read the keys, and judges the releases
            reading.set()
            go_on.wait(10)
        return NOW

    state = house.state("warn", clock)
    first, second = (threading.Thread(target=state.refresh) for _ in range(2))
    slow.append(first)
    first.start()
    reading.wait(10)
    house.keys.create(
        name="new", team="t", scope="serve", models=None, now=NOW, ttl_s=None, random_bytes=counting_bytes()
    )  # fmt: skip
    second.start()
    second.join(0.2)
    go_on.set()
    for each in (first, second):
        each.join()
    assert len(state.snapshot.keys) == 1


def _principal(state: State, record: KeyRecord) -> Principal:
    found = state.snapshot.keys[record.id].principal
    assert found is not None
    return found


def test_a_key_resolves_to_its_own_settings_and_its_team_s(house: House) -> None:
    team = TeamConfig.model_validate({"rpm": 5, "models": ["faq"], "class": "batch", "weight": 2})
    record = house.key(models=["faq", "shop"], quota=Quota(tpm=100))
    stranger = house.key(50, team="sales")
    state = house.state("off", teams={"search": team})
    found = _principal(state, record)
    assert (found.models, found.quota, found.team_quota) == (frozenset({"faq"}), Quota(tpm=100), team)
    assert (found.priority_class, found.priority, found.weight) == ("batch", -10, 2.0)
    assert _principal(state, stranger) == Principal(stranger.id, "sales", "serve", None)


def test_a_model_that_the_team_may_not_use_is_refused(house: House) -> None:
    record = house.key(models=["faq"])
    snapshot = house.state("off", teams={"search": TeamConfig(models=("shop",))}).snapshot
    principal = snapshot.keys[record.id].principal
    assert principal is not None
    with pytest.raises(PermissionDenied, match="'faq'"):
        resolve("faq", principal, snapshot, NOW)


def test_a_changed_limit_is_followed_and_what_did_not_change_is_not_worked_out_again(house: House) -> None:
    one, two = house.key(), house.key(50)
    state = house.state("off")
    before = {record.id: _principal(state, record) for record in (one, two)}
    house.keys.update(one.id, {"rpm": 7, "priority_class": "interactive"})
    state.refresh()
    assert _principal(state, one).quota == Quota(rpm=7)
    assert _principal(state, one).priority == 100
    assert _principal(state, two) is before[two.id]


def test_a_class_that_is_not_here_is_told_once_and_counts_as_none(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    record = house.key(priority_class="gold")
    state = house.state("off")
    house.keys.update(record.id, {"rpm": 1})
    state.refresh()
    assert _principal(state, record).priority_class == "standard"
    assert caplog.text.count("'gold'") == 1
    classes = {"standard": ClassConfig(level=0), "gold": ClassConfig(level=9)}
    assert _principal(house.state("off", classes=classes), record).priority == 9
