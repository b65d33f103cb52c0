"""One `promote_<model>` and one `roll_back_<model>` DAG for each folder under models/. Wiring only."""

from lamplighter_airflow.dags import dags_of_all_models
from lamplighter_airflow.promote_dags import promote_dag, roll_back_dag

for kind, build in (("promote", promote_dag), ("roll_back", roll_back_dag)):
    for dag in dags_of_all_models(kind, build):
        globals()[dag.dag_id] = dag
