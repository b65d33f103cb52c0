"""Fitted pipelines as plain arrays: compiled when a version is registered, scored without scikit-learn."""
