"""The gateway: upload page and REST API in front of TorchServe, which it knows over HTTP only."""

from flask import Flask

from gateway import api, health, metrics, page, problems, request_log
from gateway.settings import Settings
from gateway.torchserve import TorchServe


def create_app(settings: Settings | None = None) -> Flask:
    """Build the application; without `settings` they come from the environment."""
    settings = settings or Settings()
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_request_bytes
    app.json.sort_keys = False  # type: ignore[attr-defined]  # answers read in the contract's order
    app.extensions["settings"] = settings
    app.extensions["torchserve"] = TorchServe(settings)
    request_log.init_app(app)
    metrics.init_app(app)
    problems.init_app(app)
    app.register_blueprint(api.blueprint)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(page.blueprint)
    return app
