"""What outlives a request: the ledger and its spool, virtual keys, release state, verdict files."""
