"""Prices out of a map: every digit as it is written there, and nothing that is charged lost without a word."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.contracts import documents, price_import, prices
from gateway.contracts.errors import InputError
from gateway.contracts.price_import import Imported, entry, merged, read_map, written
from gateway.contracts.prices import Price, PriceBook

CHAT = {"mode": "chat", "input_cost_per_token": Decimal("2.5e-06"), "output_cost_per_token": Decimal("0.00001")}
FILE = """# ours
version: "1"  # of today
models:
    # the old one
    support: {input: "0.20", output: "0.60"}
    seasonal:
        - {until: 2026-12-01, input: "1", output: "2"}   # then dearer
        - from: 2026-12-01
          input: "2"
          output: "3"
    # nothing below
currency: USD
"""


def _map(path: Path, text: str) -> dict[str, Any]:
    path.write_text(text)
    return read_map(path)


def _found(amount: str = "1", name: str = "new") -> dict[str, Imported]:
    return {name: Imported(Price.model_validate({"input": amount, "output": "2", "reasoning": "3"}), ["a note"])}


def _read(text: str) -> PriceBook:
    return documents.validate(*documents.parse(text, "f"), PriceBook, "f")


def test_litellms_own_map_is_found_and_has_prices() -> None:
    models = read_map(price_import.bundled())
    imported = entry(models, "gpt-4o")
    assert imported.price == Price(input=Decimal("2.5"), cached_input=Decimal("1.25"), output=Decimal(10))
    assert list(imported.notes) == []


def test_every_model_of_litellms_map_is_imported_or_refused_with_a_reason() -> None:
    models = read_map(price_import.bundled())
    found: dict[str, Imported] = {}
    refused: dict[str, str] = {}
    for model in models:
        try:
            found[model] = entry(models, model)
        except InputError as error:
            refused[model] = str(error)
    assert len(found) > 1000
    assert all(repr(model) in told for model, told in refused.items())
    for model, imported in found.items():
        assert imported.price.input + imported.price.output > 0
        assert imported.price.input == models[model]["input_cost_per_token"] * 10**6


@pytest.mark.parametrize("package", ["no_such_package_at_all", "yaml", "this"])
def test_without_litellm_the_extra_is_named(package: str) -> None:
    with pytest.raises(InputError, match=r"install the extra `providers`.*--from FILE"):
        price_import.bundled(package)


@given(st.decimals(min_value=0, max_value=1, places=15).filter(bool))
def test_amounts_move_their_point_and_change_no_digit(amount: Decimal) -> None:
    found = entry({"m": {**CHAT, "input_cost_per_token": amount}}, "m").price.input
    assert found == amount * 10**6
    assert found.normalize().as_tuple().digits == amount.normalize().as_tuple().digits


def test_amounts_are_read_by_their_text(tmp_path: Path) -> None:
    text = '{"m": {"input_cost_per_token": 1.25e-07, "output_cost_per_token": 0.1, "mode": "chat"}}'
    price = entry(_map(tmp_path / "m.json", text), "m").price
    assert (price.input, price.output) == (Decimal("0.125"), Decimal(100_000))


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"mode": "image_generation", "output_cost_per_image": Decimal("0.04")}, "'image_generation'.*per_image"),
        ({"mode": "audio_transcription", "input_cost_per_second": 1}, "'audio_transcription'.*input_cost_per_second"),
        ({"mode": "chat"}, "no input_cost_per_token and no output_cost_per_token"),
        ({"mode": "chat", "input_cost_per_token": 1}, "it has no output_cost_per_token"),
        ({**CHAT, "input_cost_per_token": None}, "it has no input_cost_per_token"),
        ({**CHAT, "input_cost_per_token": 0, "output_cost_per_token": 0}, "all of its tokens cost 0"),
        (
            {"mode": "rerank", "input_cost_per_token": 0, "output_cost_per_token": 0, "input_cost_per_query": 1},
            "cost 0.*input_cost_per_query",
        ),
    ],
)  # fmt: skip
def test_law_5_what_has_no_price_by_the_token_is_refused_and_not_free(told: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        entry({"m": told}, "m")


@pytest.mark.parametrize("amount", [True, "1", [], Decimal(-1), Decimal(2), Decimal("1e999999"), Decimal("1e-99"), -1])
def test_what_is_no_amount_is_refused(amount: Any) -> None:
    with pytest.raises(InputError, match="'m' cannot be used"):
        entry({"m": {**CHAT, "input_cost_per_token": amount}}, "m")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"m": NaN}', '{"m": -Infinity}', "[" * 100_000])
def test_what_is_no_map_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError):
        _map(tmp_path / "m.json", text)


def test_an_unknown_model_is_told_its_neighbours() -> None:
    with pytest.raises(InputError, match=r"no model 'gpt-4o-x': is it one of 'gpt-4o'\?"):
        entry({"gpt-4o": CHAT, "other": CHAT}, "gpt-4o-x")


def test_what_is_charged_beside_is_told() -> None:
    more = {
        "cache_creation_input_token_cost": Decimal("0.1"),
        "input_cost_per_token_above_200k_tokens": Decimal("0.2"),
        "input_cost_per_token_batches": Decimal("0.3"),
        "output_cost_per_image": 0,
        "deprecation_date": "2027-01-01",
    }
    assert entry({"m": {**CHAT, **more}}, "m").notes == [
        "not imported: cache_creation_input_token_cost 0.1",
        "not imported: input_cost_per_token_above_200k_tokens 0.2",
        "the provider ends it on 2027-01-01",
    ]


def test_a_new_file_is_a_price_file(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(written({**_found(), **_found("0.5", 'a "b": c')}, "7", "a map"))
    book = prices.load(path)
    assert (book.version, list(book.models)) == ("7", ["new", 'a "b": c'])
    assert book.models["new"] == _found()["new"].price
    assert "# new: a note" in path.read_text()


@given(st.text(min_size=1, max_size=6), st.text(min_size=1, max_size=6).filter(lambda text: text != "none"))
def test_whatever_a_model_and_a_version_are_called_a_new_file_keeps_them(name: str, version: str) -> None:
    book = _read(written(_found(name=name), version, "a map"))
    assert (book.version, list(book.models)) == (version, [name])


def test_names_stay_as_people_read_them_and_amounts_have_no_exponent() -> None:
    text = written(_found("0.000000001", "chat-\U0001f389"), "\u00fc", "a map")
    assert 'version: "\u00fc"' in text
    assert '"chat-\U0001f389": {input: "0.000000001"' in text


def test_an_amount_that_no_price_can_be_is_named() -> None:
    with pytest.raises(InputError) as error:
        entry({"m": {**CHAT, "input_cost_per_token": -1}}, "m")
    told = "the price map's amounts for 'm' cannot be used: input_cost_per_token: Input should be greater than or equal"
    assert str(error.value) == f"{told} to 0"


def test_a_file_keeps_what_it_had() -> None:
    text = merged(FILE, "f", _found(), "2")
    assert _read(text).version == "2"
    assert _read(text).models == {**_read(FILE).models, "new": _found()["new"].price}
    kept = [line for line in FILE.splitlines() if "version" not in line]
    assert [line for line in text.splitlines() if line in kept] == kept
    assert '"2"  # of today' in text
    assert merged(text, "f", _found(name="more"), "3").count("a note") == 2


@pytest.mark.parametrize("end", ["", "\n", "\n\n# the end", "\n# the end\n"])
def test_models_may_end_the_file(end: str) -> None:
    text = 'version: 1.5\nmodels:\n  a: unpriced\n  b:\n  - input: "1"\n    output: "2"' + end
    text = text.replace("1.5", "'1.5'")
    assert set(_read(merged(text, "f", _found(), "2")).models) == {"a", "b", "new"}


@given(st.dictionaries(st.text(min_size=1, max_size=6).filter(str.isprintable), st.integers(0, 9), min_size=1))
def test_whatever_models_are_called_they_are_kept(models: dict[str, int]) -> None:
    values = {name: "unpriced" if number % 2 else {"input": number, "output": 1} for name, number in models.items()}
    text = yaml.safe_dump({"version": "1", "models": values}, default_flow_style=False)
    if "new" in models:
        return
    assert _read(merged(text, "f", _found(), "2")).models == {**_read(text).models, "new": _found()["new"].price}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('version: "1"\nmodels: {a: unpriced}\n', "one model below another"),
        ('version: "1"\nmodels: {}\n', "one model below another"),
        ('version: "1"\nmodels:\n  new: unpriced\n', "has 'new' already"),
        ('version: "1"\ncurrency: EUR\nmodels:\n  a: unpriced\n', "in EUR"),
        ('version: "1"\nmodels:\n  a: free\n', "line 3"),
        ("version: |\n  1\nmodels:\n  a: unpriced\n", "cannot be added|not valid YAML|expected"),
    ],
)
def test_a_file_that_cannot_be_added_to_is_left_alone(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        merged(text, "f", _found(), "2")


def test_a_map_of_floats_is_exact_where_json_is() -> None:
    assert json.loads("1.25e-07", parse_float=Decimal) == Decimal("1.25e-07")
