"""Records anew what a real vLLM answers: `python -m tests.engine.record http://127.0.0.1:8000 chat responses_stream`.

Each name is a file of `tests/samples`: its request is sent as it stands there, and its answer is replaced. A new
recording begins as a file with the request alone.
"""

import argparse
import asyncio
import time

from tests.engine import raw, recordings


async def record(url: str, name: str) -> None:
    """Send one request again, and write down the answer."""
    path = recordings.SAMPLES / f"{name}.txt"
    request = path.read_bytes().partition(b"\n\n< ")[0].rstrip(b"\n")
    asked = recordings.request(request)
    started = time.monotonic()
    answer = await raw.exchange(url, asked.method, asked.path, asked.sent, asked.sent_headers)
    took = (time.monotonic() - started) * 1000
    cut = "" if answer.whole else ", cut short"
    head = [f"< status {answer.status} ({took:.0f} ms{cut})", *(f"< {key}: {value}" for key, value in answer.headers)]
    path.write_bytes(request + b"\n\n" + "\n".join(head).encode() + b"\n\n" + answer.body)


async def main() -> None:
    """Record every name that was given, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("names", nargs="+", metavar="name")
    options = parser.parse_args()
    for name in options.names:
        await record(options.url, name)


if __name__ == "__main__":
    asyncio.run(main())
