#!/usr/bin/env python3
"""Compare a detector's service with `deepsparse.server` and with FastAPI + ONNX Runtime, under load, on this machine.

    python3 benches/serve.py --detector ./detector --model model.onnx --images PHOTOGRAPHS

Needs `wrk`. All services run at the same time and take turns under load, on loopback: every client sends a JPEG file
as a multipart form, waits for the answer, and sends the next. A service is left alone until it rests before the next
one's turn. Before it counts, every service must find objects in a photograph. Virtual environments of the others are made under target/serve.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEERS = {
    "deepsparse": (["deepsparse[server,yolo]==1.8.0", "numpy<2"], "import deepsparse.server.cli"),
    "fastapi": (["fastapi", "uvicorn", "python-multipart", "onnxruntime", "numpy", "pillow"], "import fastapi, multipart, onnxruntime, PIL"),
}
ENVIRONMENT = {**os.environ, "NM_DISABLE_ANALYTICS": "1", "NM_BYPASS_TORCH_CHECK": "1"}
BOUNDARY = "one-boundary-for-all"
# What wrk does: send the forms in turn, and say at the end how it went.
SCRIPT = """
local forms, at = {}, 0
function init(args)
  for _, path in ipairs(args) do
    local file = assert(io.open(path, "rb"))
    forms[#forms + 1] = wrk.format("POST", nil, {["Content-Type"] = "multipart/form-data; boundary=BOUNDARY"}, file:read("*a"))
    file:close()
  end
end
function request() at = at % #forms + 1; return forms[at] end
function done(summary, latency)
  local e = summary.errors
  io.stderr:write(string.format('{"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "errors": %d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.connect + e.read + e.write + e.timeout + e.status))
end
""".replace("BOUNDARY", BOUNDARY)


def say(text):
    print(text, file=sys.stderr, flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--detector", required=True, type=Path, help="a static detector")
    add("--model", required=True, type=Path, help="the same model for the others")
    add("--dense", type=Path, help="a dense f32 model of the same architecture: a second FastAPI service")
    add("--images", required=True, type=Path, help="a folder of JPEG files, sent in turn")
    add("--count", type=int, default=16, help="how many of them; default: 16")
    add("--connections", nargs="+", type=int, default=[1, 2, 8, 64], help="default: 1 2 8 64")
    add("--seconds", type=int, default=8, help="of load per service and number of connections; default: 8")
    add("--rounds", type=int, default=1, help="the median counts; default: 1")
    add("--work", type=Path, default=ROOT / "target/serve", help="environments; default: target/serve")
    args = parser.parse_args()
    if not shutil.which("wrk"):
        parser.error("this needs `wrk`: apt-get install wrk")
    args.threads = len(os.sched_getaffinity(0))
    args.files = sorted(path for path in args.images.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))[: args.count]
    if not args.files:
        parser.error(f"no JPEG files in {args.images}")
    return args


def environment(peer, args):
    """The interpreter of a peer, or nothing."""
    packages, usable = PEERS[peer]
    python = args.work / peer / "bin/python"
    works = lambda: python.exists() and not subprocess.run([python, "-c", usable], capture_output=True, env=ENVIRONMENT).returncode
    if not works():
        say(f"installing {peer}")
        subprocess.run([sys.executable, "-m", "venv", python.parent.parent], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages])
    if works():
        return python
    say(f"skipped: {peer}, which cannot be installed for Python {sys.version.split()[0]}")
    return None


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def form(path):
    """A file as the only part of a form."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="request"; filename="{path.name}"\r\nContent-Type: image/jpeg\r\n\r\n'
    return head.encode() + path.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode()


class Service:
    """A running service. `command` gets the port."""

    def __init__(self, name, command, route, log):
        self.name, self.port, self.rows = name, free_port(), {}
        self.url = f"http://127.0.0.1:{self.port}{route}"
        self.log = open(log, "w")
        self.process = subprocess.Popen(command(self.port), stdout=self.log, stderr=self.log, env=ENVIRONMENT, start_new_session=True)

    def ask(self, body):
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        with urllib.request.urlopen(urllib.request.Request(self.url, body, headers), timeout=60) as answer:
            return json.loads(answer.read())

    def wait(self, bodies):
        """Until it finds objects, in some photograph at least."""
        end = time.monotonic() + 120
        while True:
            try:
                objects = sum(len(self.ask(body)["boxes"][0]) for body in bodies)
                if not objects:
                    raise SystemExit(f"{self.name} finds nothing in {len(bodies)} photographs")
                return objects
            except (urllib.error.URLError, ConnectionError) as error:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"{self.name} does not serve ({error}); its log is {self.log.name}")
                time.sleep(0.2)

    def usage(self):
        """Seconds of processor time so far and resident bytes, of the process and its children."""
        found = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            busy = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            found[int(stat.parent.name)] = int(fields[1]), busy, int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
        ours = {self.process.pid}
        while more := {pid for pid, (parent, *_) in found.items() if parent in ours} - ours:
            ours |= more
        return [sum(found[pid][at] for pid in ours if pid in found) for at in (1, 2)]

    def settle(self):
        """Waits until requests whose clients went away are no longer worked on."""
        end = time.monotonic() + 120
        busy = self.usage()[0]
        while time.monotonic() < end:
            time.sleep(0.3)
            before, busy = busy, self.usage()[0]
            if busy - before < 0.03:
                return

    def load(self, connections, seconds, script, files):
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s", "-s", script, self.url, "--", *files]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode or not done.stderr.strip().startswith("{"):
            raise SystemExit(f"wrk failed on {self.name}: {done.stderr or done.stdout}")
        row = json.loads(done.stderr)
        row["rate"] = (row["requests"] - row["errors"]) / row["seconds"]
        row["memory"] = self.usage()[1]
        self.rows.setdefault(connections, []).append(row)
        say(f"{connections:3} {self.name}: {row['rate']:.1f} requests/s, p99 {row['p99_ms']:.0f} ms, {row['errors']} errors")

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def services(args, folder):
    cores = str(args.threads)
    log = lambda name: folder / f"{name}.log"
    serve = lambda port: [args.detector.resolve(), "serve", "--port", str(port), "--num-cores", cores, "--queue", "256", "--log-level", "warn"]
    yield Service("**Peristyle**", serve, "/predict/from_files", log("peristyle"))
    if python := environment("deepsparse", args):
        program = python.parent / "deepsparse.server"
        command = lambda port: [program, "--task", "yolo", "--model_path", args.model.resolve(), "--host", "127.0.0.1", "--port", str(port), "--num-cores", cores, "--log-level", "critical"]
        yield Service("deepsparse.server 1.8", command, "/v2/models/yolo/infer/from_files", log("deepsparse"))
    if python := environment("fastapi", args):
        hand_made = Path(__file__).with_name("fastapi_server.py")
        for model in filter(None, [args.model, args.dense]):
            command = lambda port, model=model: [python, hand_made, model.resolve(), str(port), cores]
            yield Service(f"FastAPI + ONNX Runtime, {model.stem}", command, "/predict/from_files", log(f"fastapi-{model.stem}"))


def main():
    args = arguments()
    running = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        script = folder / "load.lua"
        script.write_text(SCRIPT)
        forms = []
        for index, path in enumerate(args.files):
            forms.append(folder / f"{index}.form")
            forms[-1].write_bytes(form(path))
        try:
            for service in services(args, folder):
                running.append(service)
                objects = service.wait([path.read_bytes() for path in forms[:4]])
                say(f"{service.name} serves and finds {objects} objects in {len(forms[:4])} photographs")
            for _ in range(args.rounds):
                for connections in args.connections:
                    for service in running:
                        service.load(connections, args.seconds, script, forms)
                        service.settle()
        finally:
            for service in running:
                service.end()
    print("| service | connections | requests/s | p50 ms | p99 ms | resident MB | errors |\n|---|---|---|---|---|---|---|")
    for connections in args.connections:
        for service in running:
            rows = service.rows[connections]
            middle = lambda field: statistics.median(row[field] for row in rows)
            print(
                f"| {service.name} | {connections} | {middle('rate'):.1f} | {middle('p50_ms'):.0f} | {middle('p99_ms'):.0f} "
                f"| {max(row['memory'] for row in rows) / 1e6:.0f} | {sum(row['errors'] for row in rows)} |"
            )


if __name__ == "__main__":
    main()
