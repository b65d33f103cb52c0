"""Which Airflow the command line speaks to: the one of this home, or the one that variables name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jobs.errors import Unavailable
from lamplighter import stack
from lamplighter.airflow_api import AirflowApi

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobs.settings import Settings


def connect(settings: Settings, env: Mapping[str, str] | None = None) -> AirflowApi:
    """Log in to Airflow. Raises Unavailable when nobody answers, or the login is refused.

    The variables `LAMPLIGHTER_AIRFLOW_URL`, `_USER` and `_PASSWORD` say where and as whom; without them it is the
    embedded Airflow that runs from this home.
    """
    env = os.environ if env is None else env
    url = env.get("LAMPLIGHTER_AIRFLOW_URL")
    if not url:
        running = stack.running(settings)
        if running is None:
            raise Unavailable(
                "No Airflow runs from this home: start it with `lamplighter up`, name another one in "
                "LAMPLIGHTER_AIRFLOW_URL, or use --without-airflow."
            )
        url = running.airflow_url
    user = env.get("LAMPLIGHTER_AIRFLOW_USER") or stack.USER
    password = env.get("LAMPLIGHTER_AIRFLOW_PASSWORD") or stack.PASSWORD
    return AirflowApi(url, user, password)
