"""An S3-compatible server on loopback, that can be told to misbehave for a while."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import urlopen

import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from pyarrow import fs
from werkzeug.serving import make_server

from workers.files import locate

BUCKET = "bucket"


class ObjectStore:
    """A server with one bucket.

    Attributes:
        requests: how many there were.
        delay: seconds before every answer.
    """

    def __init__(self) -> None:
        self._application = DomainDispatcherApplication(create_backend_app)
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.requests = 0
        self.delay = 0.0
        self._status: str | None = None
        # What it holds is the process's, not the server's.
        urlopen(f"http://127.0.0.1:{self._server.server_port}/moto-api/reset", data=b"").close()
        filesystem, _ = locate(f"s3://{BUCKET}?{self.options}&allow_bucket_creation=true")
        filesystem.create_dir(BUCKET)

    @property
    def options(self) -> str:
        """What a URI says to come here."""
        return f"endpoint_override=127.0.0.1%3A{self._server.server_port}&scheme=http"

    @property
    def environment(self) -> dict[str, str]:
        """What the environment says to come here, where URIs do not."""
        url = f"http://127.0.0.1:{self._server.server_port}"
        return {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}

    def uri(self, path: str) -> str:
        """URI of something in the bucket."""
        return f"s3://{BUCKET}/{path}?{self.options}"

    @property
    def files(self) -> fs.FileSystem:
        """What is there, past all misbehaviour of the moment."""
        return locate(self.uri(""))[0]

    @contextmanager
    def failing(self, status: str = "503 Service Unavailable") -> Iterator[None]:
        """Answer every request with an error, until the context is left."""
        self._status = status
        try:
            yield
        finally:
            self._status = None

    def fail_for(self, seconds: float, status: str = "503 Service Unavailable") -> None:
        """Answer every request with an error for a while."""
        self._status = status
        threading.Timer(seconds, lambda: setattr(self, "_status", None)).start()

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.requests += 1
        time.sleep(self.delay)
        if self._status is not None:
            code = {"403": "AccessDenied", "503": "SlowDown"}.get(self._status[:3], "InternalError")
            body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>a test</Message></Error>".encode()
            if environ["REQUEST_METHOD"] == "HEAD":
                body = b""
            start_response(self._status, [("Content-Type", "text/xml"), ("Content-Length", str(len(body)))])
            return [body]
        return self._application(environ, start_response)  # type: ignore[no-any-return]

    def stop(self) -> None:
        """Nobody listens any more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def object_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """A server, and credentials that it accepts."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    store = ObjectStore()
    yield store
    store.stop()
