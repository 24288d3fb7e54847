"""What the gateway and the harness agree on: errors, usage, prices, releases, verdicts, ledger rows.

Nothing here opens a socket, reads a clock or draws a random number.
"""
