"""The database schema, brought up to date from the files of `sql/`."""
