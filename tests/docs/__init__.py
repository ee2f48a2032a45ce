"""The pages' programs and requests, run as a reader would run them."""
