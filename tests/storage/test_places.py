"""One contract for places: a folder of this machine, and a prefix on an S3 server."""

import pickle
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.errors import Misconfigured, Rejected, Unavailable
from jobs.fragment_file import FragmentFile
from jobs.readiness import parquet_paths, waiting_for
from jobs.settings import Settings
from jobs.spec_schedule import Ready
from jobs.storage import ObjectPath, Place, arrow, below, keep_json, place, remove_tree, stamp_of, storage_options
from jobs.storage_options import delta_options, filesystem
from jobs.table import open_table
from model_registry.evidence import Check


def write(where: Place, content: bytes = b"content") -> Place:
    where.parent.mkdir(parents=True, exist_ok=True)
    where.write_bytes(content)
    return where


def test_what_is_written_is_read(root: Place) -> None:
    where = write(root / "a" / "b.txt", "Zürich".encode())
    assert where.read_text(encoding="utf-8") == "Zürich"
    assert where.read_bytes() == "Zürich".encode()
    with where.open("rb") as content:
        assert content.read(2) == b"Z\xc3"
    assert (where.name, where.parent.name, below(where, root)) == ("b.txt", "a", "a/b.txt")
    assert where.stat().st_size == 7
    assert abs(where.stat().st_mtime - time.time()) < 3600
    assert pickle.loads(pickle.dumps(where)) == where


def test_what_is_there_and_what_is_not(root: Place) -> None:
    where = write(root / "a" / "b.txt")
    assert (where.exists(), where.is_file(), where.is_dir()) == (True, True, False)
    assert ((root / "a").exists(), (root / "a").is_file(), (root / "a").is_dir()) == (True, False, True)
    assert ((root / "c").exists(), (root / "c").is_file(), (root / "c").is_dir()) == (False, False, False)
    for missing in ((root / "c").stat, (root / "c").read_bytes, (root / "c").unlink):
        with pytest.raises(FileNotFoundError):
            missing()
    (root / "c").unlink(missing_ok=True)


def test_what_is_written_again_has_another_stamp(root: Place) -> None:
    path = write(root / "a" / "b", b"one")
    first = stamp_of(path, patient=True)
    assert stamp_of(path) == first
    write(path, b"two")
    assert stamp_of(path) != first
    path.unlink()
    with pytest.raises(FileNotFoundError):
        stamp_of(path)


def test_a_pattern_finds_files_and_folders_part_by_part(root: Place) -> None:
    for name in ("p=1/x.parquet", "p=1/y.parquet", "p=1/.z.parquet", "p=2/x.parquet", "q/x.parquet", "p=1/deep/x"):
        write(root / name)
    assert sorted(below(p, root) for p in root.glob("p=*")) == ["p=1", "p=2"]
    found = sorted(below(p, root) for p in root.glob("p=*/*.parquet"))
    assert found == ["p=1/.z.parquet", "p=1/x.parquet", "p=1/y.parquet", "p=2/x.parquet"]
    assert list((root / "nothing").glob("*")) == []


def test_nothing_that_could_hold_rows_lies_beside_the_files_of_a_partition(root: Place) -> None:
    folder = root / "p=1"
    if isinstance(folder, ObjectPath):
        filesystem(folder.scheme).create_dir(folder.key)  # the empty object that consoles make of a folder
    for name in ("b.parquet", "a.parquet", "_SUCCESS", "_temporary/x", ".b.parquet.crc", "a.parquet.crc", "DONE"):
        write(folder / name)
    ready = Ready(marker="DONE", quiet=timedelta(seconds=1))
    assert [p.name for p in parquet_paths(folder, ready)] == ["a.parquet", "b.parquet"]
    assert waiting_for(folder, ready, time.time() + 3600) is None
    write(folder / "hour=1" / "c.parquet")
    with pytest.raises(Rejected, match="p=1 holds hour=1, and rows in it would be left out"):
        parquet_paths(folder, ready)
    assert waiting_for(folder, ready, time.time() + 3600) is None


def test_a_tree_is_removed_and_its_neighbours_stay(root: Place) -> None:
    for name in ("a/1", "a/b/2", "ab/3"):
        write(root / name)
    remove_tree(root / "a")
    remove_tree(root / "never")
    assert not (root / "a" / "b" / "2").is_file()
    assert not (root / "a" / "1").exists()
    assert (root / "ab" / "3").is_file()


def test_a_removed_object_leaves_its_neighbours(root: Place) -> None:
    write(root / "a" / "1")
    write(root / "a" / "2").unlink()
    assert [p.name for p in (root / "a").glob("*")] == ["1"]


def test_json_and_parquet_go_both_ways(root: Place) -> None:
    check = Check("c", passed=True, observed=1, expected="1")
    keep_json(root / "deep" / "check.json", check)
    assert '"observed": 1' in (root / "deep" / "check.json").read_text()
    table = pa.table({"a": [1, 2]})
    path, files = arrow(root / "deep" / "t.parquet")
    pq.write_table(table, path, filesystem=files)
    assert pq.read_table(path, filesystem=files) == table


def test_a_url_and_an_absolute_path_stand_for_themselves(tmp_path: Path) -> None:
    assert place("sales", tmp_path) == tmp_path / "sales"
    assert place("/sales", tmp_path) == Path("/sales")
    assert place("file:///sales", tmp_path) == Path("/sales")
    assert place("s3://bucket/a/", tmp_path) == ObjectPath("s3", "bucket/a")
    assert place("b/c", ObjectPath("s3", "bucket")) == ObjectPath("s3", "bucket/b/c")
    assert str(ObjectPath("s3", "bucket/a")) == "s3://bucket/a"


def test_settings_take_urls_for_data_and_tables(tmp_path: Path) -> None:
    settings = Settings.from_environment(
        {"LAMPLIGHTER_HOME": str(tmp_path), "LAMPLIGHTER_DATA": "s3://in/rows", "LAMPLIGHTER_TABLES": "gs://out"}
    )
    assert (settings.data, settings.tables) == (ObjectPath("s3", "in/rows"), ObjectPath("gs", "out"))


def test_any_other_store_of_fsspec_can_be_read() -> None:
    where = place("memory://tests/a/b")
    where.write_bytes(b"x")
    assert where.read_bytes() == b"x"
    assert [str(p) for p in place("memory://tests").glob("*/*")] == ["memory://tests/a/b"]


@pytest.mark.parametrize("scheme", ["gopher", "s4"])
def test_what_is_no_store_says_so(scheme: str) -> None:
    with pytest.raises(Misconfigured, match=f"{scheme}:// is no place that can be read"):
        place(f"{scheme}://a/b").exists()


def test_tables_are_committed_with_a_put_that_cannot_overwrite() -> None:
    keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "eu-central-1"}
    expected = {"aws_access_key_id": "k", "aws_secret_access_key": "s", "aws_region": "eu-central-1"}
    assert delta_options("s3", keys) == expected | {"aws_conditional_put": "etag"}
    azure = {"AZURE_STORAGE_ACCOUNT_NAME": "a", "AZURE_STORAGE_ACCOUNT_KEY": "k"}
    assert delta_options("abfs", azure) == {"azure_storage_account_name": "a", "azure_storage_account_key": "k"}
    google = {"GOOGLE_APPLICATION_CREDENTIALS": "/key.json"}
    assert delta_options("gs", google) == {"google_application_credentials": "/key.json"}
    assert storage_options(Path("/tables")) is None
    with pytest.raises(Misconfigured, match="A Delta table cannot be at memory://"):
        storage_options(place("memory://tables"))


def test_an_endpoint_without_encryption_must_be_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    env = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"}
    with pytest.raises(Misconfigured, match="is not encrypted: set AWS_ALLOW_HTTP=true"):
        delta_options("s3", env)
    assert delta_options("s3", env | {"AWS_ALLOW_HTTP": "true"})["aws_allow_http"] == "true"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9000")
    monkeypatch.delenv("AWS_ALLOW_HTTP", raising=False)
    with pytest.raises(Misconfigured, match="is not encrypted"):
        place("s3://bucket/a").exists()


def test_the_stores_of_the_three_clouds_are_pyarrows_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    assert [filesystem(s).type_name for s in ("s3", "gs", "abfs")] == ["s3", "gcs", "abfs"]
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME")
    with pytest.raises(Misconfigured, match="needs AZURE_STORAGE_ACCOUNT_NAME"):
        filesystem("abfs")


def test_a_store_that_does_not_answer_is_unavailable_and_one_that_refuses_is_not(
    s3: str, monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    with pytest.raises(Misconfigured, match="is refused"):
        place("s3://no-such-bucket-here/a").write_bytes(b"x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed_port}")
    with pytest.raises(Unavailable, match="does not answer"):
        place(f"{s3}/a").read_bytes()
    with pytest.raises(Unavailable, match=r"/table does not answer: .*Generic S3 error") as found:
        open_table(place(f"{s3}/table"))
    assert str(found.value).isprintable()


def test_a_fragment_whose_store_does_not_answer_is_a_sentence(
    s3: str, monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed_port}")
    fragment = FragmentFile(f"{s3}/table", "a.parquet")
    with pytest.raises(Unavailable, match="does not answer"), fragment:
        fragment.write(pa.table({"toy_id": ["a"]}))


@pytest.fixture
def closed_port() -> Any:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
