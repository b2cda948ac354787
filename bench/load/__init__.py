"""The whole service under load: real server, workers, PostgreSQL and Valkey, on one machine."""
