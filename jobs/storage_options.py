"""How object stores are reached: from the usual variables of each store, the same for pyarrow and for Delta tables.

S3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL, AWS_ALLOW_HTTP. GCS:
GOOGLE_APPLICATION_CREDENTIALS. Azure: AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN.
docs/storage.md says what was tried against what.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from jobs.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow.fs as pafs

S3, GCS, AZURE = ("s3", "s3a"), ("gs", "gcs"), ("az", "abfs", "abfss")
TRUE = {"1", "true", "yes"}
CONDITIONAL_PUT = "etag"
"""A commit to a Delta table on S3 is a put that fails when the object is there: without it a writer could overwrite."""


def delta_options(scheme: str, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """The `storage_options` of a Delta table at a URL of this scheme. Raises Misconfigured when there can be none."""
    env = os.environ if env is None else env
    if scheme in S3:
        names = ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "REGION", "ENDPOINT_URL")
        given = {f"aws_{name.lower()}": env[f"AWS_{name}"] for name in names if env.get(f"AWS_{name}")}
        http = {"aws_allow_http": "true"} if _http(env) else {}
        return given | http | {"aws_conditional_put": CONDITIONAL_PUT}
    if scheme in AZURE:
        azure = [f"AZURE_STORAGE_{name}" for name in ("ACCOUNT_NAME", "ACCOUNT_KEY", "SAS_TOKEN")]
        return {name.lower(): env[name] for name in azure if env.get(name)}
    if scheme in GCS:
        path = env.get("GOOGLE_APPLICATION_CREDENTIALS")
        return {"google_application_credentials": path} if path else {}
    raise Misconfigured(f"A Delta table cannot be at {scheme}://: take a folder, s3://, gs:// or abfs://.")


def filesystem(scheme: str) -> pafs.FileSystem:
    """The file system of pyarrow for URLs of this scheme, as the variables are now. Raises Misconfigured."""
    relevant = {k: v for k, v in os.environ.items() if k.startswith(("AWS_", "AZURE_", "GOOGLE_", "STORAGE_EMULATOR"))}
    return _filesystem(scheme, tuple(sorted(relevant.items())))


@cache
def _filesystem(scheme: str, variables: tuple[tuple[str, str], ...]) -> pafs.FileSystem:
    import pyarrow.fs as pafs

    env = dict(variables)
    if scheme in S3:
        return pafs.S3FileSystem(**_s3(env))
    if scheme in GCS:
        return pafs.GcsFileSystem()
    if scheme in AZURE:
        name = env.get("AZURE_STORAGE_ACCOUNT_NAME")
        if not name:
            raise Misconfigured(f"{scheme}:// needs AZURE_STORAGE_ACCOUNT_NAME: set it.")
        return pafs.AzureFileSystem(
            name, account_key=env.get("AZURE_STORAGE_ACCOUNT_KEY"), sas_token=env.get("AZURE_STORAGE_SAS_TOKEN")
        )
    import fsspec

    try:
        return pafs.PyFileSystem(pafs.FSSpecHandler(fsspec.filesystem(scheme)))
    except (ValueError, ImportError) as error:
        raise Misconfigured(f"{scheme}:// is no place that can be read: {str(error)[:200]}.") from error


def _s3(env: Mapping[str, str]) -> dict[str, Any]:
    endpoint = env.get("AWS_ENDPOINT_URL", "")
    _http(env)
    names = {
        "access_key": "AWS_ACCESS_KEY_ID",
        "secret_key": "AWS_SECRET_ACCESS_KEY",
        "session_token": "AWS_SESSION_TOKEN",
        "region": "AWS_REGION",
    }
    options: dict[str, Any] = {name: env[variable] for name, variable in names.items() if env.get(variable)}
    if endpoint:
        scheme, _, host = endpoint.rpartition("://")
        options |= {"endpoint_override": host.rstrip("/"), "scheme": scheme or "https"}
    return options


def _http(env: Mapping[str, str]) -> bool:
    """Whether the endpoint is spoken to without encryption, which somebody must have said twice."""
    endpoint = env.get("AWS_ENDPOINT_URL", "")
    if not endpoint.startswith("http://"):
        return False
    if env.get("AWS_ALLOW_HTTP", "").lower() not in TRUE:
        raise Misconfigured(f"AWS_ENDPOINT_URL={endpoint} is not encrypted: set AWS_ALLOW_HTTP=true if that is meant.")
    return True
