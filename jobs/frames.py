"""Tables for pandas, which cannot hold all that Arrow can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from jobs.errors import Rejected

if TYPE_CHECKING:
    import pandas as pd

EXACT = 2**53
"""Up to here every whole number is a float64."""


def to_frame(table: pa.Table, **options: Any) -> pd.DataFrame:
    """The table as `to_pandas` gives it.

    Raises Rejected, naming the columns, when one holds a day that no calendar has, or instants in an unknown zone.
    """
    try:
        frame: pd.DataFrame = table.to_pandas(**options)
    except LookupError:
        zoned = ", ".join(f.name for f in table.schema if pa.types.is_timestamp(f.type) and f.type.tz)
        raise Rejected(
            f"A column of instants ({zoned}) is in a time zone that is not known here: deliver it in UTC."
        ) from None
    except (ValueError, OverflowError):
        days = ", ".join(field.name for field in table.schema if pa.types.is_date(field.type))
        raise Rejected(f"A column of days ({days}) holds one beyond the year 9999: deliver another, or null.") from None
    return frame
