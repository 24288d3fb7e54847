"""The configuration: every mistake with its line, nothing half-valid, paths from the file's own folder."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway import config
from gateway.config import Deployment, GatewayConfig, ReplicaConfig
from gateway.contracts import documents
from gateway.contracts.documents import Secret
from gateway.contracts.errors import DocumentError, InputError, PriceMissing
from tests.gateway.builders import deployment, release

GOOD = """\
listen: {host: 0.0.0.0, port: 9000}
database: sqlite:////var/lib/tollgate.db
enforcement:
  mode: require
  trusted_keys: [keys/gate.pub]
  verdicts: verdicts
prices: prices.yaml
pools:
  main:
    policy: round_robin
    replicas:
      - url: http://10.0.0.7:8000/
        name: r1
        api_key: {file: engine.key}
      - url: https://h.example/engines/a
        api_key: {env: ENGINE_KEY}
models:
  faq:
    live: faq@1
    releases:
      - {manifest: faq1.yaml, pool: main}
      - {manifest: faq2.yaml, pool: main}
  shop:
    live: shop@1
    releases:
      - {manifest: shop1.yaml, pool: main}
"""
PRICES = "version: v1\nmodels:\n  faq: {input: '0.2', output: '0.6'}\n  shop: unpriced\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("faq@1", "faq@2", "shop@1"):
        (tmp_path / f"{name.replace('@', '')}.yaml").write_text(f"name: {name}\nmodel: {{id: m}}\n")
    (tmp_path / "prices.yaml").write_text(PRICES)
    return tmp_path


def _load(folder: Path, text: str = GOOD) -> Deployment:
    path = folder / "gateway.yaml"
    path.write_text(text)
    return config.load(path)


def _mistakes(folder: Path, old: str, new: str) -> list[tuple[int, str, str]]:
    assert old in GOOD
    with pytest.raises(DocumentError) as caught:
        _load(folder, GOOD.replace(old, new, 1))
    return [(mistake.line, mistake.key, mistake.message) for mistake in caught.value.mistakes]


def _line(text: str, of: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if of in line)


def test_a_good_file_is_read_with_everything_it_names(folder: Path) -> None:
    found = _load(folder)
    assert found.defaults == {"faq": "faq@1", "shop": "shop@1"}
    assert {name: (r.model, r.pool) for name, r in found.releases.items()} == {
        "faq@1": ("faq", "main"),
        "faq@2": ("faq", "main"),
        "shop@1": ("shop", "main"),
    }
    assert all(each.digest == each.manifest.digest() for each in found.releases.values())
    assert found.prices.version == "v1"
    assert [replica.url for replica in found.config.pools["main"].replicas] == [
        "http://10.0.0.7:8000",
        "https://h.example/engines/a",
    ]


def test_relative_paths_start_from_the_files_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    found = _load(folder).config
    assert found.enforcement.trusted_keys == (folder / "keys/gate.pub",)
    assert found.enforcement.verdicts == folder / "verdicts"
    assert found.prices == folder / "prices.yaml"
    assert found.models["faq"].releases[0].manifest == folder / "faq1.yaml"
    assert found.pools["main"].replicas[0].api_key == Secret(file=folder / "engine.key")


def test_a_relative_database_lies_in_the_files_folder_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    found = _load(folder, GOOD.replace("sqlite:////var/lib/tollgate.db", "sqlite:///tollgate.db"))
    assert found.config.database == f"sqlite:///{folder / 'tollgate.db'}"


def test_the_spool_of_a_server_lies_beside_the_configuration(folder: Path) -> None:
    url = "postgresql://tollgate@db/tollgate"
    found = _load(folder, GOOD.replace("sqlite:////var/lib/tollgate.db", url))
    assert (found.config.database, found.config.ledger.spool) == (url, folder / "tollgate.spool")
    assert _load(folder).config.ledger.spool is None


def test_absolute_paths_stay(folder: Path) -> None:
    assert _load(folder).config.database == "sqlite:////var/lib/tollgate.db"
    text = GOOD.replace("verdicts: verdicts", "verdicts: /var/lib/verdicts")
    assert _load(folder, text).config.enforcement.verdicts == Path("/var/lib/verdicts")


def test_a_configuration_is_frozen(folder: Path) -> None:
    found = _load(folder).config
    with pytest.raises(ValidationError):
        found.listen.port = 1
    with pytest.raises(ValidationError):
        found.database = "x"


ONE_KEY: dict[str, tuple[str, str, str, str]] = {
    "a typo": ("listen: {host", "listn: {host", "listn", "did you mean 'listen'?"),
    "a typo inside": ("    policy:", "    polcy:", "pools.main.polcy", "did you mean 'policy'?"),
    "a key of nobody's": ("live: faq@1", "live: faq@1\n    zzz: 1", "models.faq.zzz", "live, releases"),
    "an unknown pool": ("pool: main}\n      - {manifest: faq2", "pool: man}\n      - {manifest: faq2", "pool", "'man'"),
    "an unknown policy": ("round_robin", "random", "pools.main.policy", "least_in_flight"),
    "a port": ("port: 9000", "port: 65536", "listen.port", "65535"),
    "another database": ("sqlite:////var", "mysql://h/var", "database", "sqlite:///FILE"),
    "a password": ("sqlite:////var", "postgresql://u:p@h/var", "database", "PGPASSWORD"),
    "no database": ("sqlite:////var/lib/tollgate.db", "sqlite:///", "database", "sqlite:///FILE"),
    "a mode": ("mode: require", "mode: strict", "enforcement.mode", "warn"),
    "no key to trust": ("trusted_keys: [keys/gate.pub]", "trusted_keys: []", "enforcement.trusted_keys", "evals keys"),
    "credentials": ("http://10.0.0.7", "http://u:p@10.0.0.7", "url", "api_key"),
    "a query": ("8000/", "8000/?a=b", "url", "query"),
    "/v1": ("8000/", "8000/v1/", "url", "leave /v1 out"),
    "no scheme": ("http://10.0.0.7:8000/", "10.0.0.7:8000", "url", "http://10.0.0.7:8000"),
    "a scheme": ("http://10.0.0.7", "ftp://10.0.0.7", "url", "http://"),
    "no host": ("http://10.0.0.7:8000/", "http://:8000", "url", "http://"),
    "a port beyond": ("http://10.0.0.7:8000/", "http://10.0.0.7:80000", "url", "65535"),
    "a port in words": ("http://10.0.0.7:8000/", "http://10.0.0.7:http", "url", "http"),
    "a bracket": ("http://10.0.0.7:8000/", "'http://[::1:8000'", "url", "IPv6"),
    "a plain secret": ("{env: ENGINE_KEY}", "sk-plain", "api_key", ""),
    "two secrets": ("{env: ENGINE_KEY}", "{env: A, file: b}", "api_key", "exactly one"),
    "no secret": ("{env: ENGINE_KEY}", "{}", "api_key", "exactly one"),
    "no variable's name": ("{env: ENGINE_KEY}", '{env: "A\\0B"}', "api_key.env", ""),
    "a live release of nobody's": ("live: faq@1", "live: faq@9", "models.faq.live", "faq@2"),
    "a live release of another model": ("live: shop@1", "live: faq@1", "models.shop.live", "faq@1"),
    "an adapter like its base": (
        "{manifest: faq2.yaml, pool: main",
        "{manifest: faq2.yaml, adapter: {name: faq}, pool: main",
        "models.faq.releases.1.adapter.name",
        "base model",
    ),
    "a manifest twice": ("faq2.yaml", "faq1.yaml", "models.faq.releases", "listed twice"),
    "a manifest of another model": ("faq2.yaml", "shop1.yaml", "models.faq.releases", "'shop'"),
}


@pytest.mark.parametrize("name", ONE_KEY)
def test_a_mistake_is_named_with_its_line_and_key(folder: Path, name: str) -> None:
    old, new, key, says = ONE_KEY[name]
    found = _mistakes(folder, old, new)
    line, at, message = next(each for each in found if key in each[1] and says in each[2])
    text = GOOD.replace(old, new, 1)
    changed = [
        number for number, (a, b) in enumerate(zip(text.splitlines(), GOOD.splitlines(), strict=False), 1) if a != b
    ]
    assert line == changed[0], f"line {line}, {at}: {message}"


@pytest.mark.parametrize("off", ["off", "'off'", "Off"])
def test_off_needs_no_quotes(folder: Path, off: str) -> None:
    # YAML reads the bare word as false.
    assert _load(folder, GOOD.replace("mode: require", f"mode: {off}")).config.enforcement.mode == "off"


def test_every_mistake_is_named_at_once(folder: Path) -> None:
    with pytest.raises(DocumentError) as caught:
        _load(folder, GOOD.replace("port: 9000", "port: x").replace("mode: require", "mode: x"))
    assert [mistake.line for mistake in caught.value.mistakes] == [1, 4]
    assert documents.LATER in str(caught.value)


@pytest.mark.parametrize("part", ["pools", "models"])
def test_what_is_required_is_named(folder: Path, part: str) -> None:
    lines = GOOD.splitlines(keepends=True)
    start = lines.index(f"{part}:\n")
    end = next((at for at in range(start + 1, len(lines)) if not lines[at].startswith(" ")), len(lines))
    with pytest.raises(DocumentError, match=f"missing key '{part}'"):
        _load(folder, "".join(lines[:start] + lines[end:]))


def test_a_manifest_s_mistakes_name_its_own_file_and_line(folder: Path) -> None:
    (folder / "faq1.yaml").write_text("name: faq@1\nmodle: {id: m}\n")
    (folder / "faq2.yaml").unlink()
    with pytest.raises(DocumentError) as caught:
        _load(folder)
    text = str(caught.value)
    assert f"line 21, models.faq.releases.0.manifest: in {folder / 'faq1.yaml'}, line 2, modle: " in text
    assert "did you mean 'model'?" in text
    assert f"in {folder / 'faq2.yaml'}, line 1: no such file" in text


def test_law_5_a_model_without_a_price_stops_the_start(folder: Path) -> None:
    (folder / "prices.yaml").write_text(PRICES.replace("  shop: unpriced\n", ""))
    with pytest.raises(DocumentError, match=r"line 7, prices: .*'shop'"):
        _load(folder)
    with pytest.raises(PriceMissing, match="'shop'"):
        deployment(prices=folder / "prices.yaml", releases=[release("shop@1")])


def test_a_price_file_with_a_mistake_is_named(folder: Path) -> None:
    (folder / "prices.yaml").write_text(PRICES.replace("'0.2'", "0.2"))
    with pytest.raises(DocumentError, match=r"line 7, prices: in .*prices\.yaml, line 3, models\.faq"):
        _load(folder)


def test_a_missing_file_is_a_document_error(folder: Path) -> None:
    with pytest.raises(DocumentError, match="no such file"):
        config.load(folder / "nothing.yaml")


@pytest.mark.parametrize("text", ["", "[]", "just words", "a: &x 1\nb: *x\n", "\t", "pools: {"])
def test_what_is_no_configuration_is_refused(folder: Path, text: str) -> None:
    with pytest.raises(InputError):
        _load(folder, text)


def test_law_9_a_password_in_a_url_is_not_repeated() -> None:
    with pytest.raises(ValidationError) as caught:
        ReplicaConfig(url="http://user:hunter2@h:8000")
    assert "hunter2" not in caught.value.errors(include_url=False)[0]["msg"]


def test_a_secret_is_read_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("  from file\n")
    assert Secret(file=tmp_path / "key").read() == "from file"
    monkeypatch.setenv("TOLLGATE_TEST_KEY", "from env")
    assert Secret(env="TOLLGATE_TEST_KEY").read() == "from env"


@pytest.mark.parametrize("value", [None, ""])
def test_a_secret_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    monkeypatch.delenv("TOLLGATE_TEST_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("TOLLGATE_TEST_KEY", value)
        (tmp_path / "key").write_text(value)
    for secret in (Secret(env="TOLLGATE_TEST_KEY"), Secret(file=tmp_path / "key")):
        with pytest.raises(DocumentError, match=r"KEY|key"):
            secret.read()


def test_defaults_are_valid_themselves() -> None:
    for field in ("listen", "limits", "timeouts", "enforcement"):
        assert GatewayConfig.model_fields[field].default is not None


def test_who_decides_about_traffic_needs_the_trusted_keys(folder: Path) -> None:
    path = folder / "gateway.yaml"
    path.write_text(GOOD)
    with pytest.raises(DocumentError, match=r"line \d+, enforcement\.trusted_keys\.0: .*evals keys"):
        config.load(path, trust=True)
    assert config.load(path)
