"""The named instants of a scoring run, at which a test can make it fail; the registry has its own."""

from __future__ import annotations

from model_registry.steps import PROMOTION_STEPS, step

SCORE_STEPS = {
    "plan:resolved": "the version is known, nothing is planned",
    "plan:kept": "the plan is kept",
    "input-gate:kept": "the input was judged",
    "score:read": "a fragment is read and predicted, nothing is written (in a worker)",
    "score:written": "a fragment's files are there, its record is not (in a worker)",
    "score:recorded": "a fragment has its record (in a worker)",
    "score:kept": "the result of all fragments is kept",
    "output-gate:kept": "the scores were judged",
    "publish:begun": "the gate was asked, nothing is committed",
    "publish:prepared": "the fence was looked at, the next call commits",
    "publish:committed": "readers see the predictions; the rejected rows of before are still there",
    "publish:rejected": "readers see the rejected rows, too",
    "publish:swept": "what nobody needs any more is gone",
    "publish:kept": "the result is kept, and the caller does not know it",
}
SQL_STEPS = {
    "plan:range": "a range of keys of a SQL source is kept as a file, the next ones are not read",
    "publish:staged": "a batch of rows is in the staging table of the spec's database; its readers see those of before",
    "publish:replaced": "the partition is replaced in the database's transaction, which is not committed",
    "publish:followed": "readers of the database see the predictions, too",
}
"""Those that only a run with a SQL source or a SQL output comes to."""
STEPS = PROMOTION_STEPS | SCORE_STEPS | SQL_STEPS

__all__ = ["SCORE_STEPS", "SQL_STEPS", "STEPS", "step"]
