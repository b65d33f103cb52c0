"""The parts of the embedded Airflow, each one started again whenever it ends.

`airflow standalone` leaves a part that has died dead: an immediate restart of a PostgreSQL takes the scheduler, the DAG
processor and the triggerer with it, and nothing runs any more until a person looks.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

AIRFLOW = (sys.executable, "-m", "airflow")
PARTS = ("api-server", "scheduler", "dag-processor", "triggerer")
LOOK_SECONDS = 0.5
FIRST_WAIT, LONGEST_WAIT = 1.0, 15.0
GRACE_SECONDS = 10

log = logging.getLogger("lamplighter.airflow_parts")


@dataclass
class _Part:
    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    began: float = 0.0
    due: float = 0.0
    wait: float = FIRST_WAIT

    def look(self) -> None:
        """Start the process if it is due; note when it has ended, and wait longer each time that it does so soon."""
        now = time.monotonic()
        if self.process is None:
            if now >= self.due:
                self._start(now)
        elif (code := self.process.poll()) is not None:
            self.wait = FIRST_WAIT if now - self.began > LONGEST_WAIT else min(2 * self.wait, LONGEST_WAIT)
            log.warning("%s ended with %d: it is started again in %.0f s", self.name, code, self.wait)
            self.process, self.due = None, now + self.wait

    def _start(self, now: float) -> None:
        try:
            self.process, self.began = subprocess.Popen(list(self.command)), now
        except OSError as error:  # no memory, or too many processes: both pass
            self.due = now + LONGEST_WAIT
            log.warning("%s cannot be started: %s. It is tried again in %.0f s", self.name, error, LONGEST_WAIT)


def keep_running(commands: Mapping[str, Sequence[str]]) -> None:
    """Run the commands, each one again when it ends, until this process is interrupted or terminated."""
    parts = [_Part(name, command) for name, command in commands.items()]
    for end in (signal.SIGINT, signal.SIGTERM):  # the first is ignored in what a shell starts in the background
        signal.signal(end, signal.default_int_handler)
    try:
        while True:
            for part in parts:
                part.look()
            time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        _end([part.process for part in parts if part.process is not None])


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()


def main() -> None:
    """Bring Airflow's database up to date, and keep its parts running."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    subprocess.run([*AIRFLOW, "db", "migrate"], check=True)
    keep_running({part: (*AIRFLOW, part) for part in PARTS})


if __name__ == "__main__":
    main()
