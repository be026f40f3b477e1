"""How gunicorn serves the gateway; it reads the same settings as the application."""

import sys

from gunicorn.glogging import Logger
from pydantic import ValidationError
from structlog.processors import JSONRenderer, TimeStamper, add_log_level, format_exc_info
from structlog.stdlib import ProcessorFormatter

from gateway.settings import Settings

try:
    _settings = Settings()
except ValidationError as error:
    wrong = error.errors()[0]
    sys.exit(f"gateway: GATEWAY_{str(wrong['loc'][0]).upper()}: {wrong['msg']}")


class _Logger(Logger):  # type: ignore[misc]
    """Composes no access lines, which nobody would write: the application writes one structured line a request."""

    def access(self, *_: object) -> None:
        pass


wsgi_app = "gateway:create_app()"
bind = f"[{_settings.host}]:{_settings.port}" if ":" in _settings.host else f"{_settings.host}:{_settings.port}"
worker_class = "gateway.worker.Worker"
worker_connections = 1000
keepalive = 15  # seconds; a connection that waits costs no thread, and the oldest makes room where there are too many
sendfile = False  # head and body are sent together (worker.py)
workers = 1  # the gateway waits for TorchServe nearly all of its time; threads do that well enough
threads = _settings.threads
timeout = 60  # seconds until a stuck worker is replaced
graceful_timeout = _settings.stop_seconds
control_socket_disable = True  # nobody manages it that way, and it would leave a folder in the home
logger_class = _Logger
# gunicorn's own lines are JSON as well. Only errors: malformed requests are their senders' business.
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": ProcessorFormatter,
            "foreign_pre_chain": [add_log_level, TimeStamper(fmt="iso", utc=True), format_exc_info],
            "processors": [ProcessorFormatter.remove_processors_meta, JSONRenderer()],
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "json"}},
    "loggers": {"gunicorn.error": {"level": "ERROR", "handlers": ["console"], "propagate": False}},
}
