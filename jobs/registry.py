"""The registry that the settings name: MLflow and the ledger, made ready on first use."""

from __future__ import annotations

import os
from pathlib import Path

from jobs.settings import Settings, make_folder
from model_registry.ledger import Ledger
from model_registry.promotion import Registry

MLFLOW_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # Airflow's retries are the patient ones
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def open_registry(settings: Settings) -> Registry:
    """The registry of these settings. Raises Unavailable when its databases or servers do not answer."""
    prepare_mlflow(settings)
    from model_registry.mlflow_store import MlflowStore

    return Registry(MlflowStore(settings.tracking_uri), open_ledger(settings))


def open_ledger(settings: Settings) -> Ledger:
    """The ledger alone, without MLflow; to be closed by the caller. Raises Unavailable."""
    return Ledger(settings.ledger_url)


def prepare_mlflow(settings: Settings) -> None:
    """What must be true before MLflow is imported: its environment, and the folder of a local database."""
    for name, value in MLFLOW_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for url in (settings.ledger_url, settings.tracking_uri):
        if url.startswith("sqlite:///"):
            make_folder(Path(url.removeprefix("sqlite:///")).parent, "LAMPLIGHTER_HOME")
