"""The admin API from outside: not there unless it is asked for, and no way in without a token of its own."""

import signal
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine import raw
from tests.engine.simulator import Engine
from tests.gateway.admin.desk import READ, WRITE, Desk, desk
from tests.gateway.admin.test_api import PAGES
from tests.gateway.process import Gateway, serving

TEXT = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=80)
CHANGING = ("POST", "PUT", "PATCH", "DELETE")


def _listening(process: int) -> set[int]:
    """The ports on which a process listens."""
    inodes = set()
    for each in Path(f"/proc/{process}/fd").iterdir():
        with suppress(OSError):
            inodes.add(str(each.readlink()).removeprefix("socket:[").removesuffix("]"))
    pages = [Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    lines = [line.split() for page in pages for line in page]
    return {int(line[1].rpartition(":")[2], 16) for line in lines if line[3] == "0A" and line[9] in inodes}


async def test_without_its_part_of_a_configuration_there_is_no_such_port(tmp_path: Path) -> None:
    """A process of its own, since what listens is told of processes."""
    async with Engine("faq") as engine, serving(tmp_path, engine) as gateway:
        assert _listening(gateway.process.pid) == {int(gateway.url.rpartition(":")[2])}
        for _, path in sorted(PAGES):
            if path != "/v1/usage":  # a page of the data plane's, which reads the key's own
                assert await _refused(gateway, path), path
        assert await gateway.ended(signal.SIGTERM) == 0


async def _refused(gateway: Gateway, path: str) -> bool:
    answer = await raw.exchange(gateway.url, "POST", path.replace("{", "").replace("}", ""), {}, gateway.bearer)
    return answer.status == 404


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return desk(tmp_path_factory.mktemp("admin"))


@given(TEXT, st.sampled_from(["GET", *CHANGING]), st.sampled_from(sorted(PAGES)))
async def test_no_text_is_a_token_but_one(made: Desk, text: str, method: str, page: tuple[str, str]) -> None:
    for header in (text, f"Bearer {text}", f"Bearer {WRITE}{text}", f"Bearer {text}{WRITE}", f"Basic {WRITE}"):
        answer = await made.ask(method, page[1], token=None, headers={"authorization": header})
        assert answer.status_code == 401
        assert WRITE not in answer.text


async def test_a_token_to_read_changes_nothing_with_any_method_on_any_page(made: Desk) -> None:
    def stored() -> object:
        with made.house.stores.database.connect() as database:
            return [list(database.exec_driver_sql(f"SELECT * FROM {table}")) for table in ("keys", "live")]

    before = stored()
    for _, path in sorted(PAGES):
        for method in CHANGING:
            answer = await made.ask(method, path.format(key_id="0" * 12, request_id="tg-1"), token=READ)
            assert answer.status_code == 403
    assert stored() == before


async def test_no_page_tells_a_secret(made: Desk) -> None:
    """Made, listed, changed and revoked: the key's text is in the answer that made it alone, and no token in any."""
    answer = await made.ask("POST", "/v1/keys", {"team": "search"})
    key, told = answer.json(), []
    secret = key["key"].rpartition("-")[2]
    for method, path in sorted(PAGES - {("POST", "/v1/keys"), ("POST", "/v1/releases/promote")}):
        told.append((await made.ask(method, path.format(key_id=key["id"], request_id="tg-1"))).text)
    told.append((await made.ask("POST", "/v1/releases/promote", {"release": "faq@1"})).text)
    whole = "\n".join(told)
    assert key["id"] in whole
    digest = next(each.digest for each in made.house.stores.keys.all() if each.id == key["id"]).hex()
    assert not [each for each in (secret, digest, WRITE, READ) if each in whole]
