"""What an operator does with a running gateway, by its commands and over the admin API: one way, below both."""
