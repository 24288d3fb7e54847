"""Reads the recordings of a real vLLM in `tests/samples`."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
_VARIES = re.compile(rb'("(?:id|item_id|call_id)":"[a-z]+(?:-tool)?[-_])[0-9a-f]{16}"|("created(?:_at)?":)\d+')
_NUMBER = re.compile(rb"-?\d+\.\d+(?:e-?\d+)?")
_CHOSEN = re.compile(rb'("(?:embedding|data|label)":)"[A-Za-z0-9+/=]+"')


@dataclass(frozen=True, slots=True)
class Request:
    """What was sent to a real engine."""

    method: str
    path: str
    sent_headers: dict[str, str]
    sent: bytes


@dataclass(frozen=True, slots=True)
class Recording(Request):
    """One exchange with a real engine."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def request(text: bytes) -> Request:
    """The request that a recording begins with."""
    first, headers, sent = text.split(b"\n", 2)
    method, path = first.decode().removeprefix("> ").split(" ")
    sent = sent.removeprefix(b"> ")
    return Request(
        method=method,
        path=path,
        sent_headers=json.loads(headers.removeprefix(b"> headers: ")),
        sent=b"" if sent == b"None" else sent,
    )


def load(name: str) -> Recording:
    """The recording in `<name>.txt`."""
    sent, head, body = (SAMPLES / f"{name}.txt").read_bytes().split(b"\n\n", 2)
    asked = request(sent)
    status, *lines = head.decode().split("\n")
    return Recording(
        method=asked.method,
        path=asked.path,
        sent_headers=asked.sent_headers,
        sent=asked.sent,
        status=int(status.split(" ")[2]),
        headers=[(line[2:].partition(": ")[0], line.partition(": ")[2]) for line in lines if line.startswith("< ")],
        body=body,
    )


def settled(body: bytes) -> bytes:
    """A body with its random ids and times made equal."""
    return _VARIES.sub(lambda match: (match[1] or match[2]) + b"0", body)


def blank(body: bytes) -> bytes:
    """A settled body without what a model has computed: scores, vectors, probabilities, classes."""
    return _CHOSEN.sub(rb'\1""', _NUMBER.sub(b"0.0", settled(body)))
