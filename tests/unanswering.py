"""A server of Weights & Biases that begins a run and then answers nothing more."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_VIEWER = {
    "viewer": {
        "id": "VXNlcg==",
        "entity": "me",
        "username": "me",
        "flags": "{}",
        "teams": {"edges": []},
    }
}


def _bucket(asked: dict[str, Any]) -> dict[str, Any]:
    project = {"id": "UHJv", "name": asked.get("project"), "entity": {"id": "RW50", "name": "me"}}
    bucket = {
        "id": "QnVja2V0", "name": asked.get("name"), "displayName": asked.get("displayName"),
        "description": "", "config": "{}", "sweepName": None, "historyLineCount": 0,
        "project": project,
    }  # fmt: skip
    return {"upsertBucket": {"bucket": bucket, "inserted": True}}


class Server(ThreadingHTTPServer):
    """Counts what it was asked after it stopped to answer."""

    daemon_threads = True

    def __init__(self, begins: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.silent = threading.Event()
        self.unheard = 0
        if not begins:
            self.silent.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.say({})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.server.silent.is_set():
            self.server.unheard += 1
            threading.Event().wait(3600)
        packed = self.headers.get("content-encoding") == "gzip"
        try:
            asked = json.loads(gzip.decompress(raw) if packed else raw)
        except ValueError:
            asked = {}
        query = asked.get("query", "")
        if "upsertBucket" in query:  # the run has begun
            self.say({"data": _bucket(asked["variables"])})
            self.server.silent.set()
        else:
            self.say({"data": _VIEWER if "viewer" in query else {}})

    def say(self, answer: dict[str, Any]) -> None:
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@contextmanager
def unanswering(begins: bool = True) -> Iterator[Server]:
    """Run the server; `begins` lets a run begin before it falls silent."""
    server = Server(begins)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
