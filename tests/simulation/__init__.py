"""The whole service on virtual time, against faults that one integer decides: see docs/reliability.md."""
