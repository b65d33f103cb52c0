"""A design in a process of its own: it opens, and scores the partition once for each line that it reads."""

import json
import sys
import time
from pathlib import Path

import psutil
from designs import opened


def main() -> None:
    """Answer each line with the seconds that the run took, and what it gives; the first counts from the start."""
    home, design, model = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries say is not for the parent
    began = psutil.Process().create_time()
    run = opened(home, design, model)
    for number, _ in enumerate(sys.stdin):
        if number:
            began = time.time()
        jobs = run()
        print(json.dumps({"seconds": time.time() - began, "jobs": jobs}), file=answers, flush=True)


if __name__ == "__main__":
    main()
