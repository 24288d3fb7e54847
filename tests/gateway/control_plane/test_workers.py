"""Processes that are kept running: told, replaced when they die, given up when they keep dying, ended together."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Deployment, PoolConfig
from gateway.contracts.errors import InputError
from gateway.control_plane.workers import Workers, decode, encode
from tests.gateway.builders import deployment, release
from tests.gateway.serving import PRICES
from tests.gateway.serving import deployment as priced
from tests.polling import until

LISTENS = """
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit({code}))
print("ready", flush=True)
for line in sys.stdin.buffer:
    with open(f"{{os.getpid()}}.told", "ab") as file:
        file.write(line)
"""
"""A worker that writes down what it is told."""


class Script:
    """Workers that are a Python script in a folder."""

    def __init__(self, folder: Path, text: str, count: int = 2, grace_s: float = 30.0) -> None:
        self.folder, self.greetings = folder, 0
        script = folder / "worker.py"
        script.write_text(f"import os\nos.chdir({str(folder)!r})\n{text}")
        self.workers = Workers(
            command=[sys.executable, str(script)],
            count=count,
            fds=[],
            environment=dict(os.environ),
            metrics=folder,
            deployment=deployment(),
            grace_s=grace_s,
            monotonic=time.monotonic,
            first_s=0.0625,
            margin_s=0.1,
        )

    def greet(self) -> None:
        self.greetings += 1

    async def run(self) -> int:
        return await asyncio.wait_for(self.workers.run(self.greet), 30)

    def told(self) -> dict[int, list[Deployment | None]]:
        """What each process wrote down, by its id."""
        return {
            int(path.stem): [decode(line) for line in path.read_bytes().splitlines(keepends=True)]
            for path in self.folder.glob("*.told")
        }


def _stopping(script: Script, when: Callable[[], Any]) -> Awaitable[int]:
    """The exit code of workers that are stopped under a condition."""

    async def run() -> int:
        running = asyncio.create_task(script.run())
        await until(when)
        script.workers.stop()
        return await running

    return run()


@pytest.mark.parametrize(
    "deployed", [deployment(releases=[release("faq@1"), release("faq@2")]), priced({"main": ["http://h"]})]
)
def test_a_worker_is_told_a_deployment_as_it_is(deployed: Deployment) -> None:
    line = encode(deployed)
    assert line.count(b"\n") == 1
    assert decode(line) == deployed
    assert decode(encode(None)) is None


def test_a_provider_arrives_as_it_is() -> None:
    provider = PoolConfig.model_validate({"provider": {"model": "openai/m", "api_key": {"env": "KEY"}}})
    found = deployment()
    config = found.config.model_copy(update={"pools": {"main": provider}})
    told = decode(encode(Deployment(config, found.releases, found.prices)))
    assert told is not None
    assert told.config == config


def test_prices_arrive_exactly() -> None:
    told = decode(encode(priced({"main": ["http://h"]})))
    assert told is not None
    assert told.prices == PRICES


async def test_each_is_told_everything(tmp_path: Path) -> None:
    script = Script(tmp_path, LISTENS.format(code=0))
    running = asyncio.create_task(script.run())
    await until(lambda: len(script.told()) == 2)
    other = deployment(["http://other"])
    await script.workers.tell(other)
    await script.workers.tell(None)
    await until(lambda: all(len(told) == 3 for told in script.told().values()))
    assert list(script.told().values()) == [[deployment(), other, None]] * 2
    script.workers.stop()
    assert (await running, script.greetings) == (0, 1)


async def test_one_that_died_is_replaced_and_gets_the_last_good_configuration(tmp_path: Path) -> None:
    script = Script(tmp_path, LISTENS.format(code=0))
    running = asyncio.create_task(script.run())
    await until(lambda: len(script.told()) == 2 and script.greetings)
    await script.workers.tell(other := deployment(["http://other"]))
    await script.workers.tell(None)
    first, second = script.told()
    os.kill(first, signal.SIGKILL)
    await until(lambda: len(script.told()) == 3)
    (third,) = set(script.told()) - {first, second}
    await until(lambda: script.told()[third])
    assert script.told()[third] == [other]
    script.workers.stop()
    assert (await running, script.greetings) == (0, 1)


async def test_the_worst_exit_code_is_theirs(tmp_path: Path) -> None:
    script = Script(tmp_path, LISTENS.format(code="os.getpid() % 2 + 3"), count=3)
    assert await _stopping(script, lambda: len(script.told()) == 3) == max(pid % 2 + 3 for pid in script.told())


async def test_one_that_does_not_end_is_killed_after_its_grace(tmp_path: Path) -> None:
    text = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('ready', flush=True)\ntime.sleep(600)"
    script = Script(tmp_path, text, count=1, grace_s=0.0)
    assert await _stopping(script, lambda: script.greetings) == 128 + signal.SIGKILL


async def test_one_that_is_stopped_before_it_answers_had_nothing_to_end(tmp_path: Path) -> None:
    script = Script(tmp_path, "import time\nopen('started', 'w').close()\ntime.sleep(600)", count=1)
    assert (await _stopping(script, (tmp_path / "started").exists), script.greetings) == (0, 0)


async def test_one_that_ends_before_it_answers_ends_the_start(tmp_path: Path) -> None:
    script = Script(tmp_path, "raise SystemExit(7)")
    with pytest.raises(InputError, match="ended with exit code 7 before it answered"):
        await script.run()
    assert script.greetings == 0


async def test_one_that_keeps_dying_is_given_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    script = Script(tmp_path, "print('ready', flush=True)\nraise SystemExit(7)", count=1)
    with pytest.raises(InputError, match="worker 0 died 5 times in a row, at last with exit code 7: giving up"):
        await script.run()
    assert [message.rpartition(" ")[0].rpartition(" ")[2] for message in caplog.messages] == [
        "0.0625",
        "0.125",
        "0.25",
        "0.5",
    ]


async def test_a_stop_while_one_waits_for_its_turn_ends_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script = Script(tmp_path, LISTENS.format(code=0), count=1)
    script.workers.first_s = 3600.0
    running = asyncio.create_task(script.run())
    await until(script.told)
    (pid,) = script.told()
    os.kill(pid, signal.SIGKILL)
    await until(lambda: caplog.messages)
    script.workers.stop()
    assert await running == 0
