"""Pure decisions: no socket, no clock, no randomness of their own. What they need comes in as an argument."""
