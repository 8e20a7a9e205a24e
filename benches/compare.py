#!/usr/bin/env python3
"""Compare detectors with ONNX Runtime, DeepSparse and OpenVINO, end to end, on this machine.

    python3 benches/compare.py --models DIR

builds a static detector of every model in DIR, creates virtual environments for the other runtimes, lets all of them
take turns, and prints Markdown tables. A round runs every contestant once, in another order each time; a ratio is the
median over the rounds of (contestant / baseline in the same round), so a machine that slows down for a while does not
favour anyone. The baseline is ONNX Runtime on the model of --baseline, else on each model itself.

Give a folder or files. Beside NAME.onnx, NAME-dynbatch.onnx (a symbolic batch axis) is what the other runtimes get
for batches; without it, and with a fixed batch axis, they run the images of a batch one by one.
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORKER = Path(__file__).resolve().parent / "compare_worker.py"
PICTURE = ROOT / "compiler/example/example.jpg"
PEERS = {
    "onnxruntime": ["onnxruntime", "numpy"],
    "deepsparse": ["deepsparse==1.8.0", "numpy<2"],
    "openvino": ["openvino", "numpy"],
}
ENVIRONMENT = {**os.environ, "NM_DISABLE_ANALYTICS": "1"}


def say(text):
    print(text, file=sys.stderr, flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--models", required=True, nargs="+", type=Path, metavar="PATH", help="a folder of .onnx files, or files")
    add("--baseline", type=Path, metavar="FILE", help="dense model of the same architecture")
    add("--points", nargs="+", default=["1:1", "1:2", "32:all"], metavar="BATCH:THREADS", help="default: 1:1 1:2 32:all")
    add("--rounds", type=int, default=7, help="default: 7")
    add("--seconds", type=float, default=3.0, help="per contestant and round; default: 3")
    add("--peers", nargs="*", default=list(PEERS), choices=list(PEERS), help="default: all")
    add("--imgsz", type=int, help="height and width for models that leave them open")
    add("--work", type=Path, default=ROOT / "target/compare", help="builds and environments; default: target/compare")
    add("--python", type=Path, help="an interpreter that has the peers, instead of new environments")
    args = parser.parse_args()
    if args.rounds < 1 or args.seconds <= 0:
        parser.error("--rounds and --seconds must be above 0")
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    points = []
    for point in args.points:
        batch, _, threads = point.partition(":")
        threads = str(cpus) if threads == "all" else threads
        if not (batch.isdigit() and threads.isdigit() and int(batch) > 0 and int(threads) > 0):
            parser.error(f"--points {point}: expected BATCH:THREADS, as in 1:2 or 32:all")
        if int(threads) > cpus:
            say(f"skipped: {point}, because this machine offers {cpus} CPU{'s' * (cpus > 1)}")
        elif (int(batch), int(threads)) not in points:
            points.append((int(batch), int(threads)))
    args.points, args.cpus = points, cpus
    files = [f for path in args.models for f in (sorted(path.glob("*.onnx")) if path.is_dir() else [path])]
    args.models = [f for f in files if not f.stem.endswith("-dynbatch")]
    missing = [str(f) for f in args.models + [args.baseline] if f and not f.is_file()]
    if missing or not args.models:
        parser.error(f"no such model: {', '.join(missing)}" if missing else "no .onnx files in --models")
    return args


def environments(args):
    """The interpreter for every peer that can be had."""
    pythons = {}
    for peer in args.peers:
        python = args.python or args.work / "environments" / peer / "bin/python"
        usable = [str(python), "-c", f"import numpy, {peer}"]
        if not python.exists() or subprocess.run(usable, capture_output=True, env=ENVIRONMENT).returncode:
            if args.python:
                say(f"skipped: {peer}, which {python} does not have")
                continue
            say(f"installing {peer}")
            folder = python.parent.parent
            made = subprocess.run([sys.executable, "-m", "venv", str(folder)], capture_output=True, text=True)
            pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *PEERS[peer]]
            made = made if made.returncode else subprocess.run(pip, capture_output=True, text=True)
            made = made if made.returncode else subprocess.run(usable, capture_output=True, text=True, env=ENVIRONMENT)
            if made.returncode:
                reason = (made.stderr.strip() or made.stdout.strip() or "no message").splitlines()[-1]
                version = platform.python_version()
                say(f"skipped: {peer}, which cannot be installed for Python {version}: {reason}")
                continue
        pythons[peer] = python
    return pythons


def build(model, args):
    """The static detector of a model; `None`, said aloud, when it cannot be built."""
    name = model.stem.replace(".", "-")
    binary = args.work / "bin" / name
    binary.parent.mkdir(parents=True, exist_ok=True)
    say(f"building {name}")
    command = ["cargo", "run", "-q", "--release", "-p", "peristyle-compiler", "--", "build", str(model.resolve())]
    command += ["-o", str(binary.resolve()), "--crate-dir", str((args.work / "crates" / name).resolve())]
    command += ["--imgsz", str(args.imgsz)] if args.imgsz else []
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        say(f"skipped: {model.name}, which cannot be built:\n{done.stderr.strip()}")
        return None
    return binary


class Ours:
    """A static detector, started anew for every measurement."""

    def __init__(self, binary, batch, threads):
        self.binary, self.facts = binary, {}
        self.options = ["-b", str(batch), "-ncores", str(threads)]

    def start(self):
        """Milliseconds from the start of the process to its end with the boxes of one picture."""
        begin = time.perf_counter()
        detect = [self.binary, "detect", "--source", PICTURE, "--json", "--threads", self.options[3]]
        if subprocess.run(detect, capture_output=True).returncode:
            begin = time.perf_counter()
            subprocess.run([self.binary, "benchmark", "-t", "0", "-w", "0", *self.options], capture_output=True)
        self.facts["start_ms"] = (time.perf_counter() - begin) * 1e3

    def measure(self, seconds):
        with tempfile.TemporaryDirectory() as folder:
            export = Path(folder) / "result.json"
            command = [self.binary, "benchmark", "-t", str(seconds), "-w", "0.3", "-q", *self.options, "-x", export]
            subprocess.run(command, check=True, capture_output=True, text=True)
            result = json.loads(export.read_text())
        peak = max(result["peak_rss_bytes"] or 0, self.facts.get("peak_rss_bytes", 0))
        self.facts.update(version=result["version"], peak_rss_bytes=peak, package_bytes=result["binary_bytes"])
        return result["benchmark_result"]["items_per_sec"]

    def end(self):
        pass


class Peer:
    """Another runtime, kept alive with its model loaded."""

    def __init__(self, runtime, python, model, batch, threads, args):
        dynamic = model.with_name(f"{model.stem}-dynbatch.onnx")
        model = dynamic if batch > 1 and dynamic.is_file() else model
        self.batch, self.before, self.after = batch, [python, WORKER, runtime, model, batch], [threads, args.imgsz or 640]
        self.name, self.facts = f"{runtime} on {model.name}", {}

    def start(self):
        """Loads, for calls of a whole batch, or of one image where that fails."""
        try:
            self.load(self.batch)
        except RuntimeError:
            if self.batch == 1:
                raise
            self.load(1)
            self.facts["one_by_one"] = True

    def load(self, per_call):
        begin = time.perf_counter()
        self.log = tempfile.TemporaryFile("w+")
        pipe = subprocess.PIPE
        command = [str(word) for word in [*self.before, per_call, *self.after]]
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self.log, text=True, env=ENVIRONMENT)
        self.facts = self.answer()
        # From the start of the process to its first result.
        self.facts["start_ms"] = (time.perf_counter() - begin) * 1e3

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.log.seek(0)
            lines = [text.strip() for text in self.log.read().splitlines() if text.strip()]
            errors = [text for text in lines if "error" in text.lower()] or lines or ["no message"]
            raise RuntimeError(f"{errors[-1][:200]} (exit code {self.process.returncode})")
        return json.loads(line)

    def ask(self, question):
        self.process.stdin.write(f"{question}\n")
        self.process.stdin.flush()
        return self.answer()

    def measure(self, seconds):
        return self.ask(seconds)

    def end(self):
        try:
            self.facts.update(self.ask("memory"))
        finally:
            self.process.stdin.close()
            self.process.wait()


def sensor():
    """Milliseconds of a loop that is the same every time."""
    begin = time.perf_counter()
    sum(i * i for i in range(400_000))
    return (time.perf_counter() - begin) * 1e3


def take_turns(contestants, args, states):
    """Images per second of every contestant in every round. Those that fail are reported and dropped."""
    speeds = {}

    def attempt(name, action):
        try:
            return action()
        except (RuntimeError, OSError, ValueError, subprocess.CalledProcessError) as error:
            say(f"skipped: {getattr(contestants[name], 'name', name)}: {error}")
            speeds.pop(name, None)
            return None

    for name, contestant in contestants.items():
        speeds[name] = []
        attempt(name, contestant.start)
    for turn in range(args.rounds):
        names = list(speeds)
        names = names[turn % len(names) :] + names[: turn % len(names)] if names else []
        states.append(sensor())
        for name in names:
            speed = attempt(name, lambda: contestants[name].measure(args.seconds))
            if speed is not None:
                speeds[name].append(speed)
        states.append(sensor())
    for name in list(speeds):
        attempt(name, contestants[name].end)
    return speeds


def median_ratio(speeds, baseline):
    return statistics.median(a / b for a, b in zip(speeds, baseline))


def compare(model, binary, point, pythons, args, states):
    """A row of the table of speeds, and the contestants with their facts."""
    batch, threads = point
    contestants = {"ours": Ours(binary, batch, threads)}
    for runtime, python in pythons.items():
        contestants[runtime] = Peer(runtime, python, model, batch, threads, args)
    base = "onnxruntime"
    if args.baseline and args.baseline.resolve() != model.resolve() and base in pythons:
        base = "baseline"
        contestants[base] = Peer("onnxruntime", pythons["onnxruntime"], args.baseline, batch, threads, args)
    speeds = take_turns(contestants, args, states)

    def cell(name):
        if name not in speeds:
            return "-"
        ratio = f"{median_ratio(speeds[name], speeds[base]):.2f}" if base in speeds else "?"
        facts = contestants[name].facts
        partly = facts.get("fraction", 1.0) < 1.0
        return ratio + " †" * partly + " *" * bool(facts.get("one_by_one"))

    images = {name: f"{statistics.median(values):.2f}" for name, values in speeds.items()}
    row = [model.stem, batch, threads, images.get(base, "-"), images.get("ours", "-"), cell("ours"), *map(cell, pythons)]
    return row, contestants


def markdown(header, rows):
    line = lambda cells: "| " + " | ".join(str(cell) for cell in cells) + " |"
    return "\n".join([line(header), line(["---"] + ["---:"] * (len(header) - 1)), *map(line, rows)])


def megabytes(count):
    return f"{count / 1e6:.1f}" if count else "-"


def size_row(model, contestants, pythons):
    row = [model.stem]
    for name in ["ours", *pythons]:
        facts = contestants[name].facts
        start = f"{facts['start_ms']:.0f}" if "start_ms" in facts else "-"
        row += [megabytes(facts.get("package_bytes")), start, megabytes(facts.get("peak_rss_bytes"))]
    return row


def machine(args, versions, states):
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    info = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    wanted = ["avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8"]
    sets = [flag for flag in wanted if flag in info.get("flags", "").split()]
    spread = (max(states) / min(states) - 1) * 100
    verdict = "quiet" if spread < 10 else "a busy machine: trust the ratios, not the images per second"
    return [
        f"- CPU: {info.get('model name', platform.processor() or platform.machine())}, {args.cpus} usable",
        f"- instruction sets: {', '.join(sets) or platform.machine()}",
        f"- OS: {platform.platform()}",
        f"- versions: {', '.join(f'{name} {version}' for name, version in versions.items())}",
        f"- {args.rounds} rounds of {args.seconds:g} s per contestant",
        f"- state sensor: {statistics.median(states):.1f} ms, {min(states):.1f} to {max(states):.1f} ms, "
        f"spread {spread:.0f} % ({verdict})",
    ]


def main():
    args = arguments()
    pythons = environments(args)
    detectors = [(model, build(model, args)) for model in args.models]
    detectors = [(model, binary) for model, binary in detectors if binary]
    if not detectors:
        sys.exit("no detector could be built")
    rows, sizes, versions, states = [], {}, {}, []
    for (model, binary), point in itertools.product(detectors, args.points):
        say(f"measuring {model.stem}, batch {point[0]}, threads {point[1]}")
        row, contestants = compare(model, binary, point, pythons, args, states)
        rows.append(row)
        sizes.setdefault(model, size_row(model, contestants, pythons))
        for name, contestant in contestants.items():
            facts = contestant.facts
            precision = f" ({facts['precision']})" if facts.get("precision") else ""
            if name != "baseline" and "version" in facts:
                versions["peristyle" if name == "ours" else name] = facts["version"] + precision

    baseline = f"ONNX Runtime on {args.baseline.name}" if args.baseline else "ONNX Runtime on the same model"
    print("\n".join(machine(args, versions, states)))
    print(f"\nSpeed relative to {baseline}, whose images per second are in the column `baseline`:\n")
    print(markdown(["model", "batch", "threads", "baseline", "ours img/s", "ours", *pythons], rows))
    print("\n`†`: a part of the graph falls back to ONNX Runtime. `*`: images of a batch run one by one.")
    batch, threads = args.points[0]
    print(f"\nSize on disk (MB), start to first result (ms), peak memory (MB); batch {batch}, threads {threads}:\n")
    titles = [f"{name} {what}" for name in ["ours", *pythons] for what in ("disk", "start", "memory")]
    print(markdown(["model", *titles], sizes.values()))
    print("\nOurs starts, decodes a picture, detects and ends; the others import, load and run one batch. Their size on")
    print("disk is that of the runtime's package, without Python and the model.")


if __name__ == "__main__":
    main()
