"""Verdict files: every `*.dsse.json` of a folder, verified against the trusted keys."""

from collections.abc import Sequence
from pathlib import Path

from gateway.contracts import attestation
from gateway.contracts.errors import VerdictError
from gateway.contracts.verdict import Verdict

SUFFIX = ".dsse.json"
MAX_BYTES = 1024 * 1024


def read_verdicts(folder: Path, trusted_keys: Sequence[Path]) -> tuple[list[Verdict], list[str]]:
    """(verified verdicts, what is wrong with each file that was not).

    A folder that does not exist holds no verdict. Raises VerdictError when a trusted key cannot be read: then nothing
    can be decided.
    """
    trusted = [attestation.load_public(path) for path in trusted_keys]
    verdicts: list[Verdict] = []
    problems: list[str] = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            verdicts.append(attestation.verify(_read(path), trusted))
        except VerdictError as error:
            problems.append(f"{path.name}: {error}")
    return verdicts, problems


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise VerdictError(f"larger than {MAX_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise VerdictError(f"cannot be read: {error.strerror}") from error
