"""A small HTTP server that speaks the few endpoints of Qdrant's API which the harness uses, over the real client.

It is no Qdrant: its "index" is exact search that does not see the chunks in `hidden`, so that a test knows what the
index loses. `fails` holds answers (status, headers) to give first.
"""

import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

HNSW = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000}
OPTIMIZER = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "default_segment_number": 0,
    "flush_interval_sec": 5,
}


@dataclass
class Qdrant:
    """What the server holds and what it was asked."""

    collections: dict[str, dict[str, Any]] = field(default_factory=dict)
    points: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    fails: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    status: str = "green"
    indexed: int | None = None
    url: str = ""

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        match [method, *path.strip("/").split("/")]:
            case ["GET", "collections"]:
                return 200, {"collections": [{"name": name} for name in self.collections]}
            case [_, "collections", name, *_] if method != "PUT" and name not in self.collections:
                return 404, None
            case ["PUT", "collections", name]:
                self.collections[name], self.points[name] = body, {}
                return 200, True
            case ["GET", "collections", name]:
                return 200, self.info(name)
            case ["DELETE", "collections", name]:
                del self.collections[name], self.points[name]
                return 200, True
            case [_, "collections", name, "points", *rest]:
                return 200, self.on_points(name, rest, body)
        return 404, None

    def info(self, name: str) -> dict[str, Any]:
        held = self.collections[name]
        count = len(self.points[name])
        config = {"params": {"vectors": held["vectors"]}, "hnsw_config": HNSW, "optimizer_config": OPTIMIZER}
        return {
            "status": self.status,
            "optimizer_status": "ok",
            "indexed_vectors_count": count if self.indexed is None else self.indexed,
            "points_count": count,
            "segments_count": 1,
            "config": {**config, "metadata": held.get("metadata")},
            "payload_schema": {},
        }

    def on_points(self, name: str, rest: list[str], body: Any) -> Any:
        points = self.points[name]
        match rest:
            case []:
                points |= {point["id"]: point for point in body["points"]}
                return {"operation_id": 1, "status": "completed"}
            case ["delete"]:
                for each in body["points"]:
                    points.pop(each)
                return {"operation_id": 1, "status": "completed"}
            case ["count"]:
                return {"count": len(points)}
            case ["scroll"]:
                left = [each for each in sorted(points) if each >= (body.get("offset") or "")]
                page = left[: body["limit"]]
                after = left[len(page)] if len(left) > len(page) else None
                found = [{"id": each, "payload": points[each]["payload"]} for each in page]
                return {"points": found, "next_page_offset": after}
            case ["query"]:
                return {"points": self.nearest(list(points.values()), body)}
        raise AssertionError(rest)

    def nearest(self, points: list[dict[str, Any]], body: Any) -> list[dict[str, Any]]:
        exact = (body.get("params") or {}).get("exact")
        seen = [point for point in points if exact or point["payload"]["chunk"] not in self.hidden]
        asked = body["query"]["nearest"] if isinstance(body["query"], dict) else body["query"]
        scored = [(cosine(asked, point["vector"]), point) for point in seen]
        scored.reverse()  # of equals the last to arrive comes first: a client must not lean on any order
        best = sorted(scored, key=lambda pair: -pair[0])[: body["limit"]]
        return [{"id": p["id"], "version": 1, "score": score, "payload": p["payload"]} for score, p in best]


def cosine(a: list[float], b: list[float]) -> float:
    """The plain formula."""
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


Held = TypeVar("Held", bound=Qdrant)


@contextmanager
def running(state: Held) -> Iterator[Held]:
    """A server on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            state.keys.append(self.headers.get("api-key"))
            path = self.path.split("?")[0]
            state.asked.append((self.command, path, body))
            headers: dict[str, str] = {}
            if state.fails:
                (status, headers), result = state.fails.pop(0), None
            else:
                status, result = state.answer(self.command, path, body)
            said = "ok" if status == 200 else {"error": f"Not found or failed: {path}"}
            content = json.dumps({"result": result, "status": said, "time": 0.0}).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Type": "application/json"}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_DELETE = do_POST  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
