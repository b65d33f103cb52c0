"""A fragment's file: how it is laid out, and that what ended its writing is what one is told."""

import errno
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.errors import Unavailable
from jobs.fragment_file import FragmentFile
from jobs.storage import open_parquet
from jobs.table import predictions_schema, rejected_schema

NAME = "partition=2026-01-16/000000-attempt-00000-0.parquet"
KEY = pa.schema([("toy_id", pa.string())])
KEYS = [f"toy-{n}" for n in range(50)]
PREDICTIONS = pa.table([KEYS, [n / 50 for n in range(50)], [1] * 50], schema=predictions_schema(KEY))
REJECTED = pa.table([KEYS, ["price:null"] * 50], schema=rejected_schema(KEY))


def write(folder: Path, *tables: pa.Table) -> Path:
    with FragmentFile(str(folder), NAME) as file:
        for table in tables:
            file.write(table)
    return folder / NAME


def fail_with(error: Exception, folder: Path, *tables: pa.Table) -> None:
    with FragmentFile(str(folder), NAME) as file:
        for table in tables:
            file.write(table)
        raise error


@pytest.mark.parametrize(
    ("rows", "repeated"), [(PREDICTIONS, set()), (REJECTED, {"reason"})], ids=["predictions", "rejected"]
)
def test_only_texts_of_few_values_have_a_dictionary_and_all_are_compressed(
    tmp_path: Path, rows: pa.Table, repeated: set[str]
) -> None:
    group = pq.read_metadata(write(tmp_path, rows)).row_group(0)
    columns = [group.column(n) for n in range(group.num_columns)]
    assert {c.path_in_schema for c in columns if c.has_dictionary_page} == repeated
    assert {c.path_in_schema: c.compression for c in columns} == {
        name: "SNAPPY" if name == "score" else "ZSTD" for name in rows.column_names
    }


def test_keys_that_are_whole_numbers_are_written_as_differences(tmp_path: Path) -> None:
    path = write(tmp_path, pa.table({"id": list(range(50)), "score": [0.5] * 50}))
    assert "DELTA_BINARY_PACKED" in pq.read_metadata(path).row_group(0).column(0).encodings


def test_a_bit_that_flips_in_a_page_is_noticed_by_who_reads_the_rows(tmp_path: Path) -> None:
    path = write(tmp_path, PREDICTIONS, PREDICTIONS)
    assert open_parquet(path).read(use_threads=False).num_rows == 100
    scores = pq.read_metadata(path).row_group(0).column(1)
    content = bytearray(path.read_bytes())
    content[scores.data_page_offset + scores.total_compressed_size - 1] ^= 1
    path.write_bytes(content)
    with pytest.raises(OSError, match="CRC checksum"):
        open_parquet(path).read(use_threads=False)


def test_times_are_kept_to_the_microsecond_that_the_table_has(tmp_path: Path) -> None:
    at = pa.array([datetime(2026, 1, 16, 1, 2, 3, 4, tzinfo=UTC)]).cast(pa.timestamp("ns", "UTC"))
    path = write(tmp_path, pa.table({"at": at}))
    assert pq.read_schema(path).field("at").type == pa.timestamp("us", "UTC")


def test_an_error_before_the_first_row_is_the_error_that_one_sees(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="oh"):
        fail_with(KeyError("oh"), tmp_path)
    with pytest.raises(KeyError, match="oh"):
        fail_with(KeyError("oh"), tmp_path, PREDICTIONS.slice(0, 0))
    assert list(tmp_path.rglob("*.parquet")) == []


def full_at_the_end(patch: pytest.MonkeyPatch, *, gone: Path | None = None) -> None:
    """The disk is full for the last bytes of a file, which somebody has swept meanwhile if it is `gone`."""
    close = pq.ParquetWriter.close

    def full(writer: pq.ParquetWriter) -> None:
        close(writer)
        if gone is not None:
            gone.unlink()
        raise OSError(errno.ENOSPC, "No space left on device")

    patch.setattr(pq.ParquetWriter, "close", full)


@pytest.mark.parametrize("swept", [False, True])
def test_an_error_on_a_disk_that_is_full_besides_is_the_error_that_one_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swept: bool
) -> None:
    full_at_the_end(monkeypatch, gone=tmp_path / NAME if swept else None)
    with pytest.raises(KeyError, match="oh"):
        fail_with(KeyError("oh"), tmp_path, PREDICTIONS)
    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize("swept", [False, True])
def test_a_disk_that_is_full_at_the_end_is_a_sentence_also_when_the_file_was_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swept: bool
) -> None:
    full_at_the_end(monkeypatch, gone=tmp_path / NAME if swept else None)
    with pytest.raises(Unavailable, match="is full"):
        write(tmp_path, PREDICTIONS)
    assert not (tmp_path / NAME).exists()
