"""Nothing is lost: a run that is killed, at any moment and in any write, ends as it would have ended."""
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
import traceback
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
from train_tiny import TEXTS, World, main
from tutorial.extras.own_images import Folder
from tutorial.extras.pictures import made_here
from tutorial.extras.runs import restore

STEPS = 12
EVERY = 2  # steps between two states


def hurry(patch=setattr):
    """The command line with a state every second step, few words, and an end that takes no time."""

    def evaluate(self, model, tokenizer, n=0):
        """A number in which every weight has its part."""
        total = sum(w.double().abs().sum().item() for w in model.state_dict().values())
        return {"checksum": (total % 1, 0.5)}

    def texts(self):
        """A twentieth of the captions."""
        scenes = self.scenes(self.rng(TEXTS), 500)
        return self.captions(scenes, self.rng(TEXTS, 1))

    def draw_curves(history, *_):
        """The losses alone, small."""
        figure = Figure(figsize=(1, 1))
        figure.subplots().plot([row["loss"] for row in history])
        return figure

    patch(os, "fsync", lambda file: None)  # for the loss of power, which is not tried
    patch(train_tiny, "EVERY", EVERY)
    patch(World, "evaluate", evaluate)
    patch(World, "texts", texts)
    patch(train_tiny, "draw_curves", draw_curves)
    patch(train_tiny, "draw_similarity", lambda *_: Figure(figsize=(1, 1)))


def go(out, name="tiny-ViT"):
    """The command line that starts the run in `out`, or goes on with it -> its exit status."""
    if list(out.glob("state*.pt")):
        return main(["--resume", "--out", str(out)])
    argv = ["--model", name, "--steps", str(STEPS), "--batch-size", "4", "--warmup", "2"]
    return main([*argv, "--out", str(out)])


def plain(x):
    """What torch.load gives, as something that == compares to the last bit, without the clock's figures."""
    if isinstance(x, dict):
        return {key: plain(value) for key, value in x.items() if key != "images_per_second"}
    if isinstance(x, list | tuple):
        return [plain(value) for value in x]
    if isinstance(x, torch.Tensor):
        return x.dtype, x.stride(), x.contiguous().numpy().tobytes()
    return x


def read_log(out):
    lines = (out / "log.jsonl").read_text().splitlines()
    return [plain(json.loads(line)) for line in lines]


def assert_same(out, whole, lines=STEPS // EVERY + 2):
    """Weights, optimizer, log, curves, pictures; and no half-written file is left.

    What differs is named, not shown: pytest would look for hours for the differences of two files of
    weights.
    """
    assert sorted(os.listdir(out)) == sorted(os.listdir(whole))
    for name in ("clip.pt", "state.pt", "state.before.pt"):
        a = plain(torch.load(out / name, weights_only=True))
        b = plain(torch.load(whole / name, weights_only=True))
        same = a == b
        assert same, name
    assert read_log(out) == read_log(whole)
    assert len(read_log(out)) == lines
    for name in ("curves.png", "similarity.png"):
        same = (out / name).read_bytes() == (whole / name).read_bytes()
        assert same, name


# ---- Real processes, killed ----------------------------------------------------------------------
# A process that has imported everything and computed nothing, this file run by itself, forks one for
# each attempt.


def start(*actions):
    """A forked process that does one after the other and ends with the last one's status -> its id."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        for action in actions:
            status = action()
    except BaseException:
        traceback.print_exc()
    os._exit(status)


def status(pid):
    """Waits for the end of a process."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def has_ended(pid):
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def kill_at_random(folder, kills, seed, name):
    """Run after run, killed, gone on with, killed again, until it ends by itself."""
    rng = random.Random(int(seed))
    began = time.monotonic()
    assert status(start(partial(go, folder / "whole", name))) == 0
    took = time.monotonic() - began
    done = 0
    runs = 0
    while done < int(kills):
        out = folder / str(runs)
        runs += 1
        while True:
            pid = start(partial(go, out, name))
            end = time.monotonic() + rng.uniform(0, took)
            while time.monotonic() < end and not has_ended(pid):
                time.sleep(0.002)
            if done < int(kills):
                os.kill(pid, signal.SIGKILL)  # which does nothing to one that has just ended
            code = status(pid)
            if code == 0:
                break
            assert code == -signal.SIGKILL
            done += 1
        assert_same(out, folder / "whole")
        shutil.rmtree(out)
    print(f"{done} kills, {runs} runs")


def mortal(call, n):
    """Makes this process die of SIGKILL in the n-th call of something by which a run keeps what it has."""
    left = int(n)

    def count():
        nonlocal left
        left -= 1
        return left == 0

    def dies(do):
        def wrapped(*args, **kwargs):
            if count():
                os.kill(os.getpid(), signal.SIGKILL)
            return do(*args, **kwargs)
        return wrapped

    class File(io.FileIO):
        def write(self, data):
            if call == "write" and count():
                data = bytes(data)
                super().write(data[:len(data) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return super().write(data)

    def open_mortal(path, mode="r", **options):
        if mode == "wb":
            return File(path, mode)
        return open(path, mode, **options)

    clip_minimal.open = open_mortal
    if call in ("fsync", "replace"):
        setattr(os, call, dies(getattr(os, call)))
    if call == "savefig":
        Figure.savefig = dies(Figure.savefig)


def kill_in_writing(folder, *moments):
    """A run that dies in each of these moments and goes on."""
    assert status(start(partial(go, folder / "whole"))) == 0
    out = folder / "broken"
    for moment in moments:
        call, n = moment.split(":")
        assert status(start(partial(mortal, call, n), partial(go, out))) == -signal.SIGKILL, moment
        assert status(start(partial(go, out))) == 0, moment
        assert_same(out, folder / "whole")
        shutil.rmtree(out)


def forked(file, tmp_path, job, *arguments):
    """Runs a file of tests by itself -> what it printed."""
    command = [sys.executable, file, job, str(tmp_path), *map(str, arguments)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # a process with more of them can't be forked
    process = subprocess.run(command, capture_output=True, text=True, env=one_thread)
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.parametrize("kills, name", [
    (3, "tiny-ViT"),  # whose steps are quick
    pytest.param(5, "tiny-RN", marks=pytest.mark.slow),
    pytest.param(30, "tiny-ViT", marks=pytest.mark.slow),
])
def test_a_run_killed_at_random_moments_ends_as_if_it_had_not_been(tmp_path, kills, name):
    """Whatever it was doing: reading, drawing, computing, writing; more than once in each run."""
    assert f"{kills} kills" in forked(__file__, tmp_path, "kill_at_random", kills, 1, name)


@pytest.mark.slow
def test_a_run_killed_in_any_write_goes_on(tmp_path):
    """At each fifth part of what it writes; before each flush and each renaming, of the end too."""
    states = STEPS // EVERY  # and as many lines of the log
    # a state and the log are flushed each time; clip.pt and the log once more at the end
    flushes = [1, 2, 4, 2 * states + 1, 2 * states + 2]
    # the first time three files are renamed: new state to temporary name, to its own name, the log
    renamings = [1, 2, 3]
    # then four: between them there is also the state before
    renamings += [4, 5, 6, 7]
    last = 3 + 4 * (states - 1)
    renamings += [last + 1, last + 2]  # clip.pt and the log
    moments = [f"fsync:{n}" for n in flushes]
    moments += [f"replace:{n}" for n in renamings]
    moments += ["savefig:1", "savefig:2", "write:1"]
    moments += [f"write:{n}" for n in range(9, 1400, 280)]
    forked(__file__, tmp_path, "kill_in_writing", *moments)


# ---- The command line as it is -------------------------------------------------------------------


@pytest.mark.slow
def test_same_seed_same_run_and_ctrl_c_loses_nothing(tmp_path):
    """Nothing patched: a process that runs through, and another that Ctrl-C ends and a third goes on with."""
    command = ["--model", "tiny-ViT", "--batch-size", "4", "--steps", "52", "--out"]
    whole = tmp_path / "whole"
    out = tmp_path / "broken"
    process = subprocess.Popen([sys.executable, train_tiny.__file__, *command, str(out)],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline().startswith("tiny-ViT on ")
    assert process.stdout.readline().startswith("step    50/52")
    while not (out / "log.jsonl").exists():  # written after the state
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert errors == f"\nstopped; go on with: python train_tiny.py --resume --out {out}\n"
    assert main([*command, str(whole)]) == 0
    assert main(["--resume", "--out", str(out)]) == 0
    for name in ("clip.pt", "state.pt"):
        same = plain(torch.load(out / name)) == plain(torch.load(whole / name))
        assert same, name
    assert_same(out, whole, lines=4)


def test_another_seed_is_another_run(tmp_path, monkeypatch):
    """Its weights, its data and its examination."""
    hurry(monkeypatch.setattr)
    weights = []
    for seed in ("0", "1"):
        argv = ["--model", "tiny-ViT", "--steps", "2", "--batch-size", "4", "--out", str(tmp_path / seed)]
        assert main([*argv, "--seed", seed]) == 0
        model, _ = clip_minimal.load(tmp_path / seed / "clip.pt")
        weights.append(model.state_dict())
    a, b = weights
    for key, w in a.items():
        if w.ndim > 1 and w.shape == b[key].shape:
            assert not torch.equal(w, b[key]), key


# ---- Damaged states, full disks, bad folders: one line, and nothing is lost ----------------------


def at_step(patch, step, action, data=World):
    """Does something at the beginning of a step."""
    batch = data.batch

    def acting(self, number, n):
        if number == step:
            action()
        return batch(self, number, n)

    patch.setattr(data, "batch", acting)


def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A run that ended after its third state, and the whole one; never changed, only copied."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        hurry(patch.setattr)
        assert go(folder / "whole") == 0
        at_step(patch, 7, ctrl_c)
        assert go(folder / "broken") == 130
    return folder


@pytest.fixture
def out(broken, tmp_path, monkeypatch):
    """A copy of the run that ended: state.pt of step 6, state.before.pt of step 4."""
    hurry(monkeypatch.setattr)
    return Path(shutil.copytree(broken / "broken", tmp_path / "out"))


class Attack:
    """What, unpickled without a thought, makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def flip(content, byte, bit=0):
    """Bytes with one bit changed."""
    changed = bytearray(content)
    changed[byte] ^= 1 << bit
    return bytes(changed)


def attack(save, path):
    """The bytes of a file that, read by the wrong reader, makes a folder at path."""
    file = io.BytesIO()
    save(Attack(path), file)
    return file.getvalue()


old_save = partial(torch.save, _use_new_zipfile_serialization=False)
DAMAGE = {
    "empty": lambda content, path: b"",
    "one byte short": lambda content, path: content[:-1],
    "half": lambda content, path: content[:len(content) // 2],
    "zeros": lambda content, path: bytes(len(content)),
    "noise": lambda content, path: random.Random(0).randbytes(len(content)),
    "a bit in a weight": lambda content, path: flip(content, len(content) // 2),
    "code in our format": lambda content, path: attack(torch.save, path),
    "code in an older format": lambda content, path: attack(old_save, path),
    "code in a pickle": lambda content, path: attack(pickle.dump, path),
    "something else": lambda content, path: (path.parent / "clip.pt").read_bytes(),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_state_falls_back_to_the_one_before(broken, tmp_path, capsys, kind):
    """One line says which; what it holds is not run."""
    for name in ("state.pt", "state.before.pt"):
        shutil.copy(broken / "broken" / name, tmp_path)
    shutil.copy(broken / "whole/clip.pt", tmp_path)
    assert restore(tmp_path, "cpu")["step"] == 6
    assert capsys.readouterr().err == ""
    path = tmp_path / "state.pt"
    path.write_bytes(DAMAGE[kind](path.read_bytes(), tmp_path / "attacked"))
    assert restore(tmp_path, "cpu")["step"] == 4
    errors = capsys.readouterr().err
    assert errors.startswith(f"{path} is damaged (")
    assert errors.endswith("); trying another one\n")
    assert len(errors.splitlines()) == 1
    assert not (tmp_path / "attacked").exists()


def test_no_bit_can_change_unnoticed(tmp_path):
    """In any part of a file: either the state before is taken, or all that was read is as it was written."""
    states = []
    for step, name in ((1, "state.before.pt"), (2, "state.pt")):
        state = {"step": step, "weights": torch.arange(40.0) + step, "history": ["a" * 20]}
        torch.save(state, tmp_path / name)
        states.append(state)
    path = tmp_path / "state.pt"
    content = path.read_bytes()
    places = range(0, len(content), 3)
    fell_back = 0
    for byte in places:
        path.write_bytes(flip(content, byte, bit=byte // 3 % 8))
        state = restore(tmp_path, "cpu")
        assert plain(state) == plain(states[state["step"] - 1])
        fell_back += state["step"] == 1
    assert fell_back > len(places) / 4, "the others are padding, dates and the like"


def test_a_fallen_back_run_ends_as_the_whole_one(out, broken, capsys):
    """Two steps are done again."""
    (out / "state.pt").write_bytes(b"")
    assert go(out) == 0
    printed, errors = capsys.readouterr()
    assert "step     6/12" in printed
    assert "step     4/12" not in printed
    assert len(errors.splitlines()) == 1
    assert_same(out, broken / "whole")


def test_ctrl_c_says_how_to_go_on(out, capsys, monkeypatch):
    at_step(monkeypatch, 9, ctrl_c)
    assert go(out) == 130
    assert capsys.readouterr().err == f"\nstopped; go on with: python train_tiny.py --resume --out {out}\n"


@pytest.mark.parametrize("moment, left", [
    (1, {"state.pt": 6, "state.before.pt": 4}),
    (2, {"state.pt": 6, "state.before.pt": 4, "state.new.pt": 8}),
    (3, {"state.before.pt": 6, "state.new.pt": 8}),
    (4, {"state.pt": 8, "state.before.pt": 6}),
])
def test_a_run_stopped_before_any_renaming_ends_as_the_whole_one(out, broken, monkeypatch, moment, left):
    """There is a whole state at each moment; `left` says which file has the state of which step."""
    replace = os.replace
    calls = []

    def stops(*paths):
        calls.append(paths)
        if len(calls) == moment:
            raise KeyboardInterrupt
        replace(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stops)
        assert go(out) == 130
    assert {path.name: torch.load(path)["step"] for path in out.glob("state*")} == left
    assert go(out) == 0
    assert_same(out, broken / "whole")


def test_a_fallen_back_run_stopped_between_two_renamings_is_not_lost(out, broken, capsys):
    """The damaged state has then taken the place of the one before it, and the new one is not renamed yet."""
    (out / "state.pt").rename(out / "state.new.pt")
    (out / "state.before.pt").write_bytes(b"")
    assert go(out) == 0
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert_same(out, broken / "whole")


def test_two_damaged_states_are_an_end(out, capsys):
    for name in ("state.pt", "state.before.pt"):
        (out / name).write_bytes(b"")
    assert go(out) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3
    assert errors[-1] == f"train_tiny.py: {out}: no interrupted run to go on with"


def test_a_full_disk_is_one_line_and_loses_nothing(out, broken, capsys, monkeypatch):
    """A real limit, met in the middle of the next state; once there is room again the run goes on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with monkeypatch.context() as patch:
        at_step(patch, 7, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, hard)))
        try:
            assert go(out) == 2
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    message = f"train_tiny.py: {out}/state.new.pt: could not be written ([Errno 27] File too large)\n"
    assert capsys.readouterr().err == message
    assert {path.name for path in out.iterdir()} == {"state.pt", "state.before.pt", "log.jsonl"}
    assert go(out) == 0
    assert_same(out, broken / "whole")


@pytest.mark.parametrize("name", ["state.new.pt", "log.jsonl", "clip.pt"])
def test_a_disk_without_any_room_is_one_line_and_loses_nothing(out, broken, capsys, monkeypatch, name):
    """As the device for it says it, in each file that is written."""

    def open_full(path, mode):
        if Path(path).name.startswith(name):
            return open("/dev/full", mode)
        return open(path, mode)

    log = (out / "log.jsonl").read_text()
    with monkeypatch.context() as patch:
        patch.setattr(clip_minimal, "open", open_full, raising=False)
        assert go(out) == 2
    message = f"train_tiny.py: {out}/{name}: could not be written ([Errno 28] No space left on device)\n"
    assert capsys.readouterr().err == message
    assert (out / "log.jsonl").read_text().startswith(log)
    assert go(out) == 0
    assert_same(out, broken / "whole")


def test_a_missing_font_is_one_line_and_loses_nothing(out, broken, capsys, monkeypatch):
    """Whoever packs matplotlib without its fonts reads which file is missing; the run is left as it was."""
    with monkeypatch.context() as patch:
        patch.setattr(train_tiny.render, "__defaults__", (32, Path("gone/DejaVuSans.ttf")))
        assert go(out) == 2
    error = capsys.readouterr().err
    assert "gone/DejaVuSans.ttf" in error
    assert len(error.splitlines()) == 1
    assert go(out) == 0
    assert_same(out, broken / "whole")


@pytest.mark.parametrize("place", ["file", "file/run"])
def test_a_file_in_the_place_of_the_folder_is_one_line(tmp_path, capsys, place):
    (tmp_path / "file").write_text("precious")
    assert main(["--out", str(tmp_path / place)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("train_tiny.py: ")
    assert str(tmp_path / place) in error
    assert len(error.splitlines()) == 1
    assert (tmp_path / "file").read_text() == "precious"


SHORT = ["--model", "tiny-ViT", "--steps", "2", "--batch-size", "4"]


def contents(folder):
    """{name: bytes} of the files in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_finished_run_stays_as_it_is(out, broken):
    """Gone on with once more it does nothing again, and a new run that takes its place starts from nothing."""
    assert go(out) == 0
    assert go(out) == 0
    assert_same(out, broken / "whole")
    (out / "state.new.pt").write_bytes(b"of a run that was killed")
    assert main([*SHORT, "--out", str(out), "--force"]) == 0
    assert [path.name for path in out.glob("state*")] == ["state.pt"]
    assert torch.load(out / "state.pt")["step"] == 2


@pytest.mark.parametrize("finished", [False, True])
def test_a_run_of_other_settings_is_not_replaced(out, broken, capsys, finished):
    """One line says what differs and what can be done; nothing changes."""
    if finished:
        assert go(out) == 0
    before = contents(out)
    capsys.readouterr()
    assert main([*SHORT, "--seed", "3", "--out", str(out)]) == 2
    error = (f"train_tiny.py: {out} has a run with other settings (steps 12, warmup 2, seed 0): "
             "go on with it by --resume, name another --out, or replace it with --force\n")
    assert capsys.readouterr().err == error
    after = contents(out)
    changed = after != before  # pytest would look for hours for the differences
    assert not changed


@pytest.mark.parametrize("name", ["clip.pt", "log.jsonl", "curves.png", "similarity.png"])
def test_files_of_no_run_are_not_replaced(tmp_path, capsys, monkeypatch, name):
    """They may be anyone's; as there is nothing to resume the message does not speak of it."""
    hurry(monkeypatch.setattr)
    (tmp_path / name).write_text("precious")
    assert main([*SHORT, "--out", str(tmp_path)]) == 2
    error = f"train_tiny.py: {tmp_path} has {name}: name another --out, or replace it with --force\n"
    assert capsys.readouterr().err == error
    assert (tmp_path / name).read_text() == "precious"


@pytest.mark.parametrize("option", ["--show", "--demo"])
def test_a_drawing_replaces_only_a_drawing(out, monkeypatch, capsys, option):
    name = f"{option[2:]}.png"
    Image.new("RGB", (9, 9)).save(out / name)
    before = (out / name).read_bytes()
    assert main([option, "--out", str(out)]) == 2
    assert capsys.readouterr().err == (f"train_tiny.py: {out / name}: exists and is no figure of this project;"
                                       " name another file, or write over it with --force\n")
    assert (out / name).read_bytes() == before
    if option == "--show":
        for argv in (["--force"], []):
            assert main([option, *argv, "--out", str(out)]) == 0
        assert made_here(out / name)


def test_pictures_of_a_run_are_figures_of_this_project(broken):
    for name in ("curves.png", "similarity.png"):
        assert made_here(broken / "whole" / name)


def test_the_same_run_once_more_keeps_the_states_until_it_has_one(out, broken, capsys, monkeypatch):
    """Stopped before its first state nothing has changed, stopped after it the states are its own."""
    argv = ["--model", "tiny-ViT", "--steps", str(STEPS), "--batch-size", "4", "--warmup", "2", "--out", str(out)]
    before = contents(out)
    with monkeypatch.context() as patch:
        at_step(patch, 1, ctrl_c)
        assert main(argv) == 130
    printed, errors = capsys.readouterr()
    assert f"{out} has a run with the same settings, which begins anew; its states stay until step {EVERY}" in printed
    assert errors == f"\nstopped; go on with: python train_tiny.py --resume --out {out}\n"
    changed = contents(out) != before
    assert not changed
    with monkeypatch.context() as patch:
        at_step(patch, 3, ctrl_c)
        assert main(argv) == 130
    assert {path.name: torch.load(path)["step"] for path in out.glob("state*")} == {"state.pt": 2}
    assert go(out) == 0
    assert_same(out, broken / "whole")


def test_another_run_stopped_before_its_first_state_leaves_the_earlier_one(out, broken, capsys, monkeypatch):
    """Ctrl-C then does not speak of going on: that would be another run."""
    with monkeypatch.context() as patch:
        at_step(patch, 1, ctrl_c)
        assert main([*SHORT, "--force", "--out", str(out)]) == 130
    assert capsys.readouterr().err == f"\nstopped; before step {EVERY} there is no state to go on with\n"
    assert go(out) == 0
    assert_same(out, broken / "whole")


def test_stopped_before_there_is_anything_to_resume(tmp_path, capsys, monkeypatch):
    hurry(monkeypatch.setattr)
    at_step(monkeypatch, 1, ctrl_c)
    assert main([*SHORT, "--out", str(tmp_path)]) == 130
    assert capsys.readouterr().err == f"\nstopped; before step {EVERY} there is no state to go on with\n"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("option, value, began_with", [
    ("--steps", "3000", "12"), ("--steps", "1700", "12"), ("--seed", "1", "0"), ("--model", "tiny-RN", "tiny-ViT"),
    ("--lr", "0.5", "0.005"), ("--batch-size", "8", "4"), ("--micro-batch", "2", "None"), ("--fast", "True", "False"),
])
def test_other_settings_with_resume_are_refused(out, capsys, option, value, began_with):
    """Also one that is given as it is by default; the rate falls to zero at the last step, so that is fixed too."""
    argv = [option] if value == "True" else [option, value]
    assert main(["--resume", *argv, "--out", str(out)]) == 2
    assert capsys.readouterr().err == (
        f"train_tiny.py: {option} {value}: the run in {out} began with {began_with}, and --resume goes on with its"
        " settings; leave this out, or begin a run in another --out\n")


def test_the_whole_command_may_be_repeated_with_resume(out, broken):
    argv = ["--model", "tiny-ViT", "--steps", str(STEPS), "--batch-size", "4", "--warmup", "2", "--out", str(out)]
    assert main([*argv, "--resume"]) == 0
    assert_same(out, broken / "whole")


def test_a_place_that_the_console_cannot_show_is_printed_all_the_same(tmp_path, monkeypatch):
    """To the last line, which says where the results are."""
    hurry(monkeypatch.setattr)
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, "cp1252"))
    assert main([*SHORT, "--out", str(tmp_path / "Łódź")]) == 0
    sys.stdout.flush()
    last = printed.getvalue().decode("cp1252").splitlines()[-1]
    assert last.endswith(f"python train_tiny.py --demo --out {tmp_path / '?ód?'}")


def test_a_run_goes_on_where_its_folder_has_moved(tmp_path, capsys, monkeypatch):
    """Its new place is remembered; the batch size, which was more than there are pictures, may be repeated."""
    hurry(monkeypatch.setattr)
    data = tmp_path / "data"
    data.mkdir()
    for i in range(24):
        Image.new("RGB", (50, 50), (10 * i, 0, 0)).save(data / f"{chr(97 + i)}.png")
    argv = ["--captions-from-names", "--model", "tiny-ViT", "--steps", "4", "--batch-size", "64", "--data"]
    whole = tmp_path / "whole"
    out = tmp_path / "out"
    assert main([*argv, str(data), "--out", str(whole)]) == 0
    with monkeypatch.context() as patch:
        at_step(patch, 3, ctrl_c, Folder)
        assert main([*argv, str(data), "--out", str(out)]) == 130
    moved = data.rename(tmp_path / "moved")
    capsys.readouterr()
    assert main(["--resume", "--out", str(out)]) == 2
    assert capsys.readouterr().err == (f"train_tiny.py: {data}: no such folder; if the data have moved,"
                                       " say where by --resume --data DIR\n")
    assert main(["--resume", *argv, str(moved), "--out", str(out)]) == 0
    assert torch.load(out / "state.pt")["settings"]["data"] == str(moved)
    assert main(["--resume", "--out", str(out)]) == 0
    a = torch.load(out / "clip.pt")
    for key, w in torch.load(whole / "clip.pt").items():
        assert torch.equal(w, a[key]), key
    # other data are refused there
    (moved / "a.png").rename(moved / "another.png")
    (moved / "b.png").rename(moved / "one_more.png")  # one of the two is not held out
    capsys.readouterr()
    assert main(["--resume", "--data", str(moved), "--out", str(out)]) == 2
    assert "the data have changed since the run began: 22 captions" in capsys.readouterr().err


def test_a_folder_whose_name_is_no_text_is_found_again(tmp_path, monkeypatch):
    """A stray byte in its name comes back from the state, and from the log that a second run is compared with."""
    hurry(monkeypatch.setattr)
    data = Path(os.fsdecode(os.fsencode(tmp_path) + b"/data\xff"))
    data.mkdir()
    for i in range(20):
        Image.new("RGB", (50, 50), (10 * i, 0, 0)).save(data / f"{chr(97 + i)}.png")
    argv = ["--data", str(data), "--captions-from-names", "--out", str(tmp_path / "run")]
    argv += ["--model", "tiny-ViT", "--steps", "2", "--batch-size", "4"]
    assert main(argv) == 0
    weights = torch.load(tmp_path / "run/clip.pt")["visual.conv1.weight"]
    for command in (["--resume", "--out", str(tmp_path / "run")], ["--resume", *argv], argv):
        (tmp_path / "run/clip.pt").unlink()
        assert main(command) == 0
        assert torch.equal(torch.load(tmp_path / "run/clip.pt")["visual.conv1.weight"], weights)


def test_other_captions_than_the_run_began_with_are_refused(tmp_path, capsys, monkeypatch):
    """Batches would be others, and so would the vocabulary."""
    data = tmp_path / "data"
    data.mkdir()
    for i in range(24):
        Image.new("RGB", (50, 50), (10 * i, 0, 0)).save(data / f"{chr(97 + i)}.png")
    hurry(monkeypatch.setattr)
    argv = ["--data", str(data), "--captions-from-names", "--out", str(tmp_path / "run")]
    assert main([*argv, "--model", "tiny-ViT", "--steps", "2", "--batch-size", "4"]) == 0
    assert main(["--resume", "--out", str(tmp_path / "run")]) == 0
    (data / "a.png").rename(data / "another.png")
    (data / "b.png").rename(data / "one_more.png")  # one of the two is not held out
    before = (tmp_path / "run/state.pt").read_bytes()
    capsys.readouterr()
    assert main(["--resume", "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert "changed since the run began: 22 captions" in error
    assert len(error.splitlines()) == 1
    assert (tmp_path / "run/state.pt").read_bytes() == before


if __name__ == "__main__":
    import torch._dynamo  # which optimizers load, once for all
    hurry()
    JOBS = {"kill_at_random": kill_at_random, "kill_in_writing": kill_in_writing}
    JOBS[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
