"""A folder of a run: what is in it, what may be replaced, going on with it.

train_tiny.py leaves in --out the model (clip.pt), a log (log.jsonl) and figures, and while it trains the
state of the run (state.pt, and the one before it, state.before.pt), from which --resume goes on. All of
it is kept from being lost: a new run does not replace another one unless told to, a run goes on with the
settings that it began with, and a damaged state is noticed.
"""
import json
import os
import platform
import sys
import zipfile
from pathlib import Path

import torch

from clip_minimal import write

DEFAULT_RUN = Path(__file__).resolve().parents[1] / "results/default_run.jsonl"
RESULTS = ("clip.pt", "log.jsonl", "curves.png", "similarity.png")
STATES = ("state.pt", "state.before.pt", "state.new.pt")  # the last one until it is renamed

# ---- What is in it -------------------------------------------------------------------------------


def settings_of(args):
    """The options that a run depends on, as a dict."""
    of_this_call = ("resume", "show", "demo", "out", "force", "device", "given")
    return {name: value for name, value in vars(args).items() if name not in of_this_call}


def write_log(out, settings, rows):
    """log.jsonl: a line of JSON for settings and machine, for each line of the log, and at the end for the results."""
    machine = {"system": platform.platform(), "torch": torch.__version__, "threads": torch.get_num_threads()}
    lines = []
    for row in ({**settings, "machine": machine}, *rows):
        lines.append(json.dumps(row) + "\n")
    write(out / "log.jsonl", lambda file: file.write("".join(lines).encode()))


def read_settings(out):
    """The settings of the run whose log is in a folder, or None."""
    try:
        with open(out / "log.jsonl", encoding="utf-8") as file:
            settings = json.loads(file.readline())
        settings.pop("machine", None)
        return settings
    except (ValueError, OSError, AttributeError):
        return None


def read_default_run():
    """The log of the default run that comes with this code -> its history and its results, to compare with."""
    if not DEFAULT_RUN.exists():
        return [], {}
    rows = [json.loads(line) for line in DEFAULT_RUN.read_text().splitlines()]
    _, *history, end = rows  # the first row has the settings
    return history, end["results"]


# ---- What may be replaced ------------------------------------------------------------------------


def check_place(out, settings, force, every):
    """FileExistsError if a new run would replace anything else than a run of the same settings, unless force.

    `every` is how many steps lie between two states.
    """
    taken = [name for name in RESULTS + STATES if (out / name).exists()]
    if force or not taken:
        return
    earlier = read_settings(out)
    if earlier == settings:
        print(f"{out} has a run with the same settings, which begins anew; its states stay until step {every}")
        return
    # what is there, and what can be done
    there = ", ".join(taken)
    if isinstance(earlier, dict):
        differing = []
        for name, value in settings.items():
            if earlier.get(name) != value:
                differing.append(f"{name} {earlier.get(name)}")
        there = f"a run with other settings ({', '.join(differing)})"
    ways = "name another --out, or replace it with --force"
    if has_states(out):
        ways = f"go on with it by --resume, {ways}"
    raise FileExistsError(f"{out} has {there}: {ways}")


def has_states(out):
    """Whether there is anything to go on from."""
    return any(out.glob("state*.pt"))


# ---- Going on with it ----------------------------------------------------------------------------


def restore(out, device):
    """The last state of an interrupted run; where that is damaged, another one."""
    # state.new.pt is there if the run was killed before it was renamed
    for name in STATES:
        path = out / name
        if not path.exists():
            continue
        try:
            damaged = zipfile.ZipFile(path).testzip()  # compares checksums, which torch.load does not
            if damaged is not None:
                raise ValueError(f"{damaged} has changed")
            state = torch.load(path, map_location=device, weights_only=True)
            if "step" not in state:
                raise ValueError("it is not the state of a run")
            return state
        except Exception as error:  # whatever a damaged file makes its readers raise
            reason = " ".join(str(error).split())[:99]
            print(f"{path} is damaged ({reason}); trying another one", file=sys.stderr)
    raise FileNotFoundError(f"{out}: no interrupted run to go on with")


def take_settings(args, state):
    """Let the settings of an interrupted run hold, and --data where it is given. ValueError if others were given."""
    settings = state["settings"]
    given_then = state.get("given", {})
    for name, value in args.given.items():
        began_with = settings.get(name)
        # a batch size that was more than there are pairs may be given again, though the run began with what there was
        same = value in (began_with, given_then.get(name, began_with))
        if name != "data" and not same:
            option = name.replace("_", "-")
            raise ValueError(f"--{option} {value}: the run in {args.out} began with {began_with}, and --resume"
                             " goes on with its settings; leave this out, or begin a run in another --out")
    vars(args).update(settings)
    args.data = args.given.get("data", args.data)
    args.given = given_then
    if args.data and not os.path.isdir(args.data):
        raise FileNotFoundError(f"{args.data}: no such folder; if the data have moved, say where by --resume --data DIR")


def what_is_left(args, every):
    """Of a command that was stopped: how to go on with its run, if there is a state of it."""
    out = Path(args.out)
    if args.show or args.demo:
        return "nothing was drawn"
    if has_states(out) and read_settings(out) == settings_of(args):
        return f"go on with: python train_tiny.py --resume --out {args.out}"
    return f"before step {every} there is no state to go on with"
