"""Reading back the files that were published: when one is gone or broken, it is nothing that can be delivered again."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa

from jobs.errors import Misconfigured, in_brief
from jobs.storage import Place, open_parquet, reaching

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow.dataset as ds

BROKEN = (pa.ArrowInvalid, OSError)


@contextmanager
def files_kept(table: Place, model: str, partition: str) -> Iterator[None]:
    """Whoever reads what was published raises Misconfigured when a file of it is gone or broken, and Unavailable."""
    mend = "Restore it, or look at a later publication"
    try:
        with reaching(table, BROKEN):
            yield
    except FileNotFoundError as error:
        raise Misconfigured(
            f"A file of {model} {partition} is gone from its table's folder, so what was published cannot be read any "
            f"more: another tool has removed it, by a VACUUM for example. {mend}."
        ) from error
    except BROKEN as error:
        if not is_lost(error):
            raise
        raise Misconfigured(
            f"A file of {model} {partition} in its table's folder is broken, so what was published cannot be read any "
            f"more ({in_brief(error)}). {mend}."
        ) from error


def is_lost(error: Exception) -> bool:
    """Whether a file is gone or broken; what else the system says of it (it has numbers for that) may pass."""
    return isinstance(error, FileNotFoundError) or not isinstance(error, OSError) or error.errno is None


def checked() -> ds.ParquetFragmentScanOptions:
    """How a dataset is scanned so that its pages are compared with their checksums."""
    import pyarrow.dataset as ds  # a tenth of a second that no gate and no publication needs

    return ds.ParquetFragmentScanOptions(page_checksum_verification=True)


def batches_of(path: Place, columns: Sequence[str], rows: int) -> Iterator[pa.Table]:
    """Some columns of a file, in this order, in tables of at most so many rows. Raises what `files_kept` expects."""
    for batch in open_parquet(path).iter_batches(rows, columns=list(columns)):
        yield pa.Table.from_batches([batch]).select(list(columns))
