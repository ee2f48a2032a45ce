"""`make bench-peers`: the same POSTs to the same receiver by what people would use instead."""
