"""Any sample, for property tests."""

from hypothesis import strategies as st

from evals.schema import Sample, ToolCall

# What no file in UTF-8 can hold is left out.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
TRICKY = st.sampled_from(
    ['["a"]', '[{"role": "user", "content": "x"}]', '"q"', '""', "[1]", "a;b", " a", "a\r\nb", "\ufeffx", '"["']
)
ANY = st.one_of(TEXT, TRICKY)
VISIBLE = ANY.filter(lambda text: bool(text.strip()))
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system"]), "content": st.one_of(ANY, st.none())}
    ),
    min_size=1,
    max_size=3,
).map(lambda messages: [*messages, {"role": "user", "content": "And?"}])
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**53) + 1, 2**53 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        ANY,
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(ANY, inner, max_size=2)),
    max_leaves=4,
)
TOOLS = st.lists(
    st.dictionaries(ANY, VALUES, max_size=2).map(
        lambda schema: {"type": "function", "function": {"name": "f", "parameters": schema}}
    ),
    max_size=1,
)
CALLS = st.lists(st.builds(ToolCall, name=st.just("f"), arguments=st.dictionaries(ANY, VALUES, max_size=2)), max_size=2)
GRADES = st.dictionaries(ANY, st.floats(0.5, 9), min_size=1, max_size=2)
SAMPLES = st.lists(
    st.builds(
        Sample,
        id=ANY,
        input=st.one_of(ANY, MESSAGES),
        reference=st.one_of(st.none(), st.just(""), ANY, st.lists(ANY, min_size=1, max_size=2)),
        tags=st.lists(ANY, max_size=3),
        cluster=st.one_of(st.none(), ANY),
        follow_ups=st.lists(VISIBLE, max_size=2),
        tools=TOOLS,
        expected_calls=st.one_of(st.none(), CALLS),
        relevant=st.one_of(st.none(), st.lists(ANY, min_size=1, max_size=2, unique=True), GRADES),
        contexts=st.one_of(st.none(), st.lists(VISIBLE, max_size=2)),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda sample: sample.id,
)
