"""A command-line client: `python -m gateway.client photo.jpg holiday/ '*.png'` against a running gateway."""

import argparse
import csv
import glob
import io
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import requests
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

DEFAULT_URL: Final = "http://127.0.0.1:8000"
SUFFIXES: Final = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".avif"}
AT_ONCE: Final = 4
TIMEOUT_SECONDS: Final = 30


def files_of(arguments: list[str]) -> list[Path]:
    """Give the files that arguments name: a file as it is, a folder's pictures at any depth, a pattern's matches.

    Raises:
        FileNotFoundError: an argument names nothing.
    """
    files: list[Path] = []
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            found = sorted(each for each in path.rglob("*") if each.is_file() and each.suffix.lower() in SUFFIXES)
        elif path.exists():
            found = [path]
        else:
            matches = glob.glob(argument, recursive=True)  # noqa: PTH207  # pathlib takes no absolute patterns
            found = sorted(Path(each) for each in matches if Path(each).is_file())
        if not found:
            raise FileNotFoundError(f"{argument}: no such file, folder with pictures, or pattern that matches")
        files += found
    return list(dict.fromkeys(files))


def classify(url: str, file: Path, top_k: int) -> dict[str, Any]:
    """Give the gateway's result for one file, or `{"error": …}` in its place."""
    name = file.name.encode(errors="replace").decode()  # a name on a disk need not be UTF-8
    try:
        with file.open("rb") as picture:
            form = {"image": (name, picture)}
            response = requests.post(
                f"{url}/api/v1/classify", params={"top_k": top_k}, files=form, timeout=TIMEOUT_SECONDS
            )
    except OSError as error:  # requests' errors of connection are OSErrors as well
        return _failed(file, "Not sent", f"{type(error).__name__}: {error}")
    try:
        answer = response.json()
        if response.ok:
            return dict(answer["results"][0]) | {"filename": str(file)}
        return {"filename": str(file), "error": answer | {name: str(answer[name]) for name in ("title", "detail")}}
    except (ValueError, LookupError, TypeError):
        return _failed(file, "No answer", f"{url} answered {response.status_code}, not as the gateway does.")


def _failed(file: Path, title: str, detail: str) -> dict[str, Any]:
    return {"filename": str(file), "error": {"title": title, "detail": detail}}


def write_csv(results: list[dict[str, Any]]) -> None:
    """Write the results to standard output as CSV."""
    columns = ("filename", "label", "score", "in_scope", "in_scope_score", "error")
    writer = csv.DictWriter(sys.stdout, columns, extrasaction="ignore")
    writer.writeheader()
    for result in results:
        error = result.get("error")
        row = result | {"error": f"{error['title']}: {error['detail']}" if error else ""}
        writer.writerow({name: _harmless(value) for name, value in row.items()})


def _harmless(value: Any) -> Any:
    """Have no text begin like a formula, which a spreadsheet would run; as table.js does."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def show_table(results: list[dict[str, Any]], console: Console) -> None:
    """Print the results for a person."""
    table = Table("file", "class", "sure", "one of the ten")
    for result in results:
        name = Text(result["filename"])  # as it is: square brackets would be taken for markup
        if error := result.get("error"):
            table.add_row(name, Text(error["title"], "red"), "", Text(error["detail"]))
        else:
            in_scope = Text("yes") if result["in_scope"] else Text("probably not", "yellow")
            score = "> 99.9%" if result["score"] >= 0.9995 else f"{result['score']:.1%}"
            table.add_row(name, result["label"], score, in_scope)
    console.print(table)


def main() -> int:
    """Classify files; 0 when every one was answered, 1 when one was not, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(prog="python -m gateway.client", description=__doc__)
    parser.add_argument("files", nargs="+", help="files, folders, or patterns such as 'photos/**/*.jpg'")
    parser.add_argument("--url", default=DEFAULT_URL, help=f"the gateway (default: {DEFAULT_URL})")
    parser.add_argument("--top-k", type=int, choices=range(1, 11), default=10, metavar="1-10", help="classes in --json")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print a JSON array of the API's results")
    form.add_argument("--csv", action="store_true", help="print CSV")
    options = parser.parse_args()
    try:
        files = files_of(options.files)
    except FileNotFoundError as error:
        parser.error(str(error))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # one name that cannot be written costs no other's answer
    url = options.url.rstrip("/")
    progress = Console(stderr=True)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = pool.map(lambda file: classify(url, file, options.top_k), files)
        results = list(track(answers, "classifying", total=len(files), console=progress, transient=True))
    if options.json:
        print(json.dumps(results, indent=2))
    elif options.csv:
        write_csv(results)
    else:
        show_table(results, Console())
    return int(any("error" in result for result in results))


if __name__ == "__main__":
    sys.exit(main())
