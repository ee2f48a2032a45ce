"""The chaos run: replicas on one PostgreSQL, killed, stopped, restarted, cut off, while orders keep coming; `make chaos`."""
