"""The main work from end to end on one machine: sandbox, taskrelay and a subscriber as real processes over real sockets."""
