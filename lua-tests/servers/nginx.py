"""nginx with TLS in front of another server: nginx.py PORT PORT-BEHIND, with CERTIFICATES in the environment.
Prints its port."""

import os
import signal
import socket
import sys

folder = os.path.abspath(os.environ["CERTIFICATES"])
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
port = listener.getsockname()[1]
prefix = f"{folder}/nginx"
os.makedirs(prefix, exist_ok=True)
with open(f"{prefix}/{port}.conf", "w") as file:
    file.write(f"""
        daemon off;
        {"user root;" if os.getuid() == 0 else ""}
        pid {port}.pid;
        error_log stderr;
        events {{ }}
        http {{
            access_log off;
            client_body_temp_path body;
            proxy_temp_path proxy;
            fastcgi_temp_path fastcgi;
            uwsgi_temp_path uwsgi;
            scgi_temp_path scgi;
            server {{
                listen 127.0.0.1:{port} ssl http2;
                ssl_certificate {folder}/chained.pem;
                ssl_certificate_key {folder}/chained.key;
                ssl_client_certificate {folder}/ca.pem;
                ssl_verify_client optional;
                ssl_session_cache builtin;
                location / {{
                    proxy_pass http://127.0.0.1:{sys.argv[2]};
                    proxy_http_version 1.1;
                    proxy_set_header Host $host;
                    proxy_set_header Upgrade $http_upgrade;
                    proxy_set_header Connection upgrade;
                    proxy_set_header X-TLS "$ssl_protocol $ssl_alpn_protocol $ssl_server_name";
                    proxy_set_header X-Client "$ssl_client_verify $ssl_client_s_dn";
                    proxy_set_header X-Resumed $ssl_session_reused;
                }}
            }}
        }}
        """)
print(port, flush=True)
# nginx inherits the listening socket, so a client may connect before nginx runs.
os.set_inheritable(listener.fileno(), True)
os.environ["NGINX"] = f"{listener.fileno()};"
os.environ["PATH"] += ":/usr/sbin"
# Ends the server after 300 s, in case the test has died without ending it.
signal.alarm(300)
os.execvp("nginx", ["nginx", "-p", prefix, "-c", f"{port}.conf", "-e", "stderr"])
