"""Headers that every answer carries, other origins, and how often one address may ask."""

import math
import time
from typing import Final

from flask import Flask, Response, request
from flask_cors import CORS
from flask_limiter import Limiter, RateLimitExceeded
from flask_limiter.util import get_remote_address
from secure import ContentSecurityPolicy, PermissionsPolicy, ReferrerPolicy, Secure, XContentTypeOptions
from werkzeug.middleware.proxy_fix import ProxyFix

from gateway.problems import Problem, respond
from gateway.settings import Settings

# Everything comes from here; previews are blob: (with JavaScript) or data: (without), the camera's stream is neither.
_POLICY: Final = (
    ContentSecurityPolicy()
    .default_src("'none'")
    .script_src("'self'")
    .style_src("'self'")
    .img_src("'self'", "blob:", "data:")
    .connect_src("'self'")
    .form_action("'self'")
    .base_uri("'none'")
    .frame_ancestors("'none'")
)
EXPOSED: Final = ("X-Request-ID", "Retry-After", "RateLimit", "RateLimit-Policy")
"""What pages of other origins may read of an answer's headers."""
_HEADERS: Final = Secure(
    csp=_POLICY,
    referrer=ReferrerPolicy().no_referrer(),
    xcto=XContentTypeOptions().nosniff(),
    permissions=PermissionsPolicy().camera("self").geolocation().microphone(),
)


def init_app(app: Flask, settings: Settings) -> None:
    """Set headers, and what the settings say about other origins and rates."""
    if settings.trusted_proxies:
        proxies = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=proxies)  # type: ignore[method-assign]
    app.after_request(set_headers)
    if settings.cors_origins:
        CORS(
            app,
            resources={r"/(api|v1|v2)(/.*)?$": {"origins": list(settings.cors_origins)}},
            expose_headers=EXPOSED,
        )
    if settings.rate_limit:
        _limit(app, settings.rate_limit)


def set_headers(response: Response) -> Response:
    """Set what every answer carries; headers that are there stay."""
    for name, value in _HEADERS.headers.items():
        response.headers.setdefault(name, value)
    return response


def _limit(app: Flask, rate: str) -> None:
    limiter = Limiter(
        get_remote_address,
        app=app,
        application_limits=[rate],
        storage_uri="memory://",  # the gateway is one process; each machine counts for itself
    )

    def is_free() -> bool:
        is_preflight = request.method == "OPTIONS"
        is_file = request.endpoint in ("static", "documentation.swagger_ui")
        return is_preflight or is_file or request.blueprint in ("health", "kserve-health", None)

    limiter.request_filter(is_free)

    def describe(response: Response) -> Response:
        """Say what is left, as draft-ietf-httpapi-ratelimit-headers-10 has it."""
        if limit := limiter.current_limit:
            quota = limit.limit
            response.headers["RateLimit-Policy"] = f'"requests";q={quota.amount};w={quota.get_expiry()}'
            response.headers["RateLimit"] = f'"requests";r={limit.remaining};t={_seconds_until(limit.reset_at)}'
        return response

    def refuse(_: RateLimitExceeded) -> Response:
        limit = limiter.current_limit
        seconds = _seconds_until(limit.reset_at) if limit else 1
        problem = Problem("too-many-requests", retry_after_seconds=seconds, limit=rate, seconds=seconds)
        return respond(problem)

    app.after_request(describe)
    app.register_error_handler(RateLimitExceeded, refuse)


def _seconds_until(moment: float) -> int:
    return max(1, math.ceil(moment - time.time()))
