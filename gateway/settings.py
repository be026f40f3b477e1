"""Everything about the gateway that an operator may set: environment variables `GATEWAY_…`, read once at the start."""

import math
import os
import re
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from limits import parse_many
from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MEGABYTE = 1_000_000
SHORTEST_TOKEN = 16
_ADDRESS: Final = re.compile(r"http://(\[[^]/@]+\]|[^][/:@?#\s]+)(:[0-9]+)?/?", re.IGNORECASE)


class Settings(BaseSettings):
    """The gateway's settings; an ill-typed one stops the start with a sentence that names it."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", frozen=True, allow_inf_nan=False)

    host: str = Field("127.0.0.1", description="address that the gateway listens on")
    port: int = Field(8000, ge=1, le=65535, description="port that the gateway listens on")
    threads: int = Field(32, ge=1, description="requests that are answered at the same time")
    most_waiting: int = Field(
        48,
        ge=0,
        description="requests that may wait until one of those is answered; more get 503 at once when that lasts",
    )
    receive_timeout_seconds: float = Field(
        10.0, gt=0, description="that a request may pause, or be behind 16 kB a second; then 408"
    )
    torchserve_url: Annotated[tuple[str, ...], NoDecode] = Field(
        ("http://127.0.0.1:8080",),
        description="where TorchServe's inference API is; several addresses are separated by commas, and a host name "
        "with several IP addresses counts as several",
    )
    batches: int = Field(
        3,
        ge=1,
        description="requests under way at each TorchServe, after which pictures wait and go together; its workers and "
        "one more keep it busy",
    )
    model_name: str = Field("cifar10", description="the model's name in TorchServe")
    key_file: Path = Field(
        Path("key_file.json"),
        description="TorchServe's key file; `{address}` in it is the IP address of the TorchServe it is of",
    )
    connect_timeout_seconds: float = Field(1.0, gt=0, description="for the connection to TorchServe")
    answer_timeout_seconds: float = Field(
        10.0, gt=0, description="for TorchServe's answer; then 504; a stop may take 5 seconds longer"
    )
    max_image_bytes: int = Field(20 * MEGABYTE, ge=1, description="largest picture; a larger one gets 413")
    max_request_bytes: int = Field(100 * MEGABYTE, ge=1, description="largest request, all pictures together")
    max_images: int = Field(32, ge=1, description="pictures in one request")
    rate_limit: str = Field(
        "", description="requests that one address may send, as in `600 per minute`; then 429; empty for no limit"
    )
    trusted_proxies: int = Field(
        0, ge=0, description="proxies in front whose X-Forwarded-For is believed; the sender's address is told by it"
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="origins whose pages may call the API, separated by commas; `*` for all"
    )

    status_token: str = Field(
        "",
        repr=False,
        description="token that opens /status to other machines, 16 characters or more; empty for this machine only",
    )

    trial_file: str = Field(
        "",
        description="where `make models` says which version is on trial; empty for `trial.json` in `TS_MODEL_STORE`",
    )

    @property
    def stop_seconds(self) -> int:
        """How long a stop may take, so that what was accepted is answered first."""
        return math.ceil(self.answer_timeout_seconds) + 5

    @property
    def trial_path(self) -> Path:
        """The file with the trial."""
        return Path(self.trial_file or Path(os.environ.get("TS_MODEL_STORE") or "model-store") / "trial.json")

    @field_validator("status_token")
    @classmethod
    def _check_status_token(cls, value: str) -> str:
        if value and len(value) < SHORTEST_TOKEN:
            raise ValueError(f"a token of {SHORTEST_TOKEN} characters or more cannot be guessed; this one is shorter")
        return value

    @field_validator("cors_origins", "torchserve_url", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("torchserve_url")
    @classmethod
    def _check_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for address in value or ("",):
            if not _is_address(address):
                raise ValueError(f"{address!r} is not http://HOST or http://HOST:PORT")
        return value

    @field_validator("rate_limit")
    @classmethod
    def _check_rate_limit(cls, value: str) -> str:
        if value:
            parse_many(value)  # a wrong one would otherwise be noticed at the first request
        return value


def _is_address(text: str) -> bool:
    """Say whether a text is http://host or http://host:port: of anything else a part would be passed over."""
    try:
        return bool(_ADDRESS.fullmatch(text)) and urlsplit(text).port != 0
    except ValueError:  # a port above 65535
        return False
