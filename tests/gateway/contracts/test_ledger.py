"""The ledger row: a closed set of outcomes, and a form that survives the spool."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contracts import ledger
from gateway.contracts.errors import REQUEST_ERRORS
from gateway.contracts.ledger import OUTCOMES, LedgerRow

TEXT = st.text(max_size=8)
COUNT = st.none() | st.integers(0, 10**9)
ROWS = st.builds(
    LedgerRow,
    request_id=TEXT,
    started_at=st.floats(0, 1e10),
    key_id=TEXT,
    team=TEXT,
    purpose=st.sampled_from(["serve", "evaluate"]),
    model=TEXT,
    release=TEXT,
    release_digest=TEXT,
    endpoint=TEXT,
    stream=st.booleans(),
    outcome=st.sampled_from(sorted(OUTCOMES)),
    status=st.integers(100, 599),
    replica=st.none() | TEXT,
    input_tokens=COUNT,
    cached_tokens=COUNT,
    output_tokens=COUNT,
    cost=st.none() | st.decimals(0, 10**6, places=12).map(str),
    first_byte_s=st.none() | st.floats(0, 1e6),
)


def _row(**more: object) -> LedgerRow:
    fields = {
        "request_id": "r1",
        "started_at": 1.0,
        "key_id": "k",
        "team": "t",
        "purpose": "serve",
        "model": "faq",
        "release": "faq@1",
        "release_digest": "sha256:0",
        "endpoint": "/v1/chat/completions",
        "stream": False,
        "outcome": ledger.COMPLETED,
        "status": 200,
        **more,
    }
    return msgspec.convert(fields, LedgerRow)


def test_outcomes_are_the_codes_of_the_error_tree_and_three_words() -> None:
    codes = {error.code for error in REQUEST_ERRORS}
    assert {"completed", "client_closed", "gateway_lost"}.isdisjoint(codes)
    assert codes | {"completed", "client_closed", "gateway_lost"} == OUTCOMES


def test_what_is_unknown_is_none_and_not_zero() -> None:
    row = _row()
    unknown = (row.input_tokens, row.cached_tokens, row.output_tokens, row.cost, row.first_byte_s, row.replica)
    assert set(unknown) == {None}


@given(row=ROWS)
def test_a_row_survives_the_spool(row: LedgerRow) -> None:
    assert msgspec.json.decode(msgspec.json.encode(row), type=LedgerRow) == row


def test_a_row_holds_no_text_of_a_request() -> None:
    forbidden = {"prompt", "messages", "completion", "body", "content", "key", "headers", "api_key"}
    assert forbidden.isdisjoint(LedgerRow.__struct_fields__)


@pytest.mark.parametrize(
    ("field", "value"),
    [("purpose", "play"), ("status", "200"), ("cost", 0.1), ("input_tokens", 1.5), ("stream", None)],
)
def test_a_row_of_other_types_is_refused_when_read(field: str, value: object) -> None:
    with pytest.raises(msgspec.ValidationError, match=field):
        _row(**{field: value})


def test_a_row_is_immutable() -> None:
    with pytest.raises(AttributeError):
        _row().status = 500  # type: ignore[misc]
