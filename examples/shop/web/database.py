"""How to reach the database: the PG… variables of libpq, and the password from the secret."""

from pathlib import Path

import psycopg2


def connect():
    connection = psycopg2.connect(password=Path("/run/secrets/database_password").read_text().strip())
    connection.autocommit = True
    return connection
