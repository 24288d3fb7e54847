"""What GPUs cost, and who it was for: worked out from the ledger after the fact, never on the way of a request."""
