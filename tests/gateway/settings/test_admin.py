"""The admin part of a configuration."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway import config
from gateway.contracts.errors import DocumentError
from gateway.settings.admin import AdminConfig
from tests.gateway.builders import write_config

TOKENS = {"deploy": {"role": "write", "env": "T"}}


def test_there_is_none_unless_it_is_asked_for(tmp_path: Path) -> None:
    assert config.load(write_config(tmp_path)).config.admin is None


def test_a_token_reads_and_the_port_is_this_machines_own_unless_said_otherwise() -> None:
    found = AdminConfig.model_validate({"tokens": {"looks": {"file": "a"}}})
    assert (found.listen.host, found.listen.port, found.tokens["looks"].role) == ("127.0.0.1", 8081, "read")


@pytest.mark.parametrize(
    ("value", "at"),
    [
        ({}, "tokens"),
        ({"tokens": {}}, "tokens"),
        ({"tokens": {"a b": {"env": "T"}}}, "a b"),
        ({"tokens": {"a": {}}}, "exactly one"),
        ({"tokens": {"a": {"env": "T", "file": "t"}}}, "exactly one"),
        ({"tokens": {"a": {"env": "T", "role": "root"}}}, "'write'"),
        ({"tokens": TOKENS, "listen": {"port": 65_536}}, "65535"),
        ({"tokens": TOKENS, "tls": {"certificate": "a"}}, "key"),
        ({"tokens": TOKENS, "cors": "*"}, "cors"),
    ],
)
def test_a_mistake_is_named(value: Any, at: str) -> None:
    with pytest.raises(ValidationError, match=at):
        AdminConfig.model_validate(value)


def test_a_mistake_has_its_line_in_the_file(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"line \d+, admin.tokens.deploy.rule: unknown key 'rule': did you mean"):
        config.load(write_config(tmp_path, admin={"tokens": {"deploy": {"rule": "write", "env": "T"}}}))


def test_paths_begin_where_the_file_is(tmp_path: Path) -> None:
    tls = {"certificate": "a.pem", "key": "b.pem"}
    given = {"tokens": {"one": {"file": "t"}, **TOKENS}, "tls": tls}
    found = config.load(write_config(tmp_path, admin=given)).config.admin
    assert found is not None
    assert found.tls is not None
    assert (found.tokens["one"].file, found.tls.key) == (tmp_path / "t", tmp_path / "b.pem")
    assert found.tokens["deploy"].env == "T"


@pytest.mark.parametrize(
    ("host", "tls", "clear"),
    [
        ("127.0.0.1", False, False),
        ("::1", False, False),
        ("localhost", False, False),
        ("0.0.0.0", False, True),
        ("::", False, True),
        ("admin.internal", False, True),
        ("0.0.0.0", True, False),
    ],
)
def test_tokens_cross_networks_in_the_clear_only_where_a_network_is_and_tls_is_not(
    host: str, tls: bool, clear: bool
) -> None:
    given: dict[str, Any] = {"tokens": TOKENS, "listen": {"host": host}}
    if tls:
        given["tls"] = {"certificate": "a", "key": "b"}
    assert AdminConfig.model_validate(given).in_the_clear is clear
