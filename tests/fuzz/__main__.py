"""Fuzz what turns bytes into the network's input, guided by coverage: `make fuzz ARGS="--seconds 1200"`.

Atheris (libFuzzer) changes pictures of all formats and keeps what reaches new lines of Pillow's Python and of ours; the
C libraries below it are not instrumented, only run. What counts as a finding is any exception but ours, an answer of
another shape, five seconds, or a gigabyte; its file stays in tests/fuzz/corpus/, where the tests send it to the real
service ever after.
"""

import argparse
import sys
from pathlib import Path

import atheris

from handler.limits import limit_memory

ROOT = Path(__file__).parent.parent.parent
FOUND = Path(__file__).parent / "corpus"
SIDE = 32

with atheris.instrument_imports(include=["PIL", "model.images"]):
    from PIL import (  # noqa: F401  # noqa: F401
        AvifImagePlugin,
        BmpImagePlugin,
        GifImagePlugin,
        Image,
        JpegImagePlugin,
        MpoImagePlugin,
        PngImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )

    from model import images

# Half a gigabyte a picture would only slow the search down; size changes no line that is run.
images.MAX_PIXELS = 1_000_000  # type: ignore[misc]


def decode(data: bytes) -> None:
    try:
        pixels = images.read_pixels(data, SIDE, SIDE)
    except images.ImageError as error:
        if isinstance(error.__cause__, MemoryError):  # of at most a megapixel
            raise error.__cause__ from None
        return
    assert pixels.shape == (3, SIDE, SIDE)


def seeds(folder: Path) -> None:
    """Write the tests' pictures to a folder, those that are no larger than the fuzzer makes them."""
    from tests import pictures
    from tests.fuzz import hostile

    slow = ("megapixels", "million", "scans", "runs of one pixel", "100 MB", "40 meg")
    makes = hostile.EITHER | hostile.ANSWERED | {name: make for name, (make, _) in hostile.REFUSED.items()}
    makes |= pictures.LOSSLESS | pictures.CLOSE
    folder.mkdir(parents=True, exist_ok=True)
    for index, (name, make) in enumerate(makes.items()):
        if not any(word in name for word in slow) and len(data := make()) <= LONGEST:
            (folder / f"seed-{index}").write_bytes(data)


LONGEST = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz the decoding of pictures.")
    parser.add_argument("--seconds", type=int, default=1200)
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "runs" / "fuzz", help="what was reached so far is kept here"
    )
    options = parser.parse_args()
    seeds(options.folder)
    limit_memory(1_000_000_000)  # libFuzzer's own limit is on the peak, which the seeds and the parent count towards
    limits = [f"-max_total_time={options.seconds}", "-timeout=5", "-rss_limit_mb=0", f"-max_len={LONGEST}"]
    report = ["-print_final_stats=1", f"-artifact_prefix={FOUND}/"]
    atheris.Setup([sys.argv[0], *limits, *report, str(options.folder)], decode)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
