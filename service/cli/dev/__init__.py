"""A whole taskrelay to develop against, on this machine: sandbox and service as real processes, kept in one folder."""
