"""The flow, in order: submit, callback or poll, record, relay, sweep. Lanes say whose turn it is."""
