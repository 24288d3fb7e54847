import msgspec

from evals.dataset.findings import Finding


def test_a_finding_is_json_without_what_is_not_known() -> None:
    found = Finding(level="error", code="schema", message="m", line=3)
    assert msgspec.json.decode(msgspec.json.encode(found)) == {
        "level": "error",
        "code": "schema",
        "message": "m",
        "line": 3,
    }
