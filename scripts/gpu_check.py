"""Check the engine on a GPU: what runs, how fast, in how much memory, and whether it comes to what the CPU comes to.

    python scripts/gpu_check.py --out DIR [--seconds 480] [--device cuda] [--only training prediction]

Needs neither napari nor Qt, and nothing of this package installed: ``PYTHONPATH=src`` will do (docs/gpu.md). Writes
``DIR/gpu.md`` and ``DIR/gpu.json`` after each measurement. Without a CUDA device the same steps run on the CPU at the
smallest sizes. The exit code is 1 if anything failed or was not as asked.
"""

import argparse
import os
import sys
from pathlib import Path

from gpu.report import Report
from gpu.worker import Job, run

JOBS = (
    Job("doctor", "gpu.speed:doctor", 1),
    Job("iGTT", "gpu.speed:igtt", 5),
    Job("training", "gpu.speed:training", 9),
    Job("prediction", "gpu.speed:prediction", 3),
    Job("memory", "gpu.runs:memory_use", 3),
    Job("stop and resume", "gpu.runs:stopping", 4),
    Job("determinism", "gpu.runs:determinism", 2),
    Job("several GPUs", "gpu.runs:several", 1),
)
"""The steps, and how they share the time; the last has what the others left."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for gpu.md and gpu.json")
    parser.add_argument("--seconds", type=float, default=480, help="for everything together")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1")
    parser.add_argument("--only", nargs="+", choices=[job.name for job in JOBS], help="some of the steps")
    options = parser.parse_args()
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # torch's profiler tells of each beginning and end
    report, jobs = Report(options.out), [job for job in JOBS if not options.only or job.name in options.only]
    try:
        run(jobs, options.device, options.seconds, report)
    finally:
        report.write()
        print("\n" + report.headline.replace("**", ""))
    return 1 if report.bad else 0


if __name__ == "__main__":
    sys.exit(main())
