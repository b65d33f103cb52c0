"""Whether a cluster is where its address says, asked in a moment."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from jobs.errors import Misconfigured, Unavailable

PATIENCE = 5


def reach(cluster: str, address: str, example: str, variable: str) -> None:
    """Raise Misconfigured for what is no address of a `cluster`, and Unavailable when nobody answers there.

    Asked before the cluster's own library is: Spark's tries for a minute and then ends the process, and a client of
    Dask that failed is closed when it is collected, which may wait for itself for ever.
    """
    try:
        parts = urlsplit(address if "//" in address else f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host is None or port is None:
        raise Misconfigured(f"{address!r} is no address of a {cluster}: write one like {example}.")
    try:
        socket.create_connection((host, port), timeout=PATIENCE).close()
    except OSError as error:
        raise Unavailable(f"No {cluster} answers at {address}: start it, or unset {variable}.") from error
