"""The shapes of the API's answers: what the OpenAPI document is generated from."""

from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Score(BaseModel):
    """One class and its probability."""

    label: str = Field(description="one of the ten classes")
    score: float = Field(ge=0, le=1, description="calibrated probability")


class Region(BaseModel):
    """A part of the picture, upright, in shares of its width and height from the left and the top."""

    left: float = Field(ge=0, le=1)
    top: float = Field(ge=0, le=1)
    right: float = Field(ge=0, le=1)
    bottom: float = Field(ge=0, le=1)


class Explanation(BaseModel):
    """Which parts of the picture spoke for a class."""

    label: str = Field(description="the class")
    method: str = Field(description="how it was found")
    region: Region = Field(
        description="what the model saw of the picture: all within plain margins, or the middle of that if it is "
        "longer than 5:4"
    )
    strengths: list[list[float]] = Field(
        description="rows of numbers from 0 to 1 over the region, from its top left; equal parts of it"
    )


class Problem(BaseModel):
    """What is wrong and what to do (RFC 9457)."""

    type: str = Field(description="address of the kind of problem")
    title: str
    status: int = Field(description="the HTTP status")
    detail: str = Field(description="what is wrong and what to do, in the language asked for by Accept-Language")
    request_id: str | None = Field(description="finds the request in the logs")


class Answer(BaseModel):
    """What the model says of one picture."""

    label: str = Field(description="the likeliest class")
    score: float = Field(ge=0, le=1, description="its calibrated probability")
    in_scope: bool = Field(description="whether the picture shows one of the ten classes at all")
    in_scope_score: float = Field(ge=0, le=1, description="what that was decided by; higher is more in scope")
    scores: list[Score] = Field(description="the classes, falling by probability")


class ExplainedAnswer(Answer):
    """What the model says of one picture, and which of its parts spoke for it."""

    explanation: Explanation


class Result(Answer):
    """The answer for one picture."""

    filename: str | None = Field(description="as it was sent; null for a raw body")


class ExplainedResult(Result, ExplainedAnswer):
    """The answer for one picture, and which of its parts spoke for it."""


class FailedResult(BaseModel):
    """One of several pictures that got no answer."""

    filename: str | None
    error: Problem


class Model(BaseModel):
    """Which model answered."""

    name: str
    version: str | None = Field(description="null where no picture of the request was answered")
    sha256: str | None = Field(description="of its weights")


class Classification(BaseModel):
    """The answer to a classify request, one result for each picture in the order sent."""

    request_id: str
    model: Model
    results: list[Result | FailedResult]


class ExplainedClassification(BaseModel):
    """The answer to an explain request."""

    request_id: str
    model: Model
    results: list[ExplainedResult]


class Limits(BaseModel):
    """What a request may hold."""

    max_image_bytes: int
    max_request_bytes: int
    max_images: int
    rate_limit: str | None = Field(description="requests that one address may send; null for no limit")
    formats: list[str]


class Engine(BaseModel):
    """What computes the network."""

    name: str = Field(description="library, its version, precision")
    fallback: str | None = Field(default=None, description="why it is not the fastest that the model comes with")


class ModelCard(BaseModel):
    """The model that answers now: what it is, how well it does, and what may be sent to it."""

    name: str
    version: str
    sha256: str
    labels: list[str] = Field(description="the ten classes")
    accuracy: float | None = Field(description="on CIFAR-10's 10,000 test pictures, one pass each")
    engine: Engine | None = Field(description="what computes it on the machine that answers")
    limits: Limits
    manifest: dict[str, Any] = Field(description="everything that was recorded when the weights were made and measured")


class Alive(BaseModel):
    """The process answers."""

    status: str


class Ready(BaseModel):
    """A prediction was made just now."""

    status: str
    version: str
    sha256: str


class TopK(BaseModel):
    """How many classes to give."""

    model_config = ConfigDict(extra="ignore")

    top_k: int = Field(10, ge=1, le=10, description="how many classes `scores` has")

    @classmethod
    @cache
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Give the schema, made once: flask-openapi3 asks for it at every request, a tenth of the gateway's time."""
        return super().model_json_schema(*args, **kwargs)
