from evals.dataset.diff import diff

A = {"id": "a", "input": "x", "reference": "1", "tags": ["t", "u"], "cluster": "c"}
B = {"id": "b", "input": "y"}


def test_the_same_samples_in_another_order_are_the_same(data) -> None:
    found = diff(data(A, B), data(B, A, name="new.jsonl"))
    assert found.same
    assert (found.added, found.removed, found.changed, found.tags) == ([], [], {}, {})


def test_what_was_added_removed_and_changed(data) -> None:
    found = diff(
        data(A, B, {"id": "c", "input": "z"}),
        data({**A, "reference": ["1", "one"], "tags": ["t"]}, B, {"id": "d", "input": "z"}, name="new.jsonl"),
    )
    assert not found.same
    assert (found.added, found.removed) == (["d"], ["c"])
    assert [(c.field, c.old, c.new) for c in found.changed["a"]] == [
        ("reference", "1", ["1", "one"]),
        ("tags", ["t", "u"], ["t"]),
    ]
    assert list(found.changed) == ["a"]
    assert found.tags == {"u": (1, 0)}
    assert found.clusters == (3, 3)
    assert (found.old_samples, found.new_samples) == (3, 3)
