"""The work of the platform in plain Python: a spec and a partition in, a result out. Knows no Airflow."""
