"""Who may ask for what is decided on the path as it was written, and on nothing else."""

import re

from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.endpoints import ENDPOINTS
from tests.security.front import BODY, Front, request

OPEN = {b"/health", b"/ready", b"/metrics"}
"""Pages that ask for no key."""
PAGES = OPEN | {b"/v1/models", b"/v1/usage", b"/v1/models/faq"}
KNOWN = sorted(PAGES | {path.encode() for path in ENDPOINTS})
METHODS = [b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE", b"PROPFIND", b"LOCK", b"PURGE"]

BYTES = st.binary(max_size=12).filter(lambda made: not re.search(rb"[\0-\x20\x7f-\xff]", made))
TWISTS = st.sampled_from(
    [b"/", b"//", b"/.", b"/..", b"/../", b"%2f", b"%2F", b"%2e%2e/", b"%00", b";", b";a=b", b"\\", b"?", b"?a=/health",
     b"#", b"%", b"%25", b"%c0%af", b"%e2%80%8b", b"@h", b":80", b"*", b"/health", b"/metrics", b"/v1"]
)  # fmt: skip


@st.composite
def targets(draw: st.DrawFn) -> bytes:
    """A known path, twisted in up to three places, or anything."""
    made = draw(st.sampled_from(KNOWN)) if draw(st.booleans()) else b"/" + draw(BYTES)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(made)))
        made = made[:at] + draw(TWISTS | BYTES) + made[at:]
    if draw(st.integers(0, 5)) == 0:
        made = made.swapcase()
    return draw(st.sampled_from([b"", b"http://127.0.0.1:1", b"http://h/health?"])) + made


VALUES = st.one_of(
    st.sampled_from([*KNOWN, b"x/?", b"x/#", b"[", b"h:x", b"h/health", b"/health#", b"127.0.0.1", b"", b"*"]),
    st.binary(max_size=20).filter(lambda made: not re.search(rb"[\0-\x1f\x7f]", made)),
)  # fmt: skip
NAMES = st.sampled_from(
    [b"host", b"x-forwarded-host", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-prefix", b"x-original-url",
     b"x-rewrite-url", b"x-forwarded-uri", b"forwarded", b"x-http-method-override", b"x-real-ip", b"upgrade",
     b"x-script-name", b"referer", b"origin", b"cookie"]
)  # fmt: skip
LINES = st.lists(st.builds(lambda name, value: name + b": " + value, NAMES, VALUES), max_size=4)


def _written(target: bytes) -> bytes:
    """The path in a target."""
    return re.sub(rb"^http://[^/?#]*", b"", target).partition(b"?")[0]


def test_without_a_key_nothing_is_open_but_what_is_said_to_be(house: Front) -> None:
    @given(st.sampled_from(METHODS), targets(), LINES)
    def check(method: bytes, target: bytes, lines: list[bytes]) -> None:
        for status, _, _ in house.says(request(method, target, *lines, body=BODY if method == b"POST" else b"")):
            assert status in (400, 401, 404, 405) or (method == b"GET" and _written(target) in OPEN), status
        assert house.heard() == []

    check()


def test_with_a_key_only_an_exact_path_is_answered_and_only_it_is_forwarded(house: Front) -> None:
    @given(st.sampled_from(METHODS), targets(), LINES)
    def check(method: bytes, target: bytes, lines: list[bytes]) -> None:
        path = _written(target)
        told = house.says(request(method, target, *lines, key=house.key, body=BODY if method == b"POST" else b""))
        heard = house.heard()
        assert all(status < 500 or path == b"/ready" for status, _, _ in told)
        for status, _, _ in told:
            # A percent sign names a model on its page alone: there the router reads it, behind the key.
            page = path in PAGES or path.startswith(b"/v1/models/")
            assert status != 200 or (page if method == b"GET" else path.decode() in ENDPOINTS)
        assert heard == [] or heard == [path.decode()]
        assert not heard or (method == b"POST" and path.decode() in ENDPOINTS)

    check()


def test_every_endpoint_is_one_and_refuses_who_has_no_key(house: Front) -> None:
    for path in ENDPOINTS:
        answer = house.ask("POST", path, BODY)
        assert (path, answer.status) == (path, 401)
    assert house.heard() == []
