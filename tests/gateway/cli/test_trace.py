"""`gateway trace`: the ledger's traffic, readable by the simulator, and with nothing of anybody in it."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.contracts.ledger import UNDECIDED
from gateway.policy.decisions import Decided, encode
from gateway.simulation.traces import read
from gateway.stores.bundle import Stores, open_stores
from tests.gateway.builders import MOMENT, NOW, settled


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stores:
    monkeypatch.chdir(tmp_path)
    return open_stores("sqlite:///tollgate.db")


def _trace(*options: str) -> Result:
    return CliRunner().invoke(main, ["trace", *options])


def _row(number: int, blocks: list[int] | None = None, **changes: Any) -> Any:
    decision = UNDECIDED if blocks is None else encode(Decided(blocks=blocks, block_tokens=500))
    values = {"input_tokens": 1200, "output_tokens": 30, "started_at": NOW + number, "team": "secret team"}
    return settled(f"tg-{number}", **{**values, "decision": decision, **changes})


def test_what_began_alike_still_does_and_nothing_else_is_told(stores: Stores) -> None:
    deep = 2**63 + 12345
    stores.ledger.insert([_row(0, [deep, 7]), _row(1, [deep, 8], team="other"), _row(2)])
    result = _trace("--out", "t.jsonl")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "3 requests written, 0 without tokens left out" in result.stderr
    text = Path("t.jsonl").read_text()
    assert "secret" not in text
    assert str(deep) not in text
    found = read(Path("t.jsonl"))
    assert [each.at for each in found] == [0.0, 1.0, 2.0]
    assert [each.blocks for each in found] == [(0, 1), (0, 2), ()]
    assert [each.tenant for each in found] == ["t0", "t1", "t0"]
    assert {(each.input_tokens, each.output_tokens) for each in found} == {(1200, 30)}


def test_a_prompt_that_was_shorter_than_estimated_stays_readable(stores: Stores) -> None:
    stores.ledger.insert([_row(0, [1, 2, 3], input_tokens=301)])
    _trace("--out", "t.jsonl")
    (found,) = read(Path("t.jsonl"))
    assert (found.block_tokens, len(found.blocks)) == (100, 3)


def test_requests_without_tokens_and_the_gateways_own_are_left_out(stores: Stores) -> None:
    stores.ledger.insert([_row(0), _row(1, input_tokens=None, output_tokens=None), _row(2, purpose="probe")])
    result = _trace()
    assert [json.loads(line)["timestamp"] for line in result.stdout.splitlines()] == [0.0]
    assert "1 requests written, 1 without tokens left out" in result.stderr


def test_classes_are_not_in_the_ledger_and_the_help_says_so(stores: Stores) -> None:
    stores.ledger.insert([_row(0)])
    line = json.loads(_trace().stdout)
    assert (line["class"], line["priority"]) == ("", 0)
    assert "The ledger keeps no classes" in " ".join(_trace("--help").stdout.split())


def test_a_model_and_a_time_can_be_picked(stores: Stores) -> None:
    stores.ledger.insert([_row(0), _row(1, model="other"), _row(200_000)])
    assert len(_trace("--model", "other").stdout.splitlines()) == 1
    day = (MOMENT + timedelta(days=2)).date().isoformat()
    assert len(_trace("--since", day).stdout.splitlines()) == 1
    assert len(_trace("--until", day).stdout.splitlines()) == 2


def test_nothing_to_write_is_an_error_and_no_file(stores: Stores) -> None:
    result = _trace("--out", "t.jsonl")
    assert result.exit_code == 1
    assert "nothing to write" in result.stderr
    assert not Path("t.jsonl").exists()


def test_a_file_that_cannot_be_written_is_told(stores: Stores) -> None:
    stores.ledger.insert([_row(0)])
    result = _trace("--out", "no/t.jsonl")
    assert result.exit_code == 1
    assert "--out: 'no/t.jsonl' cannot be written: No such file or directory" in result.stderr


def test_a_disk_that_is_full_is_told(stores: Stores) -> None:
    stores.ledger.insert([_row(0)])
    result = _trace("--out", "/dev/full")
    assert result.exit_code == 1
    assert "--out: '/dev/full' cannot be written: No space left on device; name another file" in result.stderr
    assert "written, " not in result.stderr


def test_the_simulator_takes_what_was_written(stores: Stores) -> None:
    stores.ledger.insert([_row(number, [1, 2 + number % 3]) for number in range(40)])
    assert _trace("--out", "t.jsonl").exit_code == 0
    result = CliRunner().invoke(
        main, ["simulate", "--trace", "t.jsonl", "--replicas", "2", "--policy", "score", "--json"]
    )
    assert result.exit_code == 0, result.output
    assert "score" in result.stdout
