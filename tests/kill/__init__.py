"""The kill test: real processes, real sockets, kill -9 at every fail-point and at any moment; `make kill-test`."""
