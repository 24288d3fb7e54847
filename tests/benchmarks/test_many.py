"""A gateway of many engines and models is one that serves, and its figures are told under their names."""

from datetime import UTC, datetime
from pathlib import Path

from benchmarks import many
from gateway import config
from gateway.policy.gating import judge
from gateway.stores.verdicts import read_verdicts


def test_every_model_has_an_engine_and_may_serve(tmp_path: Path) -> None:
    gate = many.prepare(tmp_path, 8000, ["http://127.0.0.1:1", "http://127.0.0.1:2"], 5)
    found = config.load(gate.config, trust=True)
    assert [release.pool for release in found.releases.values()] == ["p0", "p1", "p0", "p1", "p0"]
    verdicts, problems = read_verdicts(found.config.enforcement.verdicts, found.config.enforcement.trusted_keys)
    assert problems == []
    gates = [judge(each.name, each.digest, verdicts, (), datetime.now(UTC)) for each in found.releases.values()]
    assert [each.refusal for each in gates] == [None] * 5
    gate.config.write_text(gate.config.read_text() + many.CHANGED)
    assert config.load(gate.config).config.timeouts.total == 601


def test_a_line_has_a_cell_for_each_title() -> None:
    lines = many.table(300, 900, {name: at + 0.5 for at, name in enumerate(many.TITLES)}).splitlines()
    head, rule, line = ([cell.strip() for cell in each.strip("|").split("|")] for each in lines)
    assert len(head) == len(rule) == len(line)
    assert dict(zip(head, line, strict=True))["cores when idle"] == "0.5"
    assert line[:2] == ["300", "900"]
