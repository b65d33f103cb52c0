"""Damage that a disk does."""

from pathlib import Path

import pyarrow.parquet as pq


def break_at(path: Path, where: str) -> None:
    """Turn a byte of the footer, or of a column's values."""
    content = bytearray(path.read_bytes())
    groups = pq.ParquetFile(path).metadata.row_group(0)
    columns = {groups.column(n).path_in_schema: groups.column(n) for n in range(groups.num_columns)}
    if where == "footer":
        place = len(content) - int.from_bytes(content[-8:-4], "little") - 8 + 1
    else:
        place = columns[where].data_page_offset + columns[where].total_compressed_size - 2
    content[place] ^= 0xFF
    path.write_bytes(bytes(content))
