"""`gateway keys`: a key is shown once, listed without its secret, and ended."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.policy.auth import KeyRecord, authenticate
from gateway.stores.bundle import open_stores
from tests.gateway.builders import write_config


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, ["keys", *arguments])
    assert result.exit_code == 0, result.output
    return result


def _listed() -> Any:
    return json.loads(_run("list", "--json").stdout)


def _records() -> dict[str, KeyRecord]:
    return {record.id: record for record in open_stores("sqlite:///tollgate.db").keys.all()}


def test_a_key_is_alone_on_standard_output_and_opens() -> None:
    result = _run("create", "--name", "n", "--team", "search", "--model", "faq", "--model", "shop", "--days", "1.5")
    (text,) = result.stdout.splitlines()
    (record,) = _records().values()
    found = authenticate(f"Bearer {text}".encode(), None, _records(), record.created_at)
    assert (found.team, found.scope, found.models) == ("search", "serve", frozenset({"faq", "shop"}))
    assert record.expires_at == pytest.approx(record.created_at + 1.5 * 86_400)
    assert record.id in result.stderr
    assert text not in result.stderr


def test_a_model_that_the_configuration_has_not_is_warned_of(tmp_path: Path) -> None:
    """A misspelled one, or a release's name. It may be there tomorrow, so that the key is made."""
    path = str(write_config(tmp_path))
    result = _run("create", "--model", "faq", "--model", "fak", "--model", "faq@1", "--config", path, "--json")
    assert "key" in json.loads(result.stdout)
    assert result.stderr.splitlines() == [
        f"warning: no model {name!r} in {path!r}: it has faq; the key opens nothing by that name until there is one"
        for name in ("fak", "faq@1")
    ]
    assert "warning" not in _run("create", "--model", "faq", "--config", path).stderr
    assert "warning" not in _run("create", "--model", "fak").stderr  # no configuration says what there is


def test_a_configuration_that_cannot_be_read_makes_no_key_also_in_another_database(tmp_path: Path) -> None:
    path, database = tmp_path / "gateway.yaml", tmp_path / "keys.db"
    path.write_text("pools: [")
    asked = ["--model", "faq", "--config", str(path), "--database", f"sqlite:///{database}"]
    result = CliRunner().invoke(main, ["keys", "create", *asked])
    assert (result.exit_code, result.stdout) == (1, "")
    assert not database.exists()


@pytest.mark.parametrize("days", ["nan", "inf", "0", "-1", "36501", "1e300"])
def test_an_end_that_no_calendar_has_makes_no_key(days: str, tmp_path: Path) -> None:
    """SQLite keeps NaN as no end at all, and a year beyond 9999 cannot be shown again."""
    result = CliRunner().invoke(main, ["keys", "create", "--days", days])
    assert (result.exit_code, result.stdout) == (2, "")
    assert not (tmp_path / "tollgate.db").exists()


@pytest.mark.parametrize("option", ["--name", "--team", "--model", "--class"])
@pytest.mark.parametrize("name", ["", "a\nb", "\udcff", "x" * 129], ids=["nothing", "lines", "no text", "long"])
def test_what_is_no_name_makes_no_key(option: str, name: str, tmp_path: Path) -> None:
    """As over the admin API. A shell hands on bytes that are no text as they are."""
    result = CliRunner().invoke(main, ["keys", "create", option, name])
    assert (result.exit_code, result.stdout) == (2, "")
    assert (
        f"Invalid value for '{option}': expected 1 to 128 printable characters, found {name[:128]!r}" in result.stderr
    )
    assert not (tmp_path / "tollgate.db").exists()


@pytest.mark.parametrize("arguments", [("revoke",), ("update", "--rpm", "5")], ids=["revoke", "update"])
def test_an_id_of_bytes_that_are_no_text_is_refused(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, ["keys", *arguments, "\udcff"])
    assert (result.exit_code, "expected 1 to 128 printable characters" in result.stderr) == (2, True)


def test_a_key_as_json() -> None:
    made = json.loads(_run("create", "--scope", "evaluate", "--json").stdout)
    assert (made["id"] in made["key"], made["team"], made["scope"]) == (True, "default", "evaluate")
    assert _records()[made["id"]].models is None


def test_the_list_shows_states_and_no_secret() -> None:
    assert "no keys yet" in _run("list").stdout
    assert _listed() == []
    texts = [_run("create", "--team", team).stdout.strip() for team in ("search", "sales")]
    first, _ = _listed()
    _run("revoke", first["id"])
    shown = _run("list").stdout
    assert "search" in shown
    assert not any(text.rpartition("-")[2] in shown for text in texts)
    assert {each["team"]: each["state"] for each in _listed()} == {
        first["team"]: "this key was revoked",
        ({"search", "sales"} - {first["team"]}).pop(): "good",
    }


@pytest.mark.parametrize("name", ["[red]", "[/x]"])
def test_a_name_is_shown_as_it_is(name: str) -> None:
    _run("create", "--name", name, "--team", name)
    assert _run("list").stdout.count(name) == 2


def test_keys_are_never_alike() -> None:
    assert len({_run("create").stdout for _ in range(5)}) == 5


@pytest.mark.parametrize("options", [["--days", "0"], ["--days", "-1"], ["--days", "soon"], ["--scope", "root"]])
def test_what_no_key_can_be_is_a_usage_error(options: list[str]) -> None:
    assert CliRunner().invoke(main, ["keys", "create", *options]).exit_code == 2
    assert _listed() == []


def test_an_unknown_id_is_an_error() -> None:
    result = CliRunner().invoke(main, ["keys", "revoke", "ffffffffffff"])
    assert result.exit_code == 1
    assert "gateway keys list" in result.stderr


def test_limits_are_set_when_a_key_is_made() -> None:
    _run("create", "--rpm", "600", "--tpm", "100000", "--concurrency", "5", "--class", "batch")
    (record,) = _records().values()
    assert (record.rpm, record.tpm, record.concurrency, record.priority_class) == (600, 100_000, 5, "batch")
    _run("create", "--rpm", "none", "--class", "none")
    (other,) = (each for each in _records().values() if each.id != record.id)
    assert (other.rpm, other.priority_class) == (None, None)


def test_limits_are_changed_and_lifted_one_by_one() -> None:
    made = json.loads(_run("create", "--rpm", "600", "--tpm", "1000", "--class", "batch", "--json").stdout)
    said = _run("update", made["id"], "--rpm", "none", "--concurrency", "7").stdout
    assert said == f"{made['id']}: rpm none, tpm 1000, concurrency 7, class batch, tags none\n"
    (record,) = _records().values()
    assert (record.rpm, record.tpm, record.concurrency, record.priority_class) == (None, 1000, 7, "batch")
    _run("update", made["id"], "--class", "none")
    assert _records()[made["id"]].priority_class is None


def test_the_list_shows_limits() -> None:
    _run("create", "--rpm", "600", "--class", "batch")
    (listed,) = _listed()
    assert (listed["rpm"], listed["tpm"], listed["concurrency"], listed["class"]) == (600, None, None, "batch")
    head, _, body = _run("list").stdout.strip().splitlines()
    assert head.split() == list(listed)
    assert [body.split()[head.split().index(name)] for name in ("rpm", "tpm", "class")] == ["600", "-", "batch"]


@pytest.mark.parametrize("command", [["create"], ["update", "ffffffffffff"]], ids=["create", "update"])
@pytest.mark.parametrize("wrong", ["0", "-1", "1.5", "many", "1e3", "None", "", "²", "9" * 5000])
def test_what_no_limit_can_be_is_a_usage_error(command: list[str], wrong: str) -> None:
    for option in ("--rpm", "--tpm", "--concurrency"):
        result = CliRunner().invoke(main, ["keys", *command, f"{option}={wrong}"])
        assert result.exit_code == 2
        assert "expected a whole number from 1, or 'none'" in result.stderr


def test_an_update_of_nothing_is_a_usage_error() -> None:
    made = json.loads(_run("create", "--json").stdout)
    result = CliRunner().invoke(main, ["keys", "update", made["id"]])
    assert result.exit_code == 2
    assert "--rpm" in result.stderr


def test_an_update_of_an_unknown_id_is_an_error() -> None:
    _run("create")
    result = CliRunner().invoke(main, ["keys", "update", "ffffffffffff", "--rpm", "1"])
    assert result.exit_code == 1
    assert "gateway keys list" in result.stderr


@pytest.mark.parametrize(("name", "known"), [("gold", True), ("interactive", False)])
def test_a_class_is_one_of_the_configuration_that_is_named(tmp_path: Path, name: str, known: bool) -> None:
    path = write_config(tmp_path, classes={"standard": {"level": 0}, "gold": {"level": 5}})
    result = CliRunner().invoke(main, ["keys", "create", "--class", name, "--config", str(path)])
    assert result.exit_code == (0 if known else 1)
    assert known or "gold, standard" in result.stderr


def test_tags_are_set_shown_changed_together_and_taken_away() -> None:
    made = json.loads(_run("create", "--tag", "project=alpha", "--tag", "env=prod", "--json").stdout)
    assert _records()[made["id"]].tags == '{"env":"prod","project":"alpha"}'
    assert _listed()[0]["tags"] == "env=prod, project=alpha"
    said = _run("update", made["id"], "--tag", "project=a=b").stdout
    assert said.endswith("tags project=a=b\n")
    assert _records()[made["id"]].tags == '{"project":"a=b"}'
    _run("update", made["id"], "--rpm", "5")
    assert _records()[made["id"]].tags == '{"project":"a=b"}', "what is not named stays"
    _run("update", made["id"], "--no-tags")
    assert (_records()[made["id"]].tags, _listed()[0]["tags"]) == (None, None)


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        (["project"], "expected NAME=VALUE"),
        (["project="], "printable characters"),
        (["a b=c"], "expected a name"),
        (["a=b", "a=c"], "each name once"),
        ([f"a=x{'y' * 128}"], "printable characters"),
        ([f"t{n}=v" for n in range(17)], "at most 16"),
    ],
)
def test_what_is_no_tag_is_a_usage_error(tags: list[str], said: str) -> None:
    made = json.loads(_run("create", "--json").stdout)
    for command in (["create"], ["update", made["id"]]):
        result = CliRunner().invoke(main, ["keys", *command, *(part for tag in tags for part in ("--tag", tag))])
        assert result.exit_code == 2
        assert said in result.stderr


def test_tags_and_no_tags_exclude_each_other() -> None:
    made = json.loads(_run("create", "--json").stdout)
    result = CliRunner().invoke(main, ["keys", "update", made["id"], "--tag", "a=b", "--no-tags"])
    assert result.exit_code == 2
