"""One `score_<model>` DAG for each folder under models/. Wiring only: Airflow's dag files hold no logic."""

from lamplighter_airflow.dags import dags_of_all_models, score_dag

for dag in dags_of_all_models("score", score_dag):
    globals()[dag.dag_id] = dag
