"""moto's S3 over HTTP on a port of loopback: `python s3_server.py PORT`.

S3 promises that of two conditional puts of one object one succeeds. moto looks first and puts then, in threads: so that
the promise holds here, too, one request is answered at a time.
"""

import logging
import sys
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

one_at_a_time = Lock()
application = DomainDispatcherApplication(create_backend_app)


def answer(environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    with one_at_a_time:
        return [b"".join(application(environment, start))]


if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    run_simple("127.0.0.1", int(sys.argv[1]), answer, threaded=True)
