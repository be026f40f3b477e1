"""What the launcher takes from the environment."""

import os
import tempfile
from pathlib import Path
from typing import Final, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from launcher import probe

ROOT: Final = Path(__file__).parent.parent
PACKED: Final = ROOT / "model-store"
"""Where `make archive` leaves the archive."""
ARCHIVE: Final = "cifar10.mar"


class Settings(BaseSettings):
    """Ports and places; an empty variable is as good as none, an ill-typed one stops the start with a sentence."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, allow_inf_nan=False)

    gateway_host: str = Field("127.0.0.1", description="address that the gateway listens on")
    gateway_port: int = Field(8000, ge=1, le=65535, description="the page and the REST API")
    gateway_answer_timeout_seconds: float = Field(
        10, gt=0, description="that the gateway waits for TorchServe's answer"
    )
    ts_inference_host: str = Field("127.0.0.1", description="address that TorchServe's inference API listens on")
    ts_metrics_host: str = Field("127.0.0.1", description="address that TorchServe's metrics are at")
    ts_inference_port: int = Field(8080, ge=1, le=65535, description="TorchServe's inference API")
    ts_management_port: int = Field(8081, ge=1, le=65535, description="TorchServe's management API")
    ts_metrics_port: int = Field(8082, ge=1, le=65535, description="TorchServe's metrics")
    ts_grpc_inference_port: int = Field(7070, ge=1, le=65535, description="TorchServe's inference API over gRPC")
    ts_grpc_management_port: int = Field(7071, ge=1, le=65535, description="TorchServe's management API over gRPC")
    ts_model_store: Path = Field(PACKED, description="folder with the archives; cifar10.mar is served")
    ts_enable_model_api: bool = Field(False, description="let who has the management key add and remove versions")
    start_timeout_seconds: float = Field(120, gt=0, description="until a prediction must have been answered")
    silence_seconds: float = Field(
        20, gt=0, description="without an answered prediction, after which TorchServe is started again"
    )
    gateway_max_image_bytes: int = Field(
        20_000_000, ge=1, le=2_000_000_000, description="largest picture, which TorchServe must let pass"
    )
    key_folder: Path | None = Field(
        None,
        description="folder for TorchServe's keys, `.run/PORT` if not set; `{address}` in it is our IP address",
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="json makes every line on standard output a JSON object"
    )

    @property
    def stop_seconds(self) -> float:
        """How long a part may take to stop: the gateway answers what it has accepted, and needs 5 seconds more."""
        return self.gateway_answer_timeout_seconds + 10

    @property
    def ports(self) -> dict[str, int]:
        """The ports that must be free, by the variable that sets them."""
        return {name.upper(): value for name, value in self if name.endswith("_port")}

    @property
    def gateway_address(self) -> str:
        """Where the gateway can be reached from here, as `host:port`; likewise the three below."""
        return f"{probe.reachable(self.gateway_host)}:{self.gateway_port}"

    @property
    def inference_address(self) -> str:
        return f"{probe.reachable(self.ts_inference_host)}:{self.ts_inference_port}"

    @property
    def management_address(self) -> str:
        return f"127.0.0.1:{self.ts_management_port}"

    @property
    def metrics_address(self) -> str:
        return f"{probe.reachable(self.ts_metrics_host)}:{self.ts_metrics_port}"

    @property
    def run_folder(self) -> Path:
        """The folder for what others may look for while the service runs: TorchServe's keys."""
        if self.key_folder:
            return probe.key_folder(str(self.key_folder))
        return ROOT / ".run" / str(self.gateway_port)

    @property
    def scratch_folder(self) -> Path:
        """The folder for temporary files."""
        return Path(tempfile.gettempdir()) / f"cifar10-{os.getuid()}-{self.gateway_port}"

    @property
    def torchserve_folder(self) -> Path:
        """The folder in it for TorchServe's, made anew at each of its starts: unpacked archives, sockets."""
        return self.scratch_folder / "ts"

    @property
    def key_file(self) -> Path:
        """The file in which TorchServe leaves its keys."""
        return self.run_folder / "key_file.json"
