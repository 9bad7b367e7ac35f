"""A WebDAV server for one folder and one user. It prints its address, and stops at the end of its input."""

import sys
import threading

from cheroot import wsgi
from wsgidav.wsgidav_app import WsgiDAVApp

USER, PASSWORD = "alice", "app-passw0rd"

if __name__ == "__main__":
    users = {"*": {USER: {"password": PASSWORD}}}
    config = {"provider_mapping": {"/dav": sys.argv[1]}, "simple_dc": {"user_mapping": users}, "verbose": 0}
    server = wsgi.Server(("127.0.0.1", 0), WsgiDAVApp({**config, "logging": {"enable": False}}))
    server.prepare()
    threading.Thread(target=server.serve, daemon=True).start()
    print(f"http://127.0.0.1:{server.bind_addr[1]}/dav", flush=True)
    sys.stdin.read()
    server.stop()
