"""From a request's pictures to what became of each."""

import time
from typing import cast

from flask import Flask, current_app

from gateway.asking import Answers, ask_all, check_size
from gateway.batching import Batcher, Outcome
from gateway.deadline import deadline
from gateway.evidence import Evidence, Job
from gateway.explaining import Explaining
from gateway.metrics import Metrics
from gateway.problems import Problem
from gateway.settings import Settings
from gateway.torchserve import Prediction, TorchServe
from gateway.trial import Trial, Trials
from gateway.uploads import Upload


def init_app(app: Flask, settings: Settings) -> None:
    """Have trials of another version, as the operator's file says."""
    torchserve = cast(TorchServe, app.extensions["torchserve"])
    batcher = Batcher(torchserve)
    metrics = cast(Metrics, app.extensions["metrics"])
    trials = Trials(settings.trial_path)

    def ask_other(job: Job) -> Answers:
        version = "" if job.by_candidate else job.trial.candidate
        until = time.monotonic() + settings.answer_timeout_seconds / 2
        request_id = f"{job.request_id}.compared"
        answers = ask_all(batcher, job.uploads, request_id, until=until, version=version, once=True)
        if not job.by_candidate:
            _judge(answers, job.trial, trials, evidence)
        return answers

    evidence = Evidence(metrics.registry, ask_other, trials.current)
    app.extensions["batcher"] = batcher
    app.extensions["explaining"] = Explaining(torchserve)
    app.extensions["trials"] = trials
    app.extensions["evidence"] = evidence


def classify_all(uploads: list[Upload], request_id: str) -> list[Outcome]:
    """Have every picture classified, all by one version; each gets its prediction or its problem.

    In a trial that is the candidate for some requests, unless it fails or refuses a picture: then the default version
    is asked, and if the picture is bad, it says so as well.
    """
    batcher = cast(Batcher, current_app.extensions["batcher"])
    trials = cast(Trials, current_app.extensions["trials"])
    evidence = cast(Evidence, current_app.extensions["evidence"])
    settings = cast(Settings, current_app.extensions["settings"])
    until = deadline(settings.answer_timeout_seconds)
    candidate = None
    if trial := trials.canary():
        half = (time.monotonic() + until) / 2  # what is left is enough for the default version
        candidate = ask_all(batcher, uploads, request_id, until=half, version=trial.candidate, once=True)
        _judge(candidate, trial, trials, evidence)
        if all(isinstance(outcome, Prediction) for outcome in candidate.outcomes):
            evidence.count_answered(trial)
            evidence.compare(Job(trial, uploads, request_id, candidate, by_candidate=True))
            _count(candidate.outcomes, is_default=False)
            return candidate.outcomes
    default = ask_all(batcher, uploads, request_id, until=until)
    if trial and candidate:
        evidence.record(trial, default, candidate)
    elif shadowed := trials.shadow():
        evidence.compare(Job(shadowed, uploads, request_id, default, by_candidate=False))
    _count(default.outcomes)
    return default.outcomes


def _judge(answers: Answers, trial: Trial, trials: Trials, evidence: Evidence) -> None:
    """Count what the candidate did, and leave it out for a while where it failed."""
    evidence.count_asked(trial, failed=not answers.is_whole)
    if answers.is_whole:
        trials.answered()
    else:
        trials.failed(trial)


def explained(upload: Upload, request_id: str) -> Outcome:
    """Have one picture classified, with what spoke for its class."""
    settings = cast(Settings, current_app.extensions["settings"])
    explaining = cast(Explaining, current_app.extensions["explaining"])
    try:
        check_size(upload, settings.max_image_bytes)
        until = deadline(settings.answer_timeout_seconds)
        outcome: Outcome = explaining.ask(upload.data, request_id, until=until)
    except Problem as problem:
        outcome = problem
    _count([outcome])
    return outcome


def _count(outcomes: list[Outcome], *, is_default: bool = True) -> None:
    metrics = cast(Metrics, current_app.extensions["metrics"])
    for outcome in outcomes:
        if isinstance(outcome, Problem):
            metrics.count_problem(outcome.kind)
            if len(outcomes) > 1:  # a single one becomes the request's own
                metrics.recent.count_problem(outcome.kind)
        else:
            metrics.count_answer(outcome, is_default=is_default)
