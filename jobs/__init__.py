"""The work of the platform in plain Python: a spec and a partition in, a result out. Knows no Airflow."""

import os
import sys

from jobs.memory import keep_freed_memory

# Arrow chooses its allocator when it is imported. Its usual one keeps a hundred megabytes of batches that are done
# with, and more with each thread that read them; this one gives them back (docs/performance.md).
if sys.platform == "linux":
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")
keep_freed_memory()  # before any thread is started
