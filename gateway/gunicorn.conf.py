"""How gunicorn serves the gateway; it reads the same settings as the application."""

from gateway.settings import Settings

_settings = Settings()

wsgi_app = "gateway:create_app()"
bind = f"{_settings.host}:{_settings.port}"
worker_class = "gthread"
workers = 1  # the gateway waits for TorchServe nearly all of its time; threads do that well enough
threads = _settings.threads
timeout = 60  # seconds until a stuck worker is replaced
graceful_timeout = 15  # longer than answer_timeout_seconds: what was accepted is answered before a stop
control_socket_disable = True  # nobody manages it that way, and it would leave a folder in the home
accesslog = None  # the application writes one structured line a request
loglevel = "error"  # malformed requests are their senders' business; a warning each would break the JSON lines
