"""The command line and the embedded stack that `make run` starts."""
