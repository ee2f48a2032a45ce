"""The only code that dials: what may be called (`guard`), and the two clients that call it (`client`, `sender`)."""
