"""One `retrain_<model>` DAG for each folder under models/. Wiring only: Airflow's dag files hold no logic."""

from lamplighter_airflow.dags import dags_of_all_models, retrain_dag

for dag in dags_of_all_models("retrain", retrain_dag):
    globals()[dag.dag_id] = dag
