"""Several processes: what they learn is what one would have learned from the whole batch, and each does its share."""
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F

import train_tiny
from clip_minimal import load
from test_resume import hurry
from test_train import SCALER, example, gradients, tiny
from train_tiny import Towers, World, backward, main, total, train

PAIRS = 16  # of all processes, so that 2 and 4 have equal shares


class Scenes(World):
    """The pictogram world without its examination, which takes longer than these tests."""

    def evaluate(self, model, tokenizer, n):
        return {}


def trained(name):
    """Two steps in float64 -> the model and its history."""
    model, tokenizer = tiny(name)
    return model, train(Scenes(), model.double(), tokenizer, steps=2, batch_size=PAIRS, lr=1e-3, every=1)


def work(rank, world, folder):
    """What each process does: gradients of one batch, whole and in pieces, and a short training; results to a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world)
    results, share = {}, slice(rank * PAIRS // world, (rank + 1) * PAIRS // world)
    shapes, cross_entropy = [], F.cross_entropy
    F.cross_entropy = lambda logits, labels: shapes.append(tuple(logits.shape)) or cross_entropy(logits, labels)
    for name in ("tiny-RN", "tiny-ViT"):
        for piece in (PAIRS, 3):
            model, images, tokens = example(name, PAIRS)
            model.train(piece == PAIRS)
            towers, sent = torch.nn.parallel.DistributedDataParallel(Towers(model, "float32")), []
            towers.register_forward_pre_hook(lambda module, _: sent.append(module.require_backward_grad_sync))
            loss = total(backward(towers, images[share], tokens[share], piece, SCALER)) / world
            results[name, piece] = loss.item(), {key: p.grad for key, p in model.named_parameters()}
            results["sent"] = sent[len(sent) // 2:]  # of the runs with a graph
    results["shapes"] = shapes
    for name in ("tiny-RN", "tiny-ViT"):
        model, history = trained(name)
        results[name] = model.state_dict(), history
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def results(request, tmp_path_factory):
    """What real processes that talk over gloo found, one entry each."""
    folder = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.spawn(work, (request.param, folder), request.param)
    return [torch.load(folder / f"{rank}.pt") for rank in range(request.param)]


@pytest.mark.parametrize("piece", [PAIRS, 3])
@pytest.mark.parametrize("name", ["tiny-RN", "tiny-ViT"])
def test_gradients_of_all_processes_are_those_of_the_whole_batch(results, name, piece):
    """In each of them, to 1e-10; batch norms in training see the pairs of their process, and so they do here."""
    model, images, tokens = example(name, PAIRS)
    model.train(piece == PAIRS)
    features = torch.cat([model.encode_image(part) for part in images.split(PAIRS // len(results))])
    loss, expected = gradients(model, (features, model.encode_text(tokens)))
    for process in results:
        assert process[name, piece][0] == pytest.approx(loss, abs=1e-10)
        for key, gradient in expected.items():
            torch.testing.assert_close(process[name, piece][1][key], gradient, atol=1e-10, rtol=0, msg=key)


def test_each_process_computes_the_similarities_of_its_own_pairs(results):
    """Section 2.5: b rows of the images' matrix and b of the texts', not B; else N processes do N times the work."""
    for process in results:
        assert process["shapes"] and set(process["shapes"]) == {(PAIRS // len(results), PAIRS)}


def test_gradients_are_sent_once_a_step(results):
    """With the last piece, not with each: what is sent is as large as the model."""
    for process in results:
        pieces = -(-PAIRS // len(results) // 3)
        assert process["sent"] == [False] * (pieces - 1) + [True]


@pytest.mark.parametrize("name", ["tiny-RN", "tiny-ViT"])
def test_processes_train_one_model(results, name):
    """After two steps all have the same weights, to the last bit, and tell the same history."""
    (first, history), *others = [process[name] for process in results]
    for weights, same in others:
        assert all(torch.equal(w, weights[key]) for key, w in first.items() if "running" not in key)
        assert [row["loss"] for row in same] == [row["loss"] for row in history]


def test_processes_train_the_model_that_one_trains(results):
    """Data, losses, updates, scale: nothing tells how many processes there were, where no batch norm does."""
    model, rows = trained("tiny-ViT")
    weights, history = results[0]["tiny-ViT"]
    assert [row["loss"] for row in history] == pytest.approx([row["loss"] for row in rows], abs=1e-10)
    for key, w in model.state_dict().items():
        torch.testing.assert_close(weights[key], w, atol=1e-8, rtol=0, msg=key)


@pytest.mark.parametrize("world", [2, 4])
def test_shares_of_the_world_make_up_its_batch(world):
    """Also in a step of names only; nothing is drawn twice, and nothing left out."""
    for step in (0, 1):
        images, captions = World(5).batch(step, 12)
        shares = [World(5).batch(step, 12, slice(rank * 12 // world, (rank + 1) * 12 // world))
                  for rank in range(world)]
        assert torch.equal(torch.cat([share[0] for share in shares]), images)
        assert [caption for share in shares for caption in share[1]] == captions


# ---- The command line ------------------------------------------------------------------------------------------------

PATHS = [str(Path(__file__).parent), str(Path(train_tiny.__file__).parent)]
HURRY = """
import os, sys
sys.path[:0] = {paths}
import test_resume, train_tiny
test_resume.hurry()
if os.environ["RANK"] == "1":
    train_tiny.write = train_tiny.save = None  # called, it would be an error
if os.environ["RANK"] == "1" and {dies}:
    test_resume.at_step(test_resume.pytest.MonkeyPatch(), 5, lambda: os.kill(os.getpid(), 9))
sys.exit(train_tiny.main(sys.argv[1:]))
"""


def in_two(tmp_path, *argv, dies=False):
    """The command line in two processes, as torchrun starts them, the second killed at step 5 if it shall be
    -> what each printed, and its status."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    code = HURRY.format(paths=PATHS, dies=dies)
    command = [sys.executable, "-c", code, "--model", "tiny-ViT", "--out", str(tmp_path), *argv]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  env=os.environ | where | {"RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": "1"})
                 for rank in "01"]
    return [(*process.communicate(), process.returncode) for process in processes]


def test_the_first_of_two_processes_speaks_and_writes(tmp_path):
    """Seventeen pairs are not two equal shares, sixteen are."""
    (first, errors, status), (second, _, other) = in_two(tmp_path, "--steps", "4", "--batch-size", "17")
    assert status == other == 0, errors
    assert "batches of 16" in first and first.count("step     4/4") == 1 and "2 x 1 threads" in first
    assert second == "" and "Traceback" not in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "clip.pt", "curves.png", "log.jsonl", "similarity.png", "state.0.pt", "state.1.pt"]
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 4
    load(tmp_path / "clip.pt")


@pytest.mark.slow
def test_a_process_that_dies_ends_the_other_with_one_line(tmp_path, monkeypatch):
    """Instead of leaving it to wait for ever; the last state is kept, and one process can go on with it."""
    (_, errors, status), (*_, killed) = in_two(tmp_path, "--steps", "9", "--batch-size", "4", dies=True)
    lines = [line for line in errors.splitlines() if line.startswith("train_tiny.py: ")]
    assert len(lines) == 1 and "peer" in lines[0] and "Traceback" not in errors
    assert killed == -9 and status in (2, -6)  # threads of PyTorch's may abort the process after its last line
    assert train_tiny.restore(tmp_path, "cpu")["step"] == 4
    hurry(monkeypatch.setattr)
    assert main(["--resume", "--out", str(tmp_path)]) == 0


def test_no_process_is_left_without_pairs(tmp_path, monkeypatch):
    """With fewer pairs than processes each still has one."""
    sizes = []
    monkeypatch.setattr(train_tiny, "processes", lambda: (0, 4))
    monkeypatch.setattr(train_tiny, "train", lambda *args: sizes.append(args[4]) or exit())
    for size in ("3", "4", "7", "8"):
        with pytest.raises(SystemExit):
            main(["--batch-size", size, "--out", str(tmp_path)])
    assert sizes == [4, 4, 4, 8]


def test_processes_share_the_memory_for_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(train_tiny, "processes", lambda: (0, 4))
    monkeypatch.setattr(train_tiny.zeroshot, "Folder", lambda *args, memory: exit(f"{memory:.0f}"))
    with pytest.raises(SystemExit, match="^500000000$"):
        main(["--data", str(tmp_path), "--out", str(tmp_path)])


@pytest.mark.slow
@pytest.mark.parametrize("dies", [False, True])
def test_torchrun_trains_and_ends_when_a_process_dies(tmp_path, dies):
    """The real launcher, on the real file where none dies."""
    script = tmp_path / "script.py"
    script.write_text(HURRY.format(paths=PATHS, dies=dies))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
               str(script) if dies else train_tiny.__file__, "--model", "tiny-ViT", "--steps", "9", "--batch-size", "8"]
    done = subprocess.run([*command, "--out", str(tmp_path / "run")], capture_output=True, text=True)
    if dies:
        assert done.returncode != 0 and "Signal 9 (SIGKILL)" in done.stderr
    else:
        assert done.returncode == 0 and done.stdout.count("trained in") == 1 and "Traceback" not in done.stderr
    assert train_tiny.restore(tmp_path / "run", "cpu")["step"] == (4 if dies else 9)
