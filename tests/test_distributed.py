"""Several processes: they learn what one would have learned from the whole batch, and each does its share."""
import json
import os
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import train_tiny
from clip_minimal import load
from test_large_batches import SCALER, example, gradients
from test_resume import at_step, forked, hurry, start, status
from test_train import Scenes, shades, tiny
from train_tiny import World, main
from tutorial.extras import large_batches
from tutorial.extras.large_batches import LargeBatches, Share, Towers, backward, total
from tutorial.extras.own_images import Folder
from tutorial.extras.runs import restore

PAIRS = 16  # of all processes, so that 2 and 4 have equal shares


def trained(name, muon=True):
    """Two steps in float64 -> the model and its history."""
    model, tokenizer = tiny(name)
    model.double()
    options = {"steps": 2, "batch_size": PAIRS, "lr": 1e-3, "every": 1, "muon": muon}
    history = LargeBatches().train(Scenes(), model, tokenizer, **options)
    return model, history


def gradients_in_pieces(name, piece, share):
    """What one process computes of a batch -> loss of the whole, gradients, when gradients were sent."""
    model, images, tokens = example(name, PAIRS)
    model.train(piece == PAIRS)
    towers = torch.nn.parallel.DistributedDataParallel(Towers(model))
    sent = []

    def watch(module, inputs):
        if torch.is_grad_enabled():
            sent.append(module.require_backward_grad_sync)

    towers.register_forward_pre_hook(watch)
    loss = total(backward(towers, images[share], tokens[share], piece, SCALER)) / dist.get_world_size()
    return loss.item(), {key: p.grad for key, p in model.named_parameters()}, sent


def work(rank, processes, folder):
    """In each process: gradients of one batch, whole and in pieces, a short training; results to a file."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=processes)
    share = slice(rank * PAIRS // processes, (rank + 1) * PAIRS // processes)
    shapes = []
    cross_entropy = F.cross_entropy

    def watched(logits, labels):
        shapes.append(tuple(logits.shape))
        return cross_entropy(logits, labels)

    F.cross_entropy = watched
    results = {"shapes": shapes}
    for name in ("tiny-RN", "tiny-ViT"):
        for piece in (PAIRS, 3):
            results[name, piece] = gradients_in_pieces(name, piece, share)
        for muon in (True, False):
            model, history = trained(name, muon)
            results[name, muon] = model.state_dict(), history
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()
    return 0


def work_in_all(folder, processes):
    """Forks so many processes, and waits for them."""
    processes = int(processes)
    ids = [start(partial(work, rank, processes, folder)) for rank in range(processes)]
    assert [status(pid) for pid in ids] == processes * [0]


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def results(request, tmp_path_factory):
    """What real processes that talk over gloo found, one entry each."""
    folder = tmp_path_factory.mktemp("processes")
    forked(__file__, folder, "work_in_all", request.param)
    return [torch.load(folder / f"{rank}.pt") for rank in range(request.param)]


@pytest.mark.parametrize("piece", [PAIRS, 3])
@pytest.mark.parametrize("name", ["tiny-RN", "tiny-ViT"])
def test_gradients_of_all_processes_are_those_of_the_whole_batch(results, name, piece):
    """In each of them, to 1e-10. Batch norms in training see the pairs of their process, and here too."""
    model, images, tokens = example(name, PAIRS)
    model.train(piece == PAIRS)
    shares = images.split(PAIRS // len(results))
    features = torch.cat([model.encode_image(share) for share in shares])
    whole_loss, expected = gradients(model, features, model.encode_text(tokens))
    for process in results:
        loss, found, _ = process[name, piece]
        assert loss == pytest.approx(whole_loss, abs=1e-10)
        for key, gradient in expected.items():
            torch.testing.assert_close(found[key], gradient, atol=1e-10, rtol=0, msg=key)


def test_each_process_computes_the_similarities_of_its_own_pairs(results):
    """Section 2.5: b rows of the images' matrix and b of the texts', not B; the work is shared out."""
    for process in results:
        assert set(process["shapes"]) == {(PAIRS // len(results), PAIRS)}


@pytest.mark.parametrize("name", ["tiny-RN", "tiny-ViT"])
def test_gradients_are_sent_once_a_step(results, name):
    """With the last piece, not with each: what is sent is as large as the model."""
    whole_pieces, left = divmod(PAIRS // len(results), 3)
    pieces = whole_pieces + (left > 1)  # a single pair joins the piece before it
    for process in results:
        *_, sent = process[name, 3]
        assert sent == [False] * (pieces - 1) + [True]
        *_, sent = process[name, PAIRS]
        assert sent == [True]


@pytest.mark.parametrize("muon", [True, False], ids=["muon", "adamw"])
@pytest.mark.parametrize("name", ["tiny-RN", "tiny-ViT"])
def test_processes_train_one_model(results, name, muon):
    """After two steps all have the same weights, to the last bit; the first one tells the history."""
    weights, history = results[0][name, muon]
    assert [row["step"] for row in history] == [1, 2]
    for process in results[1:]:
        other_weights, none = process[name, muon]
        assert none is None
        for key, w in weights.items():
            assert "running" in key or torch.equal(w, other_weights[key]), key


@pytest.mark.parametrize("muon", [True, False], ids=["muon", "adamw"])
def test_processes_train_the_model_that_one_trains(results, muon):
    """Data, losses, updates, scale: nothing tells how many processes there were, where no batch norm does."""
    model, rows = trained("tiny-ViT", muon)
    weights, history = results[0]["tiny-ViT", muon]
    assert [row["loss"] for row in history] == pytest.approx([row["loss"] for row in rows], abs=1e-10)
    for key, w in model.state_dict().items():
        torch.testing.assert_close(weights[key], w, atol=1e-8, rtol=0, msg=key)


# ---- The shares ----------------------------------------------------------------------------------


def be_one_of(monkeypatch, processes, rank=0):
    """Pretends that this process is one of several."""
    monkeypatch.setattr(large_batches, "this_process", lambda: (rank, processes))


def assert_shares_make_up_the_batch(monkeypatch, data, processes, step, n):
    """Nothing is drawn twice, and nothing left out."""
    images, captions = data.batch(step, n)
    some_images = []
    some_captions = []
    for rank in range(processes):
        be_one_of(monkeypatch, processes, rank)
        share_of_images, share_of_captions = Share(data).batch(step, n)
        assert len(share_of_images) == len(share_of_captions) == n // processes
        some_images.append(share_of_images)
        some_captions += share_of_captions
    assert torch.equal(torch.cat(some_images), images)
    assert some_captions == captions


@pytest.mark.parametrize("processes", [2, 4])
def test_shares_of_the_world_make_up_its_batch(monkeypatch, processes):
    """Also in a step of names only."""
    for step in (0, 1):
        assert_shares_make_up_the_batch(monkeypatch, World(5), processes, step, 12)


def test_shares_of_a_folder_make_up_its_batch(tmp_path, monkeypatch):
    """Each process reads its own files alone."""
    data = shades(tmp_path / "data", 24)
    folder = Folder(data, 48, from_names=True)
    read = []
    pictures = folder.pictures

    def watched(indices):
        read.append(len(indices))
        return pictures(indices)

    monkeypatch.setattr(folder, "pictures", watched)
    assert_shares_make_up_the_batch(monkeypatch, folder, processes=4, step=1, n=12)
    assert read == [12, 3, 3, 3, 3]


@pytest.mark.parametrize("size, rounded", [(3, 4), (4, 4), (7, 4), (8, 8)])
def test_no_process_is_left_without_pairs(tmp_path, monkeypatch, size, rounded):
    """With fewer pairs than processes each still has one; all have equally many."""
    hurry(monkeypatch.setattr)
    monkeypatch.setenv("WORLD_SIZE", "4")
    sizes = []

    def no_training(data, model, tokenizer, batch_size, **options):
        sizes.append(batch_size)

    # by the command line
    args = train_tiny.parse(["--batch-size", str(size), "--out", str(tmp_path)])
    train_tiny.run(args, train_function=no_training)
    # by the function
    be_one_of(monkeypatch, 4)
    monkeypatch.setattr(torch.nn.parallel, "DistributedDataParallel", lambda towers: towers)
    monkeypatch.setattr(train_tiny, "train", no_training)
    model, tokenizer = tiny("tiny-ViT")
    LargeBatches().train(World(), model, tokenizer, batch_size=size)
    assert sizes == [rounded, rounded]


def test_processes_share_the_memory_for_pictures(tmp_path, monkeypatch):
    def no_folder(path, resolution, seed, device, captions_from_names, memory, mean, std):
        raise ValueError(f"{memory:.0f}")

    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setattr("tutorial.extras.own_images.Folder", no_folder)
    args = train_tiny.parse(["--data", str(tmp_path), "--out", str(tmp_path)])
    with pytest.raises(ValueError, match="^500000000$"):
        train_tiny.run(args)


# ---- The command line ----------------------------------------------------------------------------


def prepare(rank, dies):
    """In a process: the first one alone writes, and the second one is killed at step 5 if it shall be."""
    hurry()
    if rank == "1":
        train_tiny.write = None  # called, it would be an error
        train_tiny.save = None
    if rank == "1" and dies:
        at_step(pytest.MonkeyPatch(), 5, lambda: os.kill(os.getpid(), 9))


def command_line(folder, rank, dies, port, argv):
    """What each process does, as torchrun starts it; what it prints goes to files."""
    sys.stdout = open(folder / f"{rank}.out", "w")
    sys.stderr = open(folder / f"{rank}.err", "w")
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port, WORLD_SIZE="2", RANK=rank, LOCAL_RANK=rank)
    prepare(rank, dies)
    code = main(argv)
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def command_lines(folder, dies, *argv):
    """Forks two processes and prints their exit statuses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    ids = [start(partial(command_line, folder, rank, dies == "True", port, argv)) for rank in "01"]
    print(json.dumps([status(pid) for pid in ids]))


def in_two(tmp_path, *argv, dies=False):
    """The command line in two processes, of which the second may die -> (printed, errors, status) of each."""
    argv = ["--model", "tiny-ViT", "--out", tmp_path / "run", *argv]
    statuses = json.loads(forked(__file__, tmp_path, "command_lines", dies, *argv))
    found = []
    for rank, code in enumerate(statuses):
        printed = (tmp_path / f"{rank}.out").read_text()
        errors = (tmp_path / f"{rank}.err").read_text()
        found.append((printed, errors, code))
    return found


def test_the_first_of_two_processes_speaks_and_writes(tmp_path):
    """Seventeen pairs are not two equal shares, sixteen are."""
    first, second = in_two(tmp_path, "--steps", "4", "--batch-size", "17")
    printed, errors, code = first
    assert code == 0, errors
    assert printed.startswith("2 processes\n")
    assert "batches of 16" in printed
    assert printed.count("step     4/4") == 1
    assert "Traceback" not in errors
    printed, errors, code = second
    assert code == 0, errors
    assert printed == ""
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "clip.pt", "curves.png", "log.jsonl", "similarity.png", "state.before.pt", "state.pt"]
    assert len((tmp_path / "run/log.jsonl").read_text().splitlines()) == 4
    load(tmp_path / "run/clip.pt")


@pytest.mark.slow
def test_a_process_that_dies_ends_the_other_with_one_line(tmp_path, monkeypatch):
    """Instead of leaving it to wait for ever; the last state is kept, and one process can go on with it."""
    first, second = in_two(tmp_path, "--steps", "9", "--batch-size", "4", dies=True)
    _, errors, code = first
    lines = [line for line in errors.splitlines() if line.startswith("train_tiny.py: ")]
    assert len(lines) == 1
    assert "another process has ended" in lines[0] and "peer" in lines[0]
    assert "Traceback" not in errors
    assert code in (2, -6)  # threads of PyTorch's may abort the process after its last line
    assert second[2] == -9
    assert restore(tmp_path / "run", "cpu")["step"] == 4
    hurry(monkeypatch.setattr)
    assert main(["--resume", "--out", str(tmp_path / "run")]) == 0


@pytest.mark.slow
def test_a_run_of_one_process_goes_on_in_two(tmp_path, monkeypatch):
    """And ends as it would have in one, but for rounding."""
    hurry(monkeypatch.setattr)
    argv = ["--model", "tiny-ViT", "--steps", "6", "--batch-size", "4", "--out"]
    assert main([*argv, str(tmp_path / "whole")]) == 0
    with monkeypatch.context() as patch:
        at_step(patch, 5, lambda: os.kill(os.getpid(), 2))
        assert main([*argv, str(tmp_path / "run")]) == 130
    first, second = in_two(tmp_path, "--resume")
    assert first[2] == second[2] == 0, first[1]
    losses = []
    weights = []
    for name in ("whole", "run"):
        rows = (tmp_path / name / "log.jsonl").read_text().splitlines()[1:-1]
        losses.append([json.loads(row)["loss"] for row in rows])
        weights.append(load(tmp_path / name / "clip.pt")[0].state_dict())
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    # they round differently, or there were not two
    assert any(not weights[1][key].equal(value) for key, value in weights[0].items())


SCRIPT = """
import os, sys
sys.path[:0] = {paths}
import test_distributed, train_tiny
test_distributed.prepare(os.environ["RANK"], dies=True)
sys.exit(train_tiny.main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("dies", [False, True])
def test_torchrun_trains_and_ends_when_a_process_dies(tmp_path, dies):
    """The real launcher, on the real file where none dies."""
    script = train_tiny.__file__
    if dies:
        tests = Path(__file__).parent
        script = tmp_path / "script.py"
        script.write_text(SCRIPT.format(paths=[str(tests), str(tests.parent)]))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    argv = ["--model", "tiny-ViT", "--steps", "9", "--batch-size", "8", "--out", str(tmp_path / "run")]
    done = subprocess.run([*torchrun, str(script), *argv], capture_output=True, text=True)
    if dies:
        assert done.returncode != 0
        assert "Signal 9 (SIGKILL)" in done.stderr
    else:
        assert done.returncode == 0
        assert done.stdout.count("trained in") == 1
        assert "Traceback" not in done.stderr
    assert restore(tmp_path / "run", "cpu")["step"] == (4 if dies else 9)


if __name__ == "__main__":
    JOBS = {"work_in_all": work_in_all, "command_lines": command_lines}
    JOBS[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
