"""One other runtime with one model, for compare.py: loads it, then answers every line `SECONDS` with images per second.

    python compare_worker.py RUNTIME MODEL BATCH PER_CALL THREADS SIDE

A batch is run in calls of PER_CALL images. The first line of the output is a JSON object of facts, written after the
first batch; every answer is JSON, a line each.
"""

import importlib.metadata
import json
import os
import resource
import sys
import time

import numpy


def is_open(extent):
    """Runtimes tell an open axis by a name, by 0, by -1, or by a number that no image has."""
    return not isinstance(extent, int) or not 0 < extent < 1 << 16


def random_images(shape, is_u8, batch, side):
    """Images of a model's input shape; axes that it leaves open are `side` long."""
    extents = [side if is_open(extent) else extent for extent in list(shape)[1:]]
    levels = numpy.random.default_rng(0).integers(0, 256, (batch, *extents), dtype="uint8")
    return levels if is_u8 else (levels / 255).astype("float32")


# Each of these loads a model for `batch` images and returns a function that runs it once.


def onnxruntime(model, batch, threads, side, facts):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    images = random_images(source.shape, "uint8" in source.type, batch, side)
    return lambda: session.run(None, {source.name: images})


def deepsparse(model, batch, threads, side, facts):
    from deepsparse import Engine

    engine = Engine(model, batch_size=batch, num_cores=threads)
    shape = engine.input_shapes[0]
    if any(is_open(extent) for extent in shape):
        shape = [batch] + [side if is_open(extent) else extent for extent in shape[1:]]
        engine = Engine(model, batch_size=batch, num_cores=threads, input_shapes=[shape])
    facts["fraction"] = engine.fraction_of_supported_ops
    images = random_images(shape, False, batch, side)
    try:
        engine.run([images])
    except Exception as error:
        if "data type" not in str(error):
            raise
        images = (images * 255).astype("uint8")
    return lambda: engine.run([images])


def openvino(model, batch, threads, side, facts):
    import openvino as ov

    core = ov.Core()
    network = core.read_model(model)
    source = network.inputs[0]
    shape = [extent.get_length() if extent.is_static else 0 for extent in source.partial_shape]
    images = random_images(shape, source.element_type == ov.Type.u8, batch, side)
    network.reshape(list(images.shape))
    program = core.compile_model(network, "CPU", {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"})
    facts["precision"] = program.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return lambda: program([images])


def folder_bytes(path):
    files = (os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
    return sum(os.path.getsize(file) for file in files if not os.path.islink(file))


def main():
    runtime, model, batch, per_call, threads, side = *sys.argv[1:3], *map(int, sys.argv[3:7])
    # Runtimes print what they like; answers keep the real output for themselves.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    facts = {"version": importlib.metadata.version(runtime)}
    adapter = {"onnxruntime": onnxruntime, "deepsparse": deepsparse, "openvino": openvino}[runtime]
    call = adapter(model, per_call, threads, side, facts)
    run = lambda: [call() for _ in range(batch // per_call)]
    run()
    print(json.dumps(facts), file=answers)
    for line in sys.stdin:
        if line.strip() == "memory":
            package = os.path.dirname(sys.modules[runtime].__file__)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            print(json.dumps({"peak_rss_bytes": peak, "package_bytes": folder_bytes(package)}), file=answers)
            continue
        seconds, count, start = float(line), 0, time.perf_counter()
        while count == 0 or time.perf_counter() - start < seconds:
            run()
            count += 1
        print(json.dumps(count * batch / (time.perf_counter() - start)), file=answers)


if __name__ == "__main__":
    main()
