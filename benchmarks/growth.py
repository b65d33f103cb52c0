"""How the cost grows: a partition of a million, ten and a hundred million rows, on one core and on all.

`growth.json` has rows like those of `results.json`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bench import HERE, PLACE, bench, machine
from chart import draw_growth
from designs import ONE_CORE, OURS
from flights import MODELS

ROWS = (1_000_000, 10_000_000, 100_000_000)


def main() -> None:
    """Measure, print tables, and write them down."""
    parser = argparse.ArgumentParser(description="How the cost of a partition grows.")
    parser.add_argument("--rows", type=int, nargs="*", default=ROWS)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--designs", nargs="*", default=[*(design for design in OURS if "spark" not in design), *ONE_CORE]
    )
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=MODELS)
    parser.add_argument("--home", type=Path, default=PLACE)
    parser.add_argument("--out", type=Path, default=HERE, help="Where growth.json and growth.png go.")
    chosen = parser.parse_args()
    found = [
        row for rows in chosen.rows for row in bench(chosen.home, rows, chosen.designs, chosen.runs, chosen.models)
    ]
    about = machine()
    (chosen.out / "growth.json").write_text(json.dumps({"rows": found, "about": about}, indent=2) + "\n")
    draw_growth(found, about, chosen.out / "growth.png")
    print(f"Written: {chosen.out / 'growth.json'} and growth.png.")


if __name__ == "__main__":
    main()
