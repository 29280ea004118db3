"""The database: functions from a connection and values to values; none of them commits."""
