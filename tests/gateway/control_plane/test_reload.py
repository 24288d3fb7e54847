"""A configuration is read again when it, or what it names, changes; what does not validate changes nothing."""

import asyncio
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from gateway import changes
from gateway.config import Deployment
from gateway.contracts.errors import DocumentError
from gateway.control_plane.reload import AGAIN_S, Watch, follow
from tests.gateway.builders import signer, write_config


class House:
    """A configuration with everything that one can name, a watch on it, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now = folder, 0.0
        signer(folder)
        (folder / "engine.key").write_text("one")
        (folder / "prices.yaml").write_text("version: v\nmodels: {faq: unpriced}\n")
        self.write()
        self.watch = Watch(folder / "gateway.yaml", lambda: self.now)

    def write(self, **values: Any) -> None:
        replica = {"url": "http://127.0.0.1:1", "api_key": {"file": "engine.key"}}
        given = {
            "enforcement": {"mode": "warn", "trusted_keys": ["gate.pub"]},
            "prices": "prices.yaml",
            "pools": {"main": {"replicas": [replica]}},
        }
        write_config(self.folder, **{**given, **values})

    def look(self, *, force: bool = False) -> str:
        """What two looks in a row come to."""
        readings = [self.watch.look(force=force), self.watch.look()]
        found = [reading for reading in readings if reading is not None]
        assert len(found) <= 1
        if not found:
            return "nothing"
        return "refused" if found[0].deployment is None else "new"

    @property
    def idle_s(self) -> float:
        return self.watch.deployment.config.timeouts.idle


@pytest.fixture
def house(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> House:
    caplog.set_level(logging.INFO, "tollgate")
    return House(tmp_path)


def test_what_does_not_change_is_not_read_again(house: House) -> None:
    assert house.look() == "nothing"
    (house.folder / "another.yaml").write_text("x")
    assert house.look() == "nothing"


def test_a_change_counts_and_is_told_in_one_line(house: House, caplog: pytest.LogCaptureFixture) -> None:
    before = changes.digest(house.watch.deployment)
    house.write(timeouts={"idle": 5})
    assert (house.look(), house.idle_s) == ("new", 5.0)
    after = changes.digest(house.watch.deployment)
    assert caplog.messages == [f"configuration {before} → {after}: ~ timeouts.idle: 60.0 → 5.0"]
    assert house.look() == "nothing"


def test_a_change_counts_once_two_looks_agree(house: House) -> None:
    """So that nobody reads half of a file."""
    house.write(timeouts={"idle": 5})
    assert house.watch.look() is None
    house.write(timeouts={"idle": 66})
    assert house.watch.look() is None
    assert house.watch.look() is not None
    assert house.idle_s == 66.0


@pytest.mark.parametrize("name", ["faq@1.yaml", "faq@2.yaml", "prices.yaml", "gate.pub", "engine.key"])
def test_a_change_of_a_file_that_it_names_counts(house: House, name: str) -> None:
    path = house.folder / name
    copy = house.folder / "copy"
    copy.write_bytes(path.read_bytes() + b"\n")
    copy.rename(path)
    assert house.look() == "new"


def test_what_it_names_is_found_behind_the_link_that_kubernetes_swaps(tmp_path: Path) -> None:
    """The folder that was behind `..data` is removed, and what needs a restart is read from where it is named."""

    def mounted(version: str) -> Path:
        folder = tmp_path / version
        folder.mkdir()
        write_config(folder, database="sqlite:////x/y.db", admin={"tokens": {"deploy": {"file": "admin.token"}}})
        (folder / "admin.token").write_text(version * 32)
        (tmp_path / "new").symlink_to(version)
        (tmp_path / "new").rename(tmp_path / "..data")
        return folder

    before = mounted("1")
    (tmp_path / "gateway.yaml").symlink_to("..data/gateway.yaml")
    watch = Watch(tmp_path / "gateway.yaml", lambda: 0.0)
    digest = changes.digest(watch.deployment)
    mounted("2")
    shutil.rmtree(before)
    assert [watch.look(), watch.look()] != [None, None]
    assert changes.digest(watch.deployment) == digest
    admin = watch.deployment.config.admin
    assert admin is not None
    assert admin.tokens["deploy"].read() == "2" * 32


def test_verdicts_are_not_the_configurations(house: House) -> None:
    (house.folder / "verdicts").mkdir()
    (house.folder / "verdicts" / "x.dsse.json").write_text("{}")
    assert house.look() == "nothing"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("gateway.yaml", None, "no such file"),
        ("gateway.yaml", "", "missing key 'pools'"),
        ("gateway.yaml", "pools: [", "line 1: not valid YAML"),
        ("gateway.yaml", "timeouts: {idel: 5}", "line 1, timeouts.idel: unknown key 'idel': did you mean 'idle'?"),
        ("faq@1.yaml", None, "no such file"),
        ("prices.yaml", "version: v\nmodels: {}\n", "has no price for 'faq'"),
        ("gate.pub", "x", "not a readable public key"),
        ("engine.key", "", "expected a secret here"),
    ],
)
def test_law_8_what_does_not_validate_changes_nothing(
    house: House, caplog: pytest.LogCaptureFixture, name: str, text: str | None, says: str
) -> None:
    before, path = house.watch.deployment, house.folder / name
    good = path.read_bytes()
    path.unlink() if text is None else path.write_text(text)
    assert house.look() == "refused"
    assert house.watch.deployment is before
    (message,) = caplog.messages
    assert says in message
    assert f"the last good one ({changes.digest(before)}) keeps serving" in message
    for _ in range(3):
        house.now += AGAIN_S
        assert house.look() == "nothing"
    assert caplog.messages == [message]
    path.write_bytes(good)
    assert house.look() == "new"


def test_a_refused_one_is_read_again_when_what_it_alone_names_appears(house: House) -> None:
    models = {"faq": {"live": "faq@3", "releases": [{"manifest": "faq@3.yaml", "pool": "main"}]}}
    house.write(models=models)
    assert house.look() == "refused"
    (house.folder / "faq@3.yaml").write_text(json.dumps({"name": "faq@3", "model": {"id": "m"}}))
    assert house.look() == "nothing"
    house.now += AGAIN_S
    assert house.look() == "new"
    (house.folder / "faq@3.yaml").write_text(json.dumps({"name": "faq@3", "model": {"id": "another"}}))
    assert house.look() == "new"


def test_who_asks_has_it_read_and_told_in_any_case(house: House, caplog: pytest.LogCaptureFixture) -> None:
    assert house.look(force=True) == "new"
    assert caplog.messages[-1].endswith(": nothing that it serves by")
    (house.folder / "prices.yaml").unlink()
    assert (house.look(force=True), house.look(force=True)) == ("refused", "refused")
    assert len(caplog.messages) == 3


def test_what_needs_a_restart_is_told_and_the_rest_applies(house: House, caplog: pytest.LogCaptureFixture) -> None:
    database = house.watch.deployment.config.database
    house.write(listen={"port": 9}, database="sqlite:////x/y.db", timeouts={"idle": 5})
    assert (house.look(), house.idle_s) == ("new", 5.0)
    assert (house.watch.deployment.config.listen.port, house.watch.deployment.config.database) == (8080, database)
    restarts = [message for message in caplog.messages if message.startswith("restart the gateway")]
    assert len(restarts) == 2
    assert "~ listen.port: 8080 → 9 (needs a restart)" in restarts[1]
    assert "listen" not in caplog.messages[0]


def test_how_the_ledger_is_kept_needs_a_restart(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.write(ledger={"when_full": "serve"})
    assert house.look() is not None
    assert house.watch.deployment.config.ledger.when_full == "refuse"
    assert any('"refuse" → "serve" (needs a restart)' in message for message in caplog.messages)


def test_law_9_no_secret_is_logged(house: House, caplog: pytest.LogCaptureFixture) -> None:
    (house.folder / "engine.key").write_text("hunter2")
    assert house.look() == "new"
    assert "hunter2" not in caplog.text


def test_a_start_with_mistakes_is_refused(house: House) -> None:
    house.write(listn={})
    with pytest.raises(DocumentError, match="listn"):
        Watch(house.folder / "gateway.yaml", lambda: 0.0)


async def test_what_is_new_is_handed_on_until_the_end(house: House) -> None:
    taken: asyncio.Queue[Deployment | None] = asyncio.Queue()
    asked = asyncio.Event()
    following = asyncio.create_task(follow(house.watch, asked, taken.put))
    async with asyncio.timeout(10):
        house.write(timeouts={"idle": 5})
        assert await taken.get() is house.watch.deployment
        asked.set()
        assert await taken.get() is house.watch.deployment
        (house.folder / "gateway.yaml").unlink()
        assert await taken.get() is None
    following.cancel()
    await asyncio.wait([following])


async def test_a_change_is_told_of_what_serves_and_not_of_what_was_refused(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    taken: asyncio.Queue[Deployment | None] = asyncio.Queue()

    async def take(found: Deployment | None) -> str | None:
        await taken.put(found)
        return (
            "its prices have another version's name" if found is not None and found.config.timeouts.idle == 5 else None
        )

    following = asyncio.create_task(follow(house.watch, asyncio.Event(), take))
    async with asyncio.timeout(10):
        for idle in (5, 7):
            house.write(timeouts={"idle": idle})
            found = await taken.get()
    assert found is house.watch.deployment
    assert caplog.messages[-1].endswith(": ~ timeouts.idle: 60.0 → 7.0")
    following.cancel()
    await asyncio.wait([following])


@pytest.mark.parametrize("defect", [ZeroDivisionError, PermissionError])
async def test_law_8_after_a_look_that_failed_in_any_way_it_is_followed_on(
    house: House, caplog: pytest.LogCaptureFixture, defect: type[Exception]
) -> None:
    taken: asyncio.Queue[Deployment | None] = asyncio.Queue()

    def broken() -> float:
        raise defect

    watch = Watch(house.folder / "gateway.yaml", broken)
    following = asyncio.create_task(follow(watch, asyncio.Event(), taken.put))
    async with asyncio.timeout(10):
        house.write(listn={})
        assert await taken.get() is None
        assert "a defect of the gateway" in caplog.text
        house.write(timeouts={"idle": 5})
        assert await taken.get() is watch.deployment
    following.cancel()
    await asyncio.wait([following])
