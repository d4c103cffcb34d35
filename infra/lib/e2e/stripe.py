"""Stripe's API on 127.0.0.1, as far as the consumer asks it: objects by their path.

Knows nothing but what it is told; of anything else it says that it cannot answer now.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class StripeApi:
    """A running server. `objects` are answers by path, `asked` is who asked for what: (key, path)."""

    def __init__(self):
        self.objects = {}
        self.asked = []
        stripe = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_):
                """Says nothing."""

            def do_GET(self):
                """Answers."""
                stripe.asked.append((self.headers.get("Authorization", "").removeprefix("Bearer "), self.path))
                found = stripe.objects.get(self.path)
                body = json.dumps(found or {"error": {"type": "api_error"}}).encode()
                self.send_response_only(200 if found else 503)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True).start()

    def stop(self):
        """Stops taking requests."""
        self._server.shutdown()
        self._server.server_close()
