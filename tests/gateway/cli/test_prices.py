"""`gateway prices`: what is shown, what is checked, and what is imported."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.contracts import prices
from tests.gateway.builders import write_config

BOOK = """version: "1"
models:
  faq: {input: "0.20", output: "0.60"}
  free: unpriced
  seasonal:
    - {until: 2026-12-01, input: "1", output: "2"}
    - {from: 2026-12-01, until: 2998-01-01, input: "2", output: "3", reasoning: "4"}
"""
MAP = {
    "m": {"mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06, "output_cost_per_image": 1},
    "n": {"mode": "chat", "input_cost_per_token": 3e-06, "output_cost_per_token": 4e-06},
}


def _run(*args: object) -> Result:
    return CliRunner().invoke(main, ["prices", *map(str, args)])


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "prices.yaml"
    path.write_text(BOOK)
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "map.json"
    path.write_text(json.dumps(MAP))
    return path


@pytest.mark.parametrize("command", [(), ("show",), ("check",), ("import",)])
def test_every_command_has_an_example(command: tuple[str, ...]) -> None:
    result = _run(*command, "--help")
    assert result.exit_code == 0
    assert "gateway prices" in result.output.partition("Example")[2]


@pytest.mark.parametrize(
    ("day", "seasonal"), [("2026-11-30", ("1", "2", None)), ("2026-12-01", ("2", "3", "4")), ("2998-01-01", None)]
)
def test_prices_are_shown_as_they_count_on_a_day(book: Path, day: str, seasonal: tuple[str, ...] | None) -> None:
    result = _run("show", book, "--at", day, "--json")
    told = json.loads(result.stdout)
    assert (told["version"], told["currency"], told["at"]) == ("1", "USD", f"{day}T00:00:00Z")
    faq, free, dated = told["models"]
    assert (faq["price"], faq["input"], faq["cached_input"], faq["output"]) == ("amounts", "0.20", None, "0.60")
    assert (free["price"], free["input"]) == ("unpriced", None)
    if seasonal is None:
        assert (dated["price"], dated["input"]) == ("none", None)
    else:
        assert (dated["input"], dated["output"], dated["reasoning"]) == seasonal
    table = _run("show", book, "--at", day).stdout
    assert all(word in table for word in ("0.20", "unpriced", "seasonal"))


def test_a_configurations_prices_are_shown(tmp_path: Path, book: Path) -> None:
    result = _run("show", "--config", write_config(tmp_path, prices=book.name), "--json")
    assert json.loads(result.stdout)["digest"] == prices.load(book).digest()
    assert _run("show").exit_code == _run("show", book, "--config", "x.yaml").exit_code == 2


def test_a_good_file_is_valid_and_its_end_is_told(book: Path) -> None:
    result = _run("check", book)
    assert result.exit_code == 0
    assert f"{book} is valid: version '1', models: 3, sha256:" in result.stdout
    assert "the prices of 'seasonal' end: there is none from 2998-01-01 on" in result.stderr


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("from: 2026-12-01", "from: 2026-12-03", "line 5, models.seasonal: no price on 2026-12-01 to 2026-12-02"),
        ("from: 2026-12-01", "from: 2026-11-03", "overlap"),
        ("2998-01-01", "2999-13-01", "line 7, models.seasonal.1.until: cannot read this value"),
        ("2998-01-01", "tomorrow", "line 7, models.seasonal.1.until: expected a day such as 2026-12-01"),
        ('"0.20"', "0.20", "line 3"),
        ('"0.20"', '"NaN"', "line 3"),
        ('"0.20"', '"-1"', "line 3"),
    ],
)  # fmt: skip
def test_a_mistake_has_its_line(book: Path, old: str, new: str, told: str) -> None:
    book.write_text(BOOK.replace(old, new))
    result = _run("check", book)
    assert (result.exit_code, result.stdout) == (1, "")
    assert told in result.stderr


def test_prices_that_ended_are_not_valid(book: Path) -> None:
    book.write_text('version: "1"\nmodels:\n  faq: [{until: 2020-01-01, input: "1", output: "1"}]\n')
    result = _run("check", book)
    assert (result.exit_code, "'faq' ended: there is none from 2020-01-01 on" in result.stderr) == (1, True)


def test_a_price_is_imported_into_a_new_file_and_into_one_that_is_there(tmp_path: Path, source: Path) -> None:
    out = tmp_path / "out.yaml"
    result = _run("import", "m", "--from", source, "--as", "support", "--out", out, "--version", "1")
    assert result.exit_code == 0, result.output
    assert "# support: not imported: output_cost_per_image 1" in result.stderr
    first = prices.load(out)
    assert first.model_dump(mode="json", exclude_none=True)["models"] == {"support": {"input": "1", "output": "2"}}
    assert _run("import", "m", "n", "--from", source, "--out", out).exit_code == 0
    second = prices.load(out)
    assert set(second.models) == {"support", "m", "n"}
    assert second.version not in ("1", "none")
    assert _run("import", "n", "--from", source, "--as", "o", "--out", out).exit_code == 0
    assert prices.load(out).version == f"{second.version}.2"
    assert _run("import", "n", "--from", source, "--as", "p", "--out", out).exit_code == 0
    assert prices.load(out).version == f"{second.version}.3"
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".new")] == []


def test_litellms_own_map_is_the_default(tmp_path: Path) -> None:
    result = _run("import", "gpt-4o", "--out", tmp_path / "out.yaml")
    assert result.exit_code == 0, result.output
    assert "LiteLLM's price map" in (tmp_path / "out.yaml").read_text()


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("nobody",), 1, "no model 'nobody'"),
        (("m", "n", "--as", "x"), 2, "--as names one model"),
        (("m", "--as", " "), 2, "--as is empty"),
        (("m", "--version", "1"), 1, "has the version '1' already"),
        (("m", "--as", "faq"), 1, "has 'faq' already"),
        ((), 2, "MODEL"),
    ],
)
def test_what_cannot_be_imported_changes_nothing(
    book: Path, source: Path, args: tuple[str, ...], code: int, told: str
) -> None:
    result = _run("import", *args, "--from", source, "--out", book)
    assert (result.exit_code, told in result.stderr) == (code, True)
    assert book.read_text() == BOOK


@pytest.mark.parametrize("version", ["none", "v" * 201])
def test_a_version_that_no_gateway_reads_is_not_written(tmp_path: Path, source: Path, version: str) -> None:
    result = _run("import", "m", "--from", source, "--out", tmp_path / "out.yaml", "--version", version)
    assert (result.exit_code, "out.yaml: line" in result.stderr) == (1, True)
    assert not (tmp_path / "out.yaml").exists()


def test_a_small_amount_is_shown_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").write_text('version: "1"\nmodels:\n  faq: {input: "0.000000001", output: "0"}\n')
    assert "0.000000001" in _run("show", tmp_path / "prices.yaml").stdout
    told = json.loads(_run("show", tmp_path / "prices.yaml", "--json").stdout)
    assert told["models"][0]["input"] == "0.000000001"


def test_a_folder_that_is_not_there_is_told(tmp_path: Path, source: Path) -> None:
    result = _run("import", "m", "--from", source, "--out", tmp_path / "none" / "out.yaml")
    assert (result.exit_code, "cannot be written" in result.stderr) == (1, True)


def test_a_file_that_is_added_to_stays_where_it_is_and_as_it_may_be_read(book: Path, source: Path) -> None:
    link = book.with_name("current.yaml")
    link.symlink_to(book.name)
    book.chmod(0o640)
    assert _run("import", "--from", source, "m", "--out", link).exit_code == 0
    assert (link.is_symlink(), book.stat().st_mode & 0o777) == (True, 0o640)
    assert "m" in prices.load(book).models
