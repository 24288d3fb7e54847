import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from evals.lines import Manifest, Record
from evals.run_log import LogDamaged, Writer, check_free, check_same, read, write_whole
from evals.schema import Score
from gateway.contracts.errors import InputError


def manifest(**changed: object) -> Manifest:
    values = {
        "suite": "faq",
        "suite_digest": "sha256:s",
        "dataset": "faq.jsonl",
        "dataset_sha256": "sha256:d",
        "samples": 3,
        "epochs": 1,
        "model": "faq@2",
        "params": {"temperature": 0},
        "system": None,
        "scorers": [{"name": "exact"}],
    }
    return Manifest(**values | changed)


def record(sample_id: str, value: float = 1.0) -> Record:
    return Record(id=sample_id, digest="sha256:x", outcome="scored", scores={"exact": Score(value)})


def complete(path: Path) -> Path:
    with Writer(path, manifest()) as writer:
        for sample_id in "abc":
            writer.write(record(sample_id))
        writer.seal()
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    log = read(complete(tmp_path / "deep" / "run.jsonl"))
    assert log.manifest == manifest()
    assert [r.id for r in log.records] == ["a", "b", "c"]
    assert log.records[0].scores == {"exact": Score(1.0)}
    assert log.sealed


def test_a_log_without_its_end_is_not_sealed(tmp_path: Path) -> None:
    with Writer(tmp_path / "run.jsonl", manifest()) as writer:
        writer.write(record("a"))
    assert not read(tmp_path / "run.jsonl").sealed


@pytest.mark.parametrize(
    ("line", "old", "new"),
    [
        (0, b'"samples":3', b'"samples":2'),
        (1, b'"value":1.0', b'"value":0.0'),
        (3, b'"scored"', b'"system_error"'),
        (4, b'"records":3', b'"records":2'),
    ],
)
def test_an_edited_line_is_found(tmp_path: Path, line: int, old: bytes, new: bytes) -> None:
    path = complete(tmp_path / "run.jsonl")
    lines = path.read_bytes().split(b"\n")
    assert old in lines[line]
    lines[line] = lines[line].replace(old, new)
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(LogDamaged, match=f"line {min(line + 2, 5)}"):
        read(path)


@pytest.mark.parametrize("line", [0, 1, 2, 3])
def test_a_removed_line_is_found(tmp_path: Path, line: int) -> None:
    path = complete(tmp_path / "run.jsonl")
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join(lines[:line] + lines[line + 1 :]))
    with pytest.raises(LogDamaged, match=f"line {line + 1}"):
        read(path)


def test_swapped_lines_are_found(tmp_path: Path) -> None:
    path = complete(tmp_path / "run.jsonl")
    lines = path.read_bytes().split(b"\n")
    lines[1], lines[2] = lines[2], lines[1]
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(LogDamaged, match="line 2"):
        read(path)


def test_a_second_manifest_is_refused(tmp_path: Path) -> None:
    path = complete(tmp_path / "run.jsonl")
    first = path.read_bytes().split(b"\n")[0]
    path.write_bytes(path.read_bytes() + first + b"\n")
    with pytest.raises(LogDamaged, match="line 6"):
        read(path)


@pytest.mark.parametrize("content", [b"", b"\n", b"not json\n", b'{"kind":"sample"}\n', b"\xff\xfe\n"])
def test_a_file_that_is_no_log_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(content)
    with pytest.raises(LogDamaged):
        read(path)


def test_a_missing_log_says_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="evals run"):
        read(tmp_path / "run.jsonl")


def test_a_torn_last_line_is_cut_off_on_resume_and_refused_as_evidence(tmp_path: Path) -> None:
    path = complete(tmp_path / "run.jsonl")
    torn = path.read_bytes()[:-40]
    path.write_bytes(torn)
    with pytest.raises(LogDamaged, match="torn"):
        read(path)
    with Writer(path, manifest()) as writer:
        assert [r.id for r in writer.existing] == ["a", "b", "c"]
        writer.seal()
    assert read(path).sealed


def test_a_torn_manifest_starts_the_log_again(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(b'{"kind":"manifest","prev":"","ver')
    with Writer(path, manifest()) as writer:
        writer.seal()
    assert read(path).manifest == manifest()


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    for content in (b"my notes", b"my notes\nmore\n"):
        path = tmp_path / "notes"
        path.write_bytes(content)
        with pytest.raises(LogDamaged):
            Writer(path, manifest())
        assert path.read_bytes() == content


def test_a_resumed_log_goes_on_after_its_end(tmp_path: Path) -> None:
    path = complete(tmp_path / "run.jsonl")
    with Writer(path, manifest()) as writer:
        writer.write(record("d"))
        writer.seal()
    log = read(path)
    assert log.sealed
    assert len(log.records) == 4


def test_sealing_a_sealed_log_changes_nothing(tmp_path: Path) -> None:
    path = complete(tmp_path / "run.jsonl")
    before = path.read_bytes()
    with Writer(path, manifest()) as writer:
        writer.seal()
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("suite", "other"),
        ("dataset_sha256", "sha256:e"),
        ("model", "faq@3"),
        ("params", {"temperature": 1}),
        ("scorers", [{"name": "includes"}]),
        ("system", "be brief"),
        ("epochs", 2),
        ("limit", 2),
    ],
)
def test_another_run_is_not_resumed(tmp_path: Path, field: str, value: object) -> None:
    path = complete(tmp_path / "run.jsonl")
    with pytest.raises(InputError, match=field):
        Writer(path, manifest(**{field: value}))


def test_another_address_or_time_is_the_same_run() -> None:
    check_same(manifest(), manifest(base_url="http://elsewhere", created="later", harness="newer"), Path("run.jsonl"))


def test_two_runs_cannot_write_one_log(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with Writer(path, manifest()), pytest.raises(InputError, match="another run"):
        Writer(path, manifest())


def test_a_log_below_a_file_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    expected = r"/file/run.jsonl' cannot be written: what its path names as a folder is a file; name another file"
    with pytest.raises(InputError, match=expected):
        Writer(tmp_path / "file" / "run.jsonl", manifest())
    with pytest.raises(InputError, match=expected):
        write_whole(tmp_path / "file" / "run.jsonl", manifest(), [record("a")])
    assert (tmp_path / "file").is_file()


def test_what_is_no_file_is_no_log(tmp_path: Path) -> None:
    for path in (Path("/dev/full"), tmp_path):
        with pytest.raises(InputError, match=f"'{path}' is not a file"):
            Writer(path, manifest())
    with pytest.raises(InputError, match=f"'{tmp_path}' cannot be written: Is a directory"):
        write_whole(tmp_path, manifest(), [record("a")])
    assert not list(tmp_path.parent.glob(f".{tmp_path.name}.*"))


def test_a_log_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(InputError, match="cannot be written: Permission denied"):
        Writer(tmp_path / "run.jsonl", manifest())


def test_a_record_is_on_file_when_write_returns(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with Writer(path, manifest()) as writer:
        writer.write(record("a"))
        assert json.loads(path.read_bytes().split(b"\n")[1])["id"] == "a"


@contextmanager
def room(size: int) -> Iterator[None]:
    """Files take so many bytes, and no more: as on a full disk, what still fits of a write is taken without a word."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_fills_is_told_and_keeps_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with Writer(path, manifest()) as writer:
        writer.write(record("a"))
        whole = path.stat().st_size
        with room(whole + 20), pytest.raises(InputError, match="takes no more: File too large; what it has is kept"):
            writer.write(record("b"))
        assert path.stat().st_size == whole
        writer.write(record("c"))
        with room(path.stat().st_size), pytest.raises(InputError, match="takes no more"):
            writer.seal()
    assert [one.id for one in read(path).records] == ["a", "c"]


def test_of_results_that_do_not_fit_nothing_is_left(tmp_path: Path) -> None:
    with room(600), pytest.raises(InputError, match=r"run.jsonl' cannot be written: File too large"):
        write_whole(tmp_path / "run.jsonl", manifest(), [record(f"s{at}") for at in range(20)])
    assert not list(tmp_path.iterdir())


def test_a_line_that_is_too_deep_is_no_line_of_a_log(tmp_path: Path) -> None:
    deep = "[" * 5000 + "]" * 5000
    (tmp_path / "run.jsonl").write_text(f'{{"kind": "manifest", "params": {{"a": {deep}}}}}\n')
    with pytest.raises(LogDamaged, match="its first line is no manifest"):
        read(tmp_path / "run.jsonl")


def test_a_whole_log_is_written_over_nothing_but_a_log(tmp_path: Path) -> None:
    path = tmp_path / "a"
    check_free(path, force=False)
    for content in (b"", b'{"kind":"manifest","prev":""}\n'):
        path.write_bytes(content)
        check_free(path, force=True)
        with pytest.raises(InputError, match="is there already: name another file, or add --force"):
            check_free(path, force=False)
    path.write_bytes(b'{"custom_id":"candidate/0/a"}\n')
    with pytest.raises(InputError, match="is no run log, and --force writes over nothing else"):
        check_free(path, force=True)
    with pytest.raises(InputError, match="cannot be written"):
        check_free(tmp_path, force=True)
