"""Users: added, logged in, exported and removed."""
