"""The service against a subscriber that does everything it must not, and the proof that it calls nobody it may not."""
