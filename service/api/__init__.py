"""HTTP in: one file a resource, the frame around them, and the door that providers push through."""
