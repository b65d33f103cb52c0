"""Training a version again from what was kept of it, and comparing digests. Nothing is registered, nothing changes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from jobs.code_version import ENVIRONMENT_FILE, ModelCode, environment
from jobs.compiled.form import NotCompiledError
from jobs.compiled.format import DESCRIPTION
from jobs.errors import Misconfigured, Rejected, Tampered, TamperedSnapshot
from jobs.fit import fit
from jobs.predictor import DATA
from jobs.provenance import code_of, environment_of, snapshot_of
from jobs.snapshot import read_part, rows_of
from jobs.spec_file import PIPELINE_FILE, SPEC_FILE, load_pipeline_module, parse_spec
from jobs.train import save_version
from model_registry.artifacts import MANIFEST, digest_of, manifest, verified
from model_registry.store import Version

if TYPE_CHECKING:
    from jobs.compiled.form import Plan
    from jobs.predictor import Predictor
    from jobs.settings import Settings
    from jobs.snapshot import Rows, Snapshot
    from jobs.spec import ModelSpec
    from model_registry.promotion import Registry
    from model_registry.store import RegistryStore


@dataclass(frozen=True)
class Reproduction:
    """A version that came out the same when it was trained again."""

    version: Version
    digest: str
    snapshot: str
    partitions: int
    rows: int
    seed: int

    def sentence(self) -> str:
        """The result for a person."""
        return (
            f"{self.version} is reproduced: {self.rows:,} rows of {self.partitions} partitions and the seed "
            f"{self.seed} give the digest {self.digest[:12]} again."
        )


def reproduce(settings: Settings, registry: Registry, model: str, number: int) -> Reproduction:
    """Fit a version again from its snapshot, its own model.yaml and pipeline.py, and its seed.

    Its pipeline.py is run only when it is the one that was pinned at registration. Raises Rejected when another digest
    comes out, or a part of the snapshot is missing or changed; Tampered when what the run kept is not what was pinned;
    UnknownVersion; and Misconfigured for a version from before snapshots were kept.
    """
    version = registry.store.version(model, number)
    if not (version.snapshot and version.code):
        raise Misconfigured(
            f"{version} was registered before snapshots were kept and cannot be reproduced: retrain the model for a "
            f"later partition."
        )
    code, snapshot = code_of(registry.store, version), snapshot_of(registry.store, version)
    spec = parse_spec(code.spec, f"{SPEC_FILE} of {version}")
    with TemporaryDirectory() as scratch:
        files = Path(scratch) / "model"
        rows, compiled = _rows(settings, version, snapshot, spec), _has_compiled_form(registry.store, version)
        _train(Path(scratch), files, version, code, spec, rows, compiled=compiled)
        made = digest_of(files)
        if made != version.digest:
            raise Rejected(_difference(settings, registry.store, version, files, made))
    return Reproduction(version, made, snapshot.digest, len(snapshot.training), snapshot.rows, spec.training.seed)


def _rows(settings: Settings, version: Version, snapshot: Snapshot, spec: ModelSpec) -> Rows:
    try:
        return rows_of([read_part(settings.snapshots, version.model, part) for part in snapshot.training], spec)
    except TamperedSnapshot as error:
        raise Rejected(f"{version} cannot be reproduced. {error}") from error


def _plan(predictor: Predictor) -> Plan | None:
    from jobs.compiled.compile import compile_predictor

    try:
        return compile_predictor(predictor)
    except NotCompiledError:  # something differs, and the digests will tell
        return None


def _has_compiled_form(store: RegistryStore, version: Version) -> bool:
    """Whether it agreed on the holdout then: that is not asked for again, the digest tells if the form is the same."""
    return f'"{DATA}/{DESCRIPTION}"' in (store.run_file(version, MANIFEST) or "")


def _train(
    scratch: Path, files: Path, version: Version, code: ModelCode, spec: ModelSpec, rows: Rows, *, compiled: bool
) -> None:
    folder = scratch / "models" / version.model
    folder.mkdir(parents=True)
    (folder / PIPELINE_FILE).write_text(code.pipeline, encoding="utf-8")
    module = load_pipeline_module(folder.parent, version.model)
    predictor = fit(module, spec, rows)
    save_version(files, predictor, spec, version.mlflow_run_id, _plan(predictor) if compiled else None)


def _difference(settings: Settings, store: RegistryStore, version: Version, files: Path, made: str) -> str:
    """What came out different and what may be why, in two sentences."""
    said = f"{version} is not reproduced: its digest is {version.digest[:12]}, and now {made[:12]} came out"
    why = _reason(store, version)
    try:
        before, now = manifest(verified(store, version, settings.cache)), manifest(files)
    except Tampered as error:
        return f"{said}. {error} {why}"
    names = sorted(name for name in before | now if before.get(name) != now.get(name))
    names.sort(key=lambda name: not name.startswith(DATA))  # the fitted pipeline first, then what describes it
    fitted = names[0].startswith(DATA)
    shown = f"{', '.join(names[:4])}{f' and {len(names) - 4} more' if len(names) > 4 else ''}"
    kind = "different are" if fitted else "the fitted pipeline is the same, and different are only"
    return f"{said}; {kind} {shown}. {why}"


def _reason(store: RegistryStore, version: Version) -> str:
    before = environment_of(store, version)
    if before is None:
        return f"Where it was trained is not known: its run has no {ENVIRONMENT_FILE} that can be read."
    changes = before.changes(environment())
    if changes:
        return f"A likely reason: {'; '.join(changes)}. Run it again where that is as it was."
    return "Code and packages are the same: look for what is random in pipeline.py and does not take the seed."
