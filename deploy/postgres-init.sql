-- Runs once, when the data folder of the postgres service is empty. One role and one database for each of Airflow,
-- MLflow and the ledger, so that none can read or change what another keeps.
\getenv airflow_password AIRFLOW_DB_PASSWORD
\getenv mlflow_password MLFLOW_DB_PASSWORD
\getenv ledger_password LEDGER_DB_PASSWORD

CREATE ROLE airflow LOGIN PASSWORD :'airflow_password';
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow_password';
CREATE ROLE lamplighter LOGIN PASSWORD :'ledger_password';

CREATE DATABASE airflow OWNER airflow TEMPLATE template0 ENCODING 'UTF8';
CREATE DATABASE mlflow OWNER mlflow TEMPLATE template0 ENCODING 'UTF8';
CREATE DATABASE lamplighter OWNER lamplighter TEMPLATE template0 ENCODING 'UTF8';

REVOKE CONNECT ON DATABASE airflow, mlflow, lamplighter FROM PUBLIC;
