"""Versions of models, the evidence about them, and how one gets to production. Knows neither Airflow nor the jobs."""
