"""The registry in MLflow, through its client. Stages are aliases; the legacy stage field is kept in step."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from model_registry.codec import digest, from_json, to_json
from model_registry.errors import Misconfigured, Unavailable, UnknownVersion
from model_registry.metric_gate import Decision
from model_registry.store import NewVersion, Stage, Version

if TYPE_CHECKING:
    from collections.abc import Iterator

TAG = "lamplighter."
LEGACY = {Stage.staging: "Staging", Stage.production: "Production", Stage.archived: "Archived"}


class MlflowStore:
    """A `RegistryStore` on an MLflow tracking and registry server (or its database), named by its URI."""

    def __init__(self, uri: str) -> None:
        from mlflow import MlflowClient

        self._uri = uri
        with self._answering():
            self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)

    def register(self, new: NewVersion) -> Version:
        """See `RegistryStore.register`."""
        for version in self.versions(new.model):
            if (version.digest, version.partition) == (new.digest, new.partition):
                return version
        tags = {
            "digest": new.digest,
            "signature": new.signature,
            "target": new.target,
            "partition": new.partition,
            "trained_from": new.trained_from.isoformat(),
            "trained_until": new.trained_until.isoformat(),
            **{name: value for name, value in (("snapshot", new.snapshot), ("code", new.code)) if value},
        }
        with self._answering():
            self._ensure_model(new.model)
            found = self._client.create_model_version(
                new.model,
                source=new.artifact_uri,
                run_id=new.mlflow_run_id,
                tags={TAG + key: value for key, value in tags.items()},
                description=f"Retrained for partition {new.partition}.",
            )
        return new.numbered(int(found.version))

    def version(self, model: str, number: int) -> Version:
        """See `RegistryStore.version`."""
        with self._answering(f"{model} has no version {number} in MLflow"):
            return _version(self._client.get_model_version(model, str(number)))

    def versions(self, model: str) -> list[Version]:
        """See `RegistryStore.versions`. Versions that were registered by other means are left out."""
        with self._answering():
            found = self._client.search_model_versions(f"name='{model}'", max_results=10_000)
        ours = [_version(v) for v in found if TAG + "digest" in v.tags]
        return sorted(ours, key=lambda version: version.number)

    def alias(self, model: str, stage: Stage) -> int | None:
        """See `RegistryStore.alias`."""
        from mlflow.exceptions import MlflowException

        try:
            with self._answering():
                return int(self._client.get_model_version_by_alias(model, stage.value).version)
        except MlflowException as error:
            if _absent(error):
                return None
            raise

    def set_alias(self, model: str, stage: Stage, number: int) -> None:
        """See `RegistryStore.set_alias`."""
        with self._answering(f"{model} has no version {number} in MLflow"):
            self._client.set_registered_model_alias(model, stage.value, str(number))
        if stage is not Stage.production and self.alias(model, Stage.production) == number:
            return  # the legacy field holds one stage, and readers of it look for production
        if stage is not Stage.production or not self._replaced_at_once(model, number):
            self._transition(model, number, LEGACY[stage])
        if stage is Stage.staging:
            self._empty(model, LEGACY[stage], number, "None")

    def drop_alias(self, model: str, stage: Stage) -> None:
        """See `RegistryStore.drop_alias`."""
        number = self.alias(model, stage)
        if number is None:
            return
        with self._answering():
            self._client.delete_registered_model_alias(model, stage.value)
            legacy = self._client.get_model_version(model, str(number)).current_stage
        if legacy == LEGACY[stage]:
            self._transition(model, number, "None")

    def _transition(self, model: str, number: int, legacy: str) -> None:
        with self._answering(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # deprecated by MLflow: kept in step while it exists
            self._client.transition_model_version_stage(model, str(number), legacy)

    def _replaced_at_once(self, model: str, number: int) -> bool:
        """Have MLflow move the version to the legacy stage, and what was there out of it, in one transaction.

        A server on PostgreSQL through psycopg 3 cannot: the others are archived one by one then, and False returned.
        """
        from mlflow.exceptions import MlflowException

        version: Any = (
            str(number) if self._uri.startswith("http") else number
        )  # psycopg 3 compares no text with numbers
        production = LEGACY[Stage.production]
        try:
            with self._answering(), warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                self._client.transition_model_version_stage(model, version, production, archive_existing_versions=True)
        except MlflowException:
            self._empty(model, production, number, LEGACY[Stage.archived])
            return False
        return True

    def _empty(self, model: str, legacy: str, number: int, instead: str) -> None:
        """Leave nothing but the version in a legacy stage."""
        with self._answering():
            found = self._client.search_model_versions(f"name='{model}'", max_results=10_000)
        for other in found:
            if other.current_stage == legacy and int(other.version) != number:
                self._transition(model, int(other.version), instead)

    def tag(self, version: Version, name: str, text: str) -> None:
        """See `RegistryStore.tag`."""
        with self._answering(f"{version} is not in MLflow"):
            self._client.set_model_version_tag(version.model, str(version.number), TAG + name, text)

    def attach(self, decision: Decision, page: str | None = None) -> None:
        """See `RegistryStore.attach`."""
        version = decision.candidate
        with self._answering(f"{version} is not in MLflow"):
            self._client.log_text(version.mlflow_run_id, to_json(decision), _evidence_path(version))
            if page is not None:
                self._client.log_text(version.mlflow_run_id, page, _evidence_path(version).replace(".json", ".html"))
            against = f"version {decision.champion.number}" if decision.champion else "no champion"
            tags = {
                "judged_against": against,
                "action": decision.action.value,
                "verdict": decision.report.verdict()[:500],
                "evidence": digest(decision),
            }
            for key, value in tags.items():
                self._client.set_model_version_tag(version.model, str(version.number), TAG + key, value)

    def evidence(self, version: Version) -> Decision | None:
        """See `RegistryStore.evidence`."""
        with self._answering(f"{version} is not in MLflow"):
            tags = self._client.get_model_version(version.model, str(version.number)).tags
        pinned = tags.get(TAG + "evidence")
        if pinned is None:
            return None
        decision = self._kept_decision(version)
        if decision is None or digest(decision) != pinned:
            raise Misconfigured(f"The report kept with {version} was changed after it was attached: judge it again.")
        return decision

    def _kept_decision(self, version: Version) -> Decision | None:
        text = self.run_file(version, _evidence_path(version))
        try:
            return None if text is None else from_json(Decision, text)
        except ValueError:
            return None

    def run_file(self, version: Version, name: str) -> str | None:
        """See `RegistryStore.run_file`."""
        run, folder = version.mlflow_run_id, name.rpartition("/")[0]
        with self._answering(f"The run of {version} is not in MLflow"), TemporaryDirectory() as scratch:
            if name not in {found.path for found in self._client.list_artifacts(run, folder or None)}:
                return None
            local = Path(self._client.download_artifacts(run, name, scratch))
            return local.read_text(encoding="utf-8", errors="replace")

    def fetch(self, version: Version, folder: Path) -> Path:
        """See `RegistryStore.fetch`."""
        import mlflow.artifacts

        with self._answering(f"{version} has no files in MLflow"):
            return Path(
                mlflow.artifacts.download_artifacts(
                    artifact_uri=version.artifact_uri, dst_path=str(folder), tracking_uri=self._uri
                )
            )

    def _ensure_model(self, model: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    @contextmanager
    def _answering(self, absent: str | None = None) -> Iterator[None]:
        """Turn a registry that does not answer into Unavailable, and an absent thing into UnknownVersion."""
        from mlflow.exceptions import MlflowException
        from requests.exceptions import ConnectionError as NoConnection
        from sqlalchemy.exc import InterfaceError, OperationalError

        silent = f"MLflow at {_without_password(self._uri)} does not answer: is it running?"
        try:
            yield
        except MlflowException as error:
            if absent is not None and _absent(error):
                raise UnknownVersion(f"{absent}.") from error
            unreachable = error.error_code == "INTERNAL_ERROR" and "API request to" in str(error)
            if unreachable or error.error_code == "TEMPORARILY_UNAVAILABLE":
                raise Unavailable(silent) from error
            raise
        except (NoConnection, InterfaceError, OperationalError) as error:  # MLflow opens its database without a net
            raise Unavailable(silent) from error


def _without_password(uri: str) -> str:
    password = urlsplit(uri).password
    return uri.replace(f":{password}@", ":***@", 1) if password else uri


def _absent(error: Any) -> bool:
    absent = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}  # the latter for an alias of a model without any
    return error.error_code in absent and "not found" in str(error).lower()


def _evidence_path(version: Version) -> str:
    return f"evidence/metric-gate-{version.model}-{version.number}.json"


def _version(found: Any) -> Version:
    tags = found.tags
    try:
        return Version(
            model=found.name,
            number=int(found.version),
            digest=tags[TAG + "digest"],
            signature=tags[TAG + "signature"],
            partition=tags[TAG + "partition"],
            trained_from=datetime.fromisoformat(tags[TAG + "trained_from"]),
            trained_until=datetime.fromisoformat(tags[TAG + "trained_until"]),
            mlflow_run_id=found.run_id,
            artifact_uri=found.source,
            snapshot=tags.get(TAG + "snapshot", ""),
            code=tags.get(TAG + "code", ""),
            target=tags.get(TAG + "target", ""),
            semver=tags.get(TAG + "semver", ""),
            override=tags.get(TAG + "override", ""),
        )
    except KeyError as error:
        raise Misconfigured(
            f"{found.name} version {found.version} was not registered by Lamplighter (no tag {error.args[0]}): "
            f"retrain the model with `lamplighter train`, or point the alias to a version that it registered."
        ) from error
