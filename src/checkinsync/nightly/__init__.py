"""The nightly run of all users: who is due, when each one starts, and what came of it."""
