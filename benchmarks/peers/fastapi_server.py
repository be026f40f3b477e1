"""FastAPI with uvicorn: a process a core, and what computes in the thread pool, off the event loop.

By https://fastapi.tiangolo.com/deployment/server-workers and https://fastapi.tiangolo.com/async. It has no batching.
"""

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool

from benchmarks.peers.answers import WORKERS, classify, open_classifier

app = FastAPI()
classifier = open_classifier()


@app.post("/classify")
async def post(request: Request) -> Any:
    """Answer one picture, which is the body."""
    [answer] = await run_in_threadpool(classify, classifier, [await request.body()])
    return answer


if __name__ == "__main__":
    uvicorn.run(
        "benchmarks.peers.fastapi_server:app",
        port=int(sys.argv[1]),
        workers=WORKERS,
        access_log=False,
        log_level="warning",
    )
