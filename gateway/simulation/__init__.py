"""What if: a trace replayed against a fleet that does not exist, with the policies of the one that does."""
