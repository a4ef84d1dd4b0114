"""A store that is far away: a server of files over HTTP whose every answer comes after a delay."""

import http.server
import os
import re
import threading
import time


class Far:
    """Serves the files of a folder, in ranges, each request after so many seconds, and counts the requests."""

    def __init__(self, folder, delay):
        self.folder, self.delay, self.requests = str(folder), delay, 0
        self._lock = threading.Lock()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def url(self, name):
        return f"http://127.0.0.1:{self._server.server_port}/{name}"

    def take(self):
        """The number of requests since the last call."""
        with self._lock:
            n, self.requests = self.requests, 0
        return n

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def _handler(self):
        far = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self):
                self._answer(body=False)

            def do_GET(self):
                self._answer(body=True)

            def _answer(self, body):
                with far._lock:
                    far.requests += 1
                time.sleep(far.delay)  # this is the store's distance, and waits for nothing
                try:
                    with open(os.path.join(far.folder, os.path.basename(self.path)), "rb") as f:
                        content = f.read()
                except OSError:
                    self.send_error(404)
                    return
                first, last = 0, len(content)
                ranged = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
                if ranged:
                    first = int(ranged[1])
                    last = min(int(ranged[2] or last - 1) + 1, last)
                self.send_response(206 if ranged else 200)
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Length", str(last - first))
                if ranged:
                    self.send_header("Content-Range", f"bytes {first}-{last - 1}/{len(content)}")
                self.end_headers()
                if body:
                    self.wfile.write(content[first:last])

            def log_message(self, *_):
                pass

        return Handler
