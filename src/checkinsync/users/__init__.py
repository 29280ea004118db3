"""Users: add, log in, export and remove them."""
