"""Migrate the schema; a second run changes nothing."""

from database import connect

MIGRATIONS = [
    "CREATE TABLE products (name TEXT PRIMARY KEY, cents INTEGER NOT NULL, sold INTEGER NOT NULL DEFAULT 0)",
    "INSERT INTO products VALUES ('bread', 320), ('coffee', 799), ('honey', 650), ('soap', 245)",
    "CREATE TABLE hits (page TEXT PRIMARY KEY, count INTEGER NOT NULL)",
]

with connect().cursor() as cursor:
    cursor.execute("CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY)")
    cursor.execute("SELECT coalesce(max(number), 0) FROM migrations")
    done = cursor.fetchone()[0]
    for number, statement in enumerate(MIGRATIONS[done:], done + 1):
        cursor.execute(f"BEGIN; {statement}; INSERT INTO migrations VALUES ({number}); COMMIT")
        print(f"migration {number} done")
    print(f"the schema is at {len(MIGRATIONS)}")
