"""The shop's service: /products, /hits (counts itself) and /health, as JSON."""

import json
import os
import signal
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from database import connect

local = threading.local()


def query(statement, *values):
    if not hasattr(local, "connection"):
        local.connection = connect()
    with local.connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()


def products():
    rows = query("SELECT name, cents, sold FROM products ORDER BY name")
    return {
        "shop": os.environ["GREETING"],
        "products": [{"name": name, "price": f"{cents / 100:.2f}", "sold": sold} for name, cents, sold in rows],
    }


def hits():
    statement = (
        "INSERT INTO hits VALUES ('hits', 1) ON CONFLICT (page) DO UPDATE SET count = hits.count + 1 RETURNING count"
    )
    return {"hits": query(statement)[0][0], "served_by": socket.gethostname()}


def health():
    return {"database": query("SELECT 'ok'")[0][0]}


PAGES = {"/products": products, "/hits": hits, "/health": health}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        page = PAGES.get(self.path)
        try:
            status, body = (200, page()) if page else (404, {"error": f"no such page: {self.path}"})
        except Exception as error:
            status, body = 503, {"error": str(error).strip()}
        data = json.dumps(body).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format, *args):
        if self.path != "/health":
            print(self.address_string(), format % args, flush=True)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("listening on port 8000", flush=True)
ThreadingHTTPServer(("", 8000), Handler).serve_forever()
