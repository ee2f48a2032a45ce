"""What the outside may see of a running taskrelay: its log, without secrets."""
