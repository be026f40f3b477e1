"""The gateway: pages and REST API in front of TorchServe, which it knows over HTTP only."""

from flask_openapi3 import OpenAPI

from gateway import (
    api,
    classification,
    documentation,
    health,
    kserve,
    languages,
    metrics,
    page,
    problems,
    request_log,
    schemas,
    security,
    status,
    words,
)
from gateway.settings import Settings
from gateway.torchserve import TorchServe


def create_app(settings: Settings | None = None) -> OpenAPI:
    """Build the application; without `settings` they come from the environment."""
    settings = settings or Settings()
    app = OpenAPI(
        __name__,
        info=documentation.INFO,
        doc_ui=False,
        validation_error_status=400,
        validation_error_model=schemas.Problem,
        validation_error_callback=api.refuse_input,
    )
    app.config["MAX_CONTENT_LENGTH"] = settings.max_request_bytes
    app.json.sort_keys = False  # type: ignore[attr-defined]  # answers read in the contract's order
    app.extensions["settings"] = settings
    app.extensions["torchserve"] = TorchServe(settings)
    app.context_processor(lambda: {"settings": settings})
    # The last one registered sees a response first: the log line comes after every header is set.
    request_log.init_app(app)
    metrics.init_app(app)
    classification.init_app(app, settings)
    languages.init_app(app)
    security.init_app(app, settings)
    problems.init_app(app)
    words.init_app(app)
    app.register_api(api.blueprint)
    app.register_api(health.blueprint)
    kserve.init_app(app)
    app.register_blueprint(documentation.blueprint)
    app.register_blueprint(page.blueprint)
    status.init_app(app)
    return app
