"""Nothing is lost: a run that was killed, at any moment and in any write, goes on to the end that it would have had."""
import inspect
import io
import json
import os
import pickle
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import clip_minimal
import train_tiny
from train_tiny import World, main

STEPS, EVERY = 12, 2


def hurry(patch=setattr):
    """The command line, but a line of the log and a state every second step, and an end that takes no time."""
    train = train_tiny.train

    def often(*args, **kwargs):
        call = inspect.signature(train).bind(*args, **kwargs)
        call.arguments["every"] = EVERY
        return train(*call.args, **call.kwargs)

    def evaluate(self, model, tokenizer, n=0):  # every weight has its part in it
        return {"checksum": (sum(w.double().abs().sum().item() for w in model.state_dict().values()) % 1, 0.5)}

    patch(os, "fsync", lambda file: None)  # for the loss of power, which is not tried
    patch(train_tiny, "train", often)
    patch(World, "evaluate", evaluate)
    patch(train_tiny.zeroshot, "draw_similarity", lambda *_: Figure(figsize=(1, 1)))


def go(out, name="tiny-ViT"):
    """The command line that starts the run in `out`, or goes on with it -> its exit status."""
    anew = ["--model", name, "--steps", str(STEPS), "--batch-size", "4", "--warmup", "2"]
    return main([*(["--resume"] if [*out.glob("state.?.pt")] else anew), "--out", str(out)])


def plain(x):
    """What torch.load gives, as something that == compares to the last bit; the clock's figures are left out."""
    if isinstance(x, dict):
        return {key: plain(value) for key, value in x.items() if key != "images_per_second"}
    if isinstance(x, list | tuple):
        return [plain(value) for value in x]
    return (x.dtype, x.stride(), x.contiguous().numpy().tobytes()) if isinstance(x, torch.Tensor) else x


def assert_same(out, whole, lines=STEPS // EVERY + 2):
    """Weights, optimizer, log, curves, pictures; and no half-written file is left. What differs is named, not shown:
    pytest would look for hours for the differences of two files of weights."""
    assert sorted(os.listdir(out)) == sorted(os.listdir(whole))
    for name in ("clip.pt", "state.0.pt", "state.1.pt"):
        a, b = (plain(torch.load(folder / name, weights_only=True)) for folder in (out, whole))
        same = a == b
        assert same, name
    a, b = ([plain(json.loads(line)) for line in (folder / "log.jsonl").read_text().splitlines()]
            for folder in (out, whole))
    assert a == b and len(a) == lines
    for name in ("curves.png", "similarity.png"):
        same = (out / name).read_bytes() == (whole / name).read_bytes()
        assert same, name


# ---- Real processes, killed ------------------------------------------------------------------------------------------
# A process that has imported everything and computed nothing, this file run by itself, forks one for each attempt.


def start(*actions):
    """A forked process that does one after the other and ends with the last one's status -> its id."""
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    status = 1
    try:
        for action in actions:
            status = action()
    finally:
        os._exit(status)


def status(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill_at_random(folder, kills, seed, name):
    """Run after run, killed, gone on with, killed again, until it ends by itself."""
    rng, done, runs = random.Random(int(seed)), 0, 0
    began = time.monotonic()
    assert status(start(partial(go, folder / "whole", name))) == 0
    took = time.monotonic() - began
    while done < int(kills):
        out, runs = folder / str(runs), runs + 1
        while True:
            pid, end = start(partial(go, out, name)), time.monotonic() + rng.uniform(0, took)
            while time.monotonic() < end and not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                time.sleep(0.002)
            if done < int(kills):
                os.kill(pid, signal.SIGKILL)  # which does nothing to one that has just ended
            if (code := status(pid)) == 0:
                break
            assert code == -signal.SIGKILL
            done += 1
        assert_same(out, folder / "whole")
        shutil.rmtree(out)
    print(f"{done} kills, {runs} runs")


def mortal(call, n):
    """Makes this process die of SIGKILL in the n-th call of something by which a run keeps what it has."""
    left = int(n)

    def dies(do, half=None):
        def wrapped(*args, **kwargs):
            nonlocal left
            left -= 1
            if left == 0:
                if half:
                    half(*args)
                os.kill(os.getpid(), signal.SIGKILL)
            return do(*args, **kwargs)
        return wrapped

    class File(io.FileIO):
        if call == "write":
            write = dies(io.FileIO.write, lambda self, data: io.FileIO.write(self, bytes(data)[:len(bytes(data)) // 2]))

    clip_minimal.open = lambda path, mode="r", **options: (File if mode == "wb" else open)(path, mode, **options)
    if call == "write_text":
        Path.write_text = dies(Path.write_text, lambda path, text: open(path, "w").write(text[:len(text) // 2]))
    elif call in ("fsync", "replace"):
        setattr(os, call, dies(getattr(os, call)))
    elif call == "savefig":
        Figure.savefig = dies(Figure.savefig)


def kill_in_writing(folder, *moments):
    """A run that dies in each of these moments and goes on."""
    assert status(start(partial(go, folder / "whole"))) == 0
    for moment in moments:
        out = folder / "broken"
        assert status(start(partial(mortal, *moment.split(":")), partial(go, out))) == -signal.SIGKILL, moment
        assert status(start(partial(go, out))) == 0, moment
        assert_same(out, folder / "whole")
        shutil.rmtree(out)


def forked(tmp_path, job, *arguments):
    """Runs this file by itself -> what it printed."""
    command = [sys.executable, __file__, job, str(tmp_path), *map(str, arguments)]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # a process with more of them can't be forked
    process = subprocess.run(command, capture_output=True, text=True, env=one_thread)
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.parametrize("kills, name", [(5, "tiny-RN"), pytest.param(30, "tiny-ViT", marks=pytest.mark.slow)])
def test_a_run_killed_at_random_moments_ends_as_if_it_had_not_been(tmp_path, kills, name):
    """Whatever it was doing: reading, drawing, computing, writing; more than once in each run."""
    assert f"{kills} kills" in forked(tmp_path, "kill_at_random", kills, 1, name)


LAST = STEPS // EVERY  # the number of lines in the log and of states written


@pytest.mark.slow
def test_a_run_killed_in_any_write_goes_on(tmp_path):
    """At each fifth part of what it writes; before flushes and renamings, of clip.pt too; in the log; at the end."""
    calls = ["fsync:1", "fsync:4", f"fsync:{LAST + 1}", "replace:1", "replace:2", "replace:3", f"replace:{LAST + 1}",
             "write_text:1", "write_text:4", f"write_text:{LAST + 1}", "savefig:1", "savefig:2", "write:1"]
    forked(tmp_path, "kill_in_writing", *calls, *(f"write:{n}" for n in range(9, 1400, 280)))


# ---- The command line as it is ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_same_seed_same_run_and_ctrl_c_loses_nothing(tmp_path):
    """Nothing patched: a process that runs through, and another that Ctrl-C ends and a third goes on with."""
    command = ["--model", "tiny-ViT", "--batch-size", "4", "--steps", "52", "--out"]
    whole, out = tmp_path / "whole", tmp_path / "broken"
    process = subprocess.Popen([sys.executable, train_tiny.__file__, *command, str(out)], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline().startswith("tiny-ViT on ")
    assert process.stdout.readline().startswith("step    50/52")
    while not (out / "log.jsonl").exists():  # written after the state
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert errors == f"\nstopped; go on with: python train_tiny.py --resume --out {out}\n"
    assert main([*command, str(whole)]) == main(["--resume", "--out", str(out)]) == 0
    assert_same(out, whole, lines=4)


def test_another_seed_is_another_run(tmp_path, monkeypatch):
    """Its weights, its data and its examination."""
    hurry(monkeypatch.setattr)
    for seed in "01":
        argv = ["--model", "tiny-ViT", "--steps", "2", "--batch-size", "4", "--out", str(tmp_path / seed)]
        assert main([*argv, "--seed", seed]) == 0
    a, b = (clip_minimal.load(tmp_path / seed / "clip.pt")[0].state_dict() for seed in "01")
    assert not any(torch.equal(w, b[key]) for key, w in a.items() if w.ndim > 1 and w.shape == b[key].shape)


# ---- Damaged states, full disks, bad folders: one line, and nothing is lost ------------------------------------------


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A run that ended after its third state, and the whole one; never changed, only copied."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        hurry(patch.setattr)
        assert go(folder / "whole") == 0
        at_step(patch, 7, lambda: os.kill(os.getpid(), signal.SIGINT))
        assert go(folder / "broken") == 130
    return folder


@pytest.fixture
def out(broken, tmp_path, monkeypatch):
    """A copy of the run that ended: state.1.pt of step 6, state.0.pt of step 4."""
    hurry(monkeypatch.setattr)
    return Path(shutil.copytree(broken / "broken", tmp_path / "out"))


def at_step(patch, step, action):
    """Does something at the beginning of a step."""
    batch = World.batch
    patch.setattr(World, "batch", lambda self, n, *args: (n == step and action(), batch(self, n, *args))[1])


class Attack:
    """What, unpickled without a thought, makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def flip(content, byte, bit=0):
    return content[:byte] + bytes([content[byte] ^ 1 << bit]) + content[byte + 1:]


def attack(save, path):
    save(Attack(path), file := io.BytesIO())
    return file.getvalue()


DAMAGE = {
    "empty": lambda content, path: b"",
    "one byte short": lambda content, path: content[:-1],
    "half": lambda content, path: content[:len(content) // 2],
    "zeros": lambda content, path: bytes(len(content)),
    "noise": lambda content, path: random.Random(0).randbytes(len(content)),
    "a bit in a weight": lambda content, path: flip(content, len(content) // 2),
    "code in our format": lambda content, path: attack(torch.save, path),
    "code in an older format": lambda content, path: attack(partial(torch.save, _use_new_zipfile_serialization=False),
                                                            path),
    "code in a pickle": lambda content, path: attack(pickle.dump, path),
    "something else": lambda content, path: (path.parent / "clip.pt").read_bytes(),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_state_falls_back_to_the_one_before(broken, tmp_path, capsys, kind):
    """One line says which; what it holds is not run."""
    for name in ("state.0.pt", "state.1.pt"):
        shutil.copy(broken / "broken" / name, tmp_path)
    shutil.copy(broken / "whole/clip.pt", tmp_path)
    assert train_tiny.restore(tmp_path, "cpu")["step"] == 6 and not capsys.readouterr().err
    path = tmp_path / "state.1.pt"
    path.write_bytes(DAMAGE[kind](path.read_bytes(), tmp_path / "attacked"))
    assert train_tiny.restore(tmp_path, "cpu")["step"] == 4
    errors = capsys.readouterr().err
    assert errors.startswith(f"{path} is damaged (") and errors.endswith("); trying the other one\n")
    assert len(errors.splitlines()) == 1 and not (tmp_path / "attacked").exists()


def test_no_bit_can_change_unnoticed(tmp_path):
    """In any part of a file: either the state before is taken, or all that was read is as it was written."""
    states = [{"step": step, "weights": torch.arange(40.0) + step, "history": ["a" * 20]} for step in (1, 2)]
    for i, state in enumerate(states):
        clip_minimal.write(tmp_path / f"state.{i}.pt", lambda file: torch.save(state, file))
    content, fell_back = (tmp_path / "state.1.pt").read_bytes(), 0
    places = range(0, len(content), 3)
    for byte in places:
        (tmp_path / "state.1.pt").write_bytes(flip(content, byte, byte // 3 % 8))
        state = train_tiny.restore(tmp_path, "cpu")
        assert plain(state) == plain(states[state["step"] - 1])
        fell_back += state["step"] == 1
    assert fell_back > len(places) / 4, "the others are padding, dates and the like"


def test_a_fallen_back_run_ends_as_the_whole_one(out, broken, capsys):
    """Two steps are done again."""
    (out / "state.1.pt").write_bytes(b"")
    assert go(out) == 0
    printed, errors = capsys.readouterr()
    assert "step     6/12" in printed and "step     4/12" not in printed and len(errors.splitlines()) == 1
    assert_same(out, broken / "whole")


def test_ctrl_c_says_how_to_go_on(out, capsys, monkeypatch):
    at_step(monkeypatch, 9, lambda: os.kill(os.getpid(), signal.SIGINT))
    assert go(out) == 130
    assert capsys.readouterr().err == f"\nstopped; go on with: python train_tiny.py --resume --out {out}\n"


def test_two_damaged_states_are_an_end(out, capsys):
    for name in ("state.0.pt", "state.1.pt"):
        (out / name).write_bytes(b"")
    assert go(out) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3 and errors[-1] == f"train_tiny.py: {out}: no interrupted run to go on with"


def test_a_full_disk_is_one_line_and_loses_nothing(out, broken, capsys, monkeypatch):
    """A real limit, met in the middle of the next state; once there is room again the run goes on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with monkeypatch.context() as patch:
        at_step(patch, 7, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, hard)))
        try:
            assert go(out) == 2
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert capsys.readouterr().err == "train_tiny.py: [Errno 27] File too large\n"
    assert {path.name for path in out.iterdir()} == {"state.0.pt", "state.1.pt", "log.jsonl"}
    assert go(out) == 0
    assert_same(out, broken / "whole")


def test_a_disk_without_any_room_is_one_line(out, capsys, monkeypatch):
    """As the device for it says it."""
    monkeypatch.setattr(clip_minimal, "open", lambda path, mode: open("/dev/full", mode), raising=False)
    assert go(out) == 2
    assert capsys.readouterr().err == "train_tiny.py: [Errno 28] No space left on device\n"


def test_a_missing_font_is_one_line_and_loses_nothing(out, broken, capsys, monkeypatch):
    """Whoever packs matplotlib without its fonts reads which file is missing; the run is left as it was."""
    with monkeypatch.context() as patch:
        patch.setattr(train_tiny.render, "__defaults__", (32, Path("gone/DejaVuSans.ttf")))
        assert go(out) == 2
    error = capsys.readouterr().err
    assert "gone/DejaVuSans.ttf" in error and len(error.splitlines()) == 1
    assert go(out) == 0
    assert_same(out, broken / "whole")


@pytest.mark.parametrize("place", ["file", "file/run"])
def test_a_file_in_the_place_of_the_folder_is_one_line(tmp_path, capsys, place):
    (tmp_path / "file").write_text("precious")
    assert main(["--out", str(tmp_path / place)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("train_tiny.py: ") and str(tmp_path / place) in error and len(error.splitlines()) == 1
    assert (tmp_path / "file").read_text() == "precious"


def test_a_finished_run_stays_as_it_is(out, broken, capsys):
    """Gone on with once more it does nothing again, and a new run in its place starts from nothing."""
    assert go(out) == go(out) == 0
    assert_same(out, broken / "whole")
    assert main(["--model", "tiny-ViT", "--steps", "2", "--batch-size", "4", "--out", str(out)]) == 0
    assert [path.name for path in out.glob("state.*")] == ["state.1.pt"]


def test_other_captions_than_the_run_began_with_are_refused(tmp_path, capsys, monkeypatch):
    """Batches would be others, and so would the vocabulary."""
    (tmp_path / "data").mkdir()
    for i in range(24):
        Image.new("RGB", (50, 50), (10 * i, 0, 0)).save(tmp_path / f"data/{chr(97 + i)}.png")
    hurry(monkeypatch.setattr)
    argv = ["--data", str(tmp_path / "data"), "--captions-from-names", "--out", str(tmp_path / "run")]
    assert main([*argv, "--model", "tiny-ViT", "--steps", "2", "--batch-size", "4"]) == 0
    assert main(["--resume", "--out", str(tmp_path / "run")]) == 0
    (tmp_path / "data/a.png").rename(tmp_path / "data/another.png")
    (tmp_path / "data/b.png").rename(tmp_path / "data/one_more.png")  # one of the two is not held out
    before = (tmp_path / "run/state.1.pt").read_bytes()
    capsys.readouterr()
    assert main(["--resume", "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert "changed since the run began: 22 captions" in error and len(error.splitlines()) == 1
    assert (tmp_path / "run/state.1.pt").read_bytes() == before


if __name__ == "__main__":
    import torch._dynamo  # which optimizers load, once for all
    hurry()
    {job.__name__: job for job in (kill_at_random, kill_in_writing)}[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
