"""Sells a product from time to time."""

import random
import signal
import sys
import time

from database import connect

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
cursor = connect().cursor()
while True:
    cursor.execute("SELECT name FROM products")
    (name,) = random.choice(cursor.fetchall())
    cursor.execute("UPDATE products SET sold = sold + 1 WHERE name = %s", (name,))
    print(f"sold {name}", flush=True)
    time.sleep(2)
