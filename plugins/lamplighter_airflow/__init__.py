"""What needs Airflow and is not a DAG: the job operator, partitions, assets, retry policy."""
