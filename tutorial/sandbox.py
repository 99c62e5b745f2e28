"""The process in which a student's code runs for grade.py: it is told inputs, and gives back outputs.

It knows no answers. Messages are lines of JSON on standard input and output. The first names a file;
each that follows asks for a piece of work with it; `null` ends it. Before the first answer it says
"imported", once the import of the file has ended. Where there is fork, each file
gets a process that has torch loaded already.
"""
import base64
import importlib.util
import io
import json
import os
import sys
import textwrap
import traceback
from pathlib import Path

import numpy as np
import torch

MEMORY = 4 << 30  # bytes that a student's process may have

# ---- Values as JSON. No pickles: to read one would run what is in it -----------------------------


def pack(x):
    """Plain values, arrays and tensors -> what JSON can hold. TypeError for anything else."""
    if isinstance(x, torch.Tensor):
        return {"tensor": pack_array(x.detach().cpu().numpy())}
    if isinstance(x, np.ndarray):
        return {"array": pack_array(x)}
    if isinstance(x, bytes):
        return {"bytes": base64.b64encode(x).decode()}
    if isinstance(x, dict):
        return {"dict": [[pack(key), pack(value)] for key, value in x.items()]}
    if isinstance(x, tuple):
        return {"tuple": [pack(value) for value in x]}
    if isinstance(x, list):
        return [pack(value) for value in x]
    if isinstance(x, np.generic):
        x = x.item()
    if x is None or isinstance(x, (str, bool, int, float)):
        return x
    raise TypeError(f"a {type(x).__name__} was returned, which can't be graded")


def unpack(x):
    """What `pack` made -> the value."""
    if isinstance(x, list):
        return [unpack(value) for value in x]
    if not isinstance(x, dict):
        return x
    kind, = x.keys()
    packed = x[kind]
    if kind == "tensor":
        return torch.from_numpy(unpack_array(packed))
    if kind == "array":
        return unpack_array(packed)
    if kind == "bytes":
        return base64.b64decode(packed)
    if kind == "tuple":
        return tuple([unpack(value) for value in packed])
    if kind == "dict":
        return {unpack(key): unpack(value) for key, value in packed}
    raise ValueError(f"{kind} is no kind of value")


def pack_array(array):
    """An array -> text."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return base64.b64encode(file.getvalue()).decode()


def unpack_array(text):
    """What `pack_array` made -> the array."""
    file = io.BytesIO(base64.b64decode(text))
    return np.load(file, allow_pickle=False)


# ---- The student's code --------------------------------------------------------------------------


def load(path):
    """A file of exercises -> its module."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def work(module, source, inputs):
    """Run `source`, the body of a function of `student` (the module) and the inputs -> what it returns."""
    body = textwrap.indent(textwrap.dedent(source), "    ")
    names = {"torch": torch, "np": np}
    exec(f"def driver(student, {', '.join(inputs)}):\n{body}", names)
    return names["driver"](module, **inputs)


def explain(error, path):
    """An exception -> its kind, what it says, and the last line of the student's file on the way to it."""
    line = None
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == str(path):
            line = frame.lineno
    message = " ".join(str(error).split())
    return {"error": type(error).__name__, "message": message[:300], "line": line}


# ---- The process ---------------------------------------------------------------------------------


def serve(path, requests, replies):
    """Load a file and do what is asked of it, until `null` is asked."""
    limit_memory()
    torch.manual_seed(0)
    sys.path.insert(0, str(Path(path).parent))
    module = None
    for line in requests:
        request = json.loads(line)
        if request is None:
            break
        try:
            if module is None:
                module = load(path)
                say(replies, "imported")
            inputs = unpack(request["inputs"])
            reply = {"value": pack(work(module, request["source"], inputs))}
        except BaseException as error:  # sys.exit and KeyboardInterrupt too
            reply = explain(error, path)
        say(replies, reply)


def limit_memory():
    """So that a student's mistake does not take the machine's memory; not on Windows."""
    try:
        import resource
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    except (ImportError, ValueError, OSError):
        pass


def say(replies, message):
    """Write a message and send it off."""
    replies.write(json.dumps(message).encode() + b"\n")
    replies.flush()


def main():
    """Serve each file that is named, one after the other."""
    requests = os.fdopen(os.dup(0), "rb", 0)  # unbuffered: it takes not a byte that is meant for a child
    replies = os.fdopen(os.dup(1), "wb")
    # what the student prints goes nowhere, and nothing can be typed in
    nowhere = os.open(os.devnull, os.O_RDWR)
    for channel in (0, 1, 2):
        os.dup2(nowhere, channel)
    sys.argv = [""]
    torch.set_num_threads(1)
    say(replies, "ready")
    for line in iter(requests.readline, b""):
        child = 0
        if hasattr(os, "fork"):
            child = os.fork()
        if child == 0:
            serve(json.loads(line), io.BufferedReader(requests), replies)
            os._exit(0)
        os.waitpid(child, 0)
        say(replies, "ended")


if __name__ == "__main__":
    main()
