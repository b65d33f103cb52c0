"""What is put aside comes back as it was, in one open file, which is gone with the process."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.input_gate import judge_partitions
from jobs.key_counts import KeyCounts
from jobs.spill import Piece, Spill


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@given(pieces=st.lists(st.binary(max_size=200), max_size=20), most=st.integers(1, 50))
def test_pieces_come_back_as_they_were_even_when_the_system_takes_little_at_a_time(
    pieces: list[bytes], most: int
) -> None:
    write, read = os.pwrite, os.pread
    spill = Spill()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwrite", lambda file, data, at: write(file, data[:most], at))
        patch.setattr(os, "pread", lambda file, size, at: read(file, min(size, most), at))
        put = [spill.put(pa.py_buffer(piece)) for piece in pieces]
        assert [spill.get(piece).to_pybytes() for piece in put] == pieces
        whole = b"".join(pieces)
        assert (
            spill.get(Piece(len(whole) // 3, len(whole) // 2)).to_pybytes()
            == whole[len(whole) // 3 :][: len(whole) // 2]
        )


def test_tables_come_back_together() -> None:
    spill = Spill()
    table = pa.table({"k": [1, 2, None], "t": pa.array(["a", None, "b"]).dictionary_encode()})
    pieces = [spill.put_table(table.slice(start, 2)) for start in (0, 2)]
    assert spill.tables(pieces).to_pylist() == table.to_pylist()


def test_it_takes_one_open_file_and_gives_it_back() -> None:
    before = open_files()
    counts = KeyCounts(held=100)
    counts.add(pa.table({"k": np.arange(5_000)}))
    assert open_files() == before + 1
    assert sum(map(len, counts.groups())) == 5_000
    del counts
    assert open_files() == before


KILLED = """
import os, signal, sys
import numpy as np, pyarrow as pa
from jobs.key_counts import KeyCounts
counts = KeyCounts(held=100)
counts.add(pa.table({"k": np.arange(5_000)}))
assert counts._shares
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED], env=os.environ | {"TMPDIR": str(tmp_path)}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


def test_many_checks_for_unique_values_take_few_open_files(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = shop.job("2026-01-14").spec
    unique = {"expectation": "expect_column_values_to_be_unique", "arguments": {"column": "toy_id"}}
    spec = type(spec).model_validate(spec.model_dump(mode="json") | {"input_checks": [unique] * 9})
    most = 0
    add = KeyCounts.add

    def watched(self: KeyCounts, keys: pa.Table) -> None:
        nonlocal most
        self._held = 10  # so that they all go to disk
        add(self, keys)
        most = max(most, open_files())

    monkeypatch.setattr(KeyCounts, "add", watched)
    before = open_files()
    found = judge_partitions(shop.settings, spec, [shop.job("2026-01-14").partition])
    assert found.report.passed
    assert before < most < before + 30
