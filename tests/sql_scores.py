"""A world of toys whose predictions are published into a database, too."""

from typing import Any

import pandas as pd
import sqlalchemy as sa

from jobs.table import open_table, predictions_path

DAY, NEXT = "2026-01-16", "2026-01-17"
VARIABLE = "SCORES_DATABASE"
ROWS = 1200


class Scores:
    """A world whose predictions are published into a database too."""

    def __init__(self, shop: Any, address: str) -> None:
        self.shop = shop
        self.engine = sa.create_engine(address, poolclass=sa.NullPool)
        spec = (shop.settings.models / "toys" / "model.yaml").read_text()
        output = "output: {table: toys}"
        assert output in spec
        shop.write_model(spec=spec.replace(output, f"output: {{kind: sql, table: toys, database: {VARIABLE}}}"))

    def deliver(self, rows: int, day: str = DAY) -> None:
        frame = pd.read_parquet(sorted(self.shop.sales("2026-01-15").glob("*.parquet")))
        frame = pd.concat([frame] * 10, ignore_index=True)
        frame["toy_id"] = [f"{day}-toy-{n}" for n in range(len(frame))]
        self.shop.write_sales(day, frame.head(rows))

    def deliver_key(self, first: str, rows: int = ROWS) -> None:
        """The same, with another key in the first row."""
        self.deliver(rows)
        frame = pd.read_parquet(self.shop.sales(DAY))
        frame.loc[0, "toy_id"] = first
        self.shop.write_sales(DAY, frame)

    def query(self, text: str) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(sa.text(text)))

    def counts(self) -> dict[str, int]:
        if not sa.inspect(self.engine).has_table("toys"):
            return {}
        return {row[0]: row[1] for row in self.query("SELECT partition, count(*) FROM toys GROUP BY partition")}

    def numbers(self, day: str = DAY) -> list[int]:
        return [row[0] for row in self.query(f"SELECT number FROM toys_publications WHERE partition = '{day}'")]

    def assert_in_step(self, *days: str) -> None:
        table = open_table(predictions_path(self.shop.settings, self.shop.job(DAY).spec))
        assert table is not None
        expected = table.to_pandas().sort_values("toy_id", ignore_index=True)
        with self.engine.connect() as connection:
            found = pd.read_sql("SELECT * FROM toys", connection).sort_values("toy_id", ignore_index=True)
        pd.testing.assert_frame_equal(found[list(expected)], expected, check_dtype=False, check_exact=True)
        assert set(found["partition"]) == set(days)
        assert self.query("SELECT * FROM toys_staging") == []
