"""A stand-in for Google's object storage on this machine: as much of its JSON API as gcsfs and TensorStore use.

Objects have generations, and what is asked for on condition of one is done on that condition alone: TensorStore's
writers rely on it.

`python bucket.py` prints the port at which it answers.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime
import email.parser
import hashlib
import itertools
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http import HTTPStatus, server
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, quote, unquote, urlsplit

BUCKET = "bucket"
# Where it is told to fail.
_FAILS = "/fails"


@contextlib.contextmanager
def bucket() -> Iterator[dict[str, str]]:
    """The environment in which gs://bucket/ is an empty bucket; it is gone afterwards."""
    storage = subprocess.Popen(
        [sys.executable, Path(__file__)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        host = f"http://127.0.0.1:{int(storage.stdout.readline())}"
        yield {
            "STORAGE_EMULATOR_HOST": host,  # gcsfs
            "TENSORSTORE_GCS_HTTP_URL": host,
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "none",  # TensorStore
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # gcsfs asks of what kind the bucket is, as somebody
        }
    finally:
        storage.kill()
        storage.communicate()


@contextlib.contextmanager
def failing(environment: dict[str, str], what: str = "") -> Iterator[None]:
    """Meanwhile the bucket answers with nonsense whatever names `what`."""
    from urllib.request import Request, urlopen

    def set_to(value: str) -> None:
        urlopen(Request(f"{environment['STORAGE_EMULATOR_HOST']}{_FAILS}{value}", method="PUT")).close()

    set_to(f"?what={quote(what, safe='')}")
    try:
        yield
    finally:
        set_to("")


@dataclasses.dataclass(frozen=True)
class _Object:
    content: bytes
    generation: int

    def facts(self, name: str) -> dict:
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "kind": "storage#object",
            "bucket": BUCKET,
            "name": name,
            "size": str(len(self.content)),
            "generation": str(self.generation),
            "metageneration": "1",
            "timeCreated": now,
            "updated": now,
            "md5Hash": base64.b64encode(hashlib.md5(self.content).digest()).decode(),
        }


class _Failed(Exception):
    pass


class _Bucket(server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    objects: ClassVar[dict[str, _Object]] = {}
    uploads: ClassVar[dict[str, bytes]] = {}
    failing: ClassVar[list[str]] = []
    generations = itertools.count(1)
    one_at_a_time = threading.Lock()

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PUT = do_DELETE = do_GET

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        if any(what in unquote(self.path) for what in self.failing) and url.path != _FAILS:
            # On a connection of its own TensorStore takes mere nonsense for HTTP 0.9, and tries again for a quarter of an hour.
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\nnonsense\r\n")
            self.close_connection = True
            return
        with self.one_at_a_time:
            try:
                status, headers, content = self._done(url.path, query, body)
            except _Failed as failed:
                status, headers, content = failed.args[0], {}, b"{}"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            # These end with their headers: anything more is taken for the beginning of the connection's next answer.
            self.end_headers()
            return
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _done(self, path: str, query: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        if path == _FAILS:
            self.failing[:] = query.values()
            return HTTPStatus.OK, {}, b""
        if path.startswith("/batch/"):
            return self._many_deleted(body)
        found = re.fullmatch(rf"/(upload/|download/)?storage/v1/b/{BUCKET}(?:/o(?:/(.+))?)?", path)
        if not found:
            raise _Failed(HTTPStatus.NOT_FOUND)
        what, name = found[1], unquote(found[2] or "")
        if what == "upload/":
            return self._written(query, body)
        if name:
            if moved := re.fullmatch(r"(.+)/moveTo/o/(.+)", found[2]):
                return self._moved(*map(unquote, moved.groups()))
            if self.command == "DELETE":
                self._checked(name, query)
                self._existing(name)
                del self.objects[name]
                return HTTPStatus.NO_CONTENT, {}, b""
            if what == "download/" or query.get("alt") == "media":
                return self._read(name, query)
            return _json(self._existing(name).facts(name))
        return _json(
            self._listed(query) if path.endswith("/o") else {"kind": "storage#bucket", "name": BUCKET}
        )

    def _existing(self, name: str) -> _Object:
        if name not in self.objects:
            raise _Failed(HTTPStatus.NOT_FOUND)
        return self.objects[name]

    def _checked(self, name: str, query: dict[str, str]) -> None:
        now = self.objects[name].generation if name in self.objects else 0
        if int(query.get("ifGenerationMatch", now)) != now:
            raise _Failed(HTTPStatus.PRECONDITION_FAILED)
        if query.get("ifGenerationNotMatch") == str(now):
            raise _Failed(HTTPStatus.NOT_MODIFIED)

    def _read(self, name: str, query: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        held = self._existing(name)
        self._checked(name, query)
        headers = {
            "x-goog-generation": str(held.generation),
            "x-goog-stored-content-length": str(len(held.content)),
        }
        part = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not part or not held.content:
            return HTTPStatus.OK, headers, held.content
        size = len(held.content)
        first = int(part[1]) if part[1] else max(0, size - int(part[2]))
        last = min(int(part[2]), size - 1) if part[1] and part[2] else size - 1
        if first >= size:
            raise _Failed(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        return HTTPStatus.PARTIAL_CONTENT, headers, held.content[first : last + 1]

    def _written(self, query: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        if query["uploadType"] == "multipart":
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            # The parser takes any line end for its own; the content is cut out by hand.
            facts = email.parser.BytesParser().parsebytes(head + body).get_payload(0)
            name = json.loads(facts.get_payload())["name"]
            boundary = re.search(r'boundary="?([^"]+)"?', self.headers["Content-Type"])[1].encode()
            content = re.split(rb"\r?\n\r?\n", body, maxsplit=2)[2]
            content = re.sub(rb"\r?\n--" + re.escape(boundary) + rb"--\s*$", b"", content)
        elif query["uploadType"] == "media":
            name, content = query["name"], body
        elif "upload_id" not in query:
            begun = query.get("name") or json.loads(body)["name"]
            self.uploads[begun] = b""
            place = f"http://{self.headers['Host']}{self.path}&upload_id={quote(begun, safe='')}"
            return HTTPStatus.OK, {"Location": place}, b""
        else:
            name = query["upload_id"]
            self.uploads[name] += body
            if self.headers["Content-Range"].endswith("/*"):
                sent = {"Range": f"bytes=0-{len(self.uploads[name]) - 1}"}
                return HTTPStatus.PERMANENT_REDIRECT, sent, b""
            content = self.uploads.pop(name)
        self._checked(name, query)
        return _json(self._put(name, content).facts(name))

    def _put(self, name: str, content: bytes) -> _Object:
        self.objects[name] = _Object(content, next(self.generations))
        return self.objects[name]

    def _moved(self, name: str, to: str) -> tuple[int, dict[str, str], bytes]:
        held = self._existing(name)
        del self.objects[name]
        return _json(self._put(to, held.content).facts(to))

    def _many_deleted(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        names = re.findall(rf"DELETE /storage/v1/b/{BUCKET}/o/([^ ?]+)\S* HTTP", body.decode())
        parts = [
            f"--part\r\n\r\nHTTP/1.1 {204 if self.objects.pop(unquote(name), None) else 404} \r\n\r\n"
            for name in names
        ]
        headers = {"Content-Type": "multipart/mixed; boundary=part"}
        return HTTPStatus.OK, headers, f"{''.join(parts)}--part--".encode()

    def _listed(self, query: dict[str, str]) -> dict:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        first, end = query.get("startOffset", ""), query.get("endOffset")
        items, folders = [], set()
        for name in sorted(self.objects):
            if not name.startswith(prefix) or name < first or (end is not None and name >= end):
                continue
            rest = name[len(prefix) :]
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.split(delimiter)[0] + delimiter)
            else:
                items.append(self.objects[name].facts(name))
        return {"kind": "storage#objects", "items": items, "prefixes": sorted(folders)}

    def log_message(self, *_: object) -> None:
        pass


def _json(facts: dict) -> tuple[int, dict[str, str], bytes]:
    return HTTPStatus.OK, {"Content-Type": "application/json"}, json.dumps(facts).encode()


if __name__ == "__main__":
    with server.ThreadingHTTPServer(("127.0.0.1", 0), _Bucket) as storage:
        print(storage.server_port, flush=True)
        storage.serve_forever()
