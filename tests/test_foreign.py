"""OpenAI's files: state dicts and TorchScript, downloads, merges, and the one line that broken files get.

Both readers are tested: clip_minimal.load, and load_other of tutorial/extras/convert.py, whose other layouts are
tested in test_convert.py.
"""
import functools
import gzip
import http.server
import itertools
import os
import pickle
import re
import sys
import threading
import zipfile
from dataclasses import replace
from hashlib import sha256

import pytest
import torch
from torch import nn

import clip_minimal
from clip_minimal import BYTES, CLIP, CONFIGS, CLIPConfig, Tokenizer, infer_config, load
from tutorial.extras.convert import load_other

VIT = CLIPConfig(64, 32, 2, 128, 8, 64, 2)
SMALL = replace(VIT, vocab_size=600)  # for files that are refused before a tokenizer is looked for
RESNET = CLIPConfig(64, 64, (1, 2, 1, 1), 2, None, 64, 1)
MERGES = [*itertools.product(BYTES.values(), BYTES.values())][:48894]
PAIRS = [f"{a} {b}" for a, b in MERGES]
VIT_AND_RESNET = pytest.mark.parametrize("config", [VIT, RESNET], ids=["ViT", "ResNet"])
BOTH_READERS = pytest.mark.parametrize("reader", [load, load_other])
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")


def merges_file(path, first=0):
    """As many made-up merges as OpenAI's file has, beginning with one that can be told from another file's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("\n".join(["a header", *PAIRS[first:], *PAIRS[:first], ""]).encode(), 1))
    return path


@pytest.fixture(scope="session")
def bpe(tmp_path_factory):
    return merges_file(tmp_path_factory.mktemp("bpe") / "merges.txt.gz")


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path, bpe):
    """An empty home folder, made-up merges and no proxy, so that nothing depends on the machine."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CLIP_BPE", str(bpe))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "home"


@functools.cache
def original(config):
    """A state dict in which all is random, what begins as ones or zeros too, so that no mix-up is hidden."""
    torch.manual_seed(0)
    return {key: (torch.rand_like(x) / 2 + 0.5 if "var" in key else x + torch.randn_like(x) / 10)
            if x.is_floating_point() else x + 7 for key, x in CLIP(config).state_dict().items()}


def weights_of(config, dtype=torch.float):
    return {key: x.to(dtype) if x.is_floating_point() else x for key, x in original(config).items()}


@torch.no_grad()
def features(model):
    """Of two images and two texts, always the same."""
    draw, R = torch.Generator().manual_seed(1), model.config.image_resolution
    tokens = torch.randint(0, 49406, (2, 12), generator=draw)
    tokens[:, 7] = 49407
    return model.encode_image(torch.randn(2, 3, R, R, generator=draw)), model.encode_text(tokens)


def check(reader, path, config, weights, **options):
    """reader(path) gives that model, these weights in float32, and the merges of CLIP_BPE."""
    model, tokenizer = reader(path, **options)
    assert model.config == config and not any(module.training for module in model.modules())
    with torch.device("meta"):  # to save the time for random weights
        expected = CLIP(config).eval()
    weights = {key: x.float() if x.is_floating_point() else x for key, x in weights.items()}
    expected.load_state_dict(weights, assign=True)
    read = model.state_dict()
    for key, x in expected.state_dict().items():
        assert read[key].dtype == x.dtype and read[key].equal(x), key
    for got, wanted in zip(features(model), features(expected)):
        torch.testing.assert_close(got, wanted)
    assert tokenizer.merges == MERGES


# ---- State dicts -----------------------------------------------------------------------------------------------------


@BOTH_READERS
@VIT_AND_RESNET
@pytest.mark.parametrize("dtype", [torch.float, torch.half, torch.bfloat16, torch.double], ids=str)
def test_state_dict_of_any_precision(tmp_path, reader, config, dtype):
    torch.save(weights_of(config, dtype), tmp_path / "x.pt")
    check(reader, tmp_path / "x.pt", config, weights_of(config, dtype))


@BOTH_READERS
@VIT_AND_RESNET
def test_state_dict_with_three_integers(tmp_path, reader, config):
    """As OpenAI's code saves it, here as PyTorch before 1.6 did: pickles one after the other, no zip."""
    numbers = dict(input_resolution=config.image_resolution, context_length=77, vocab_size=49408)
    numbers = {key: torch.tensor(value) for key, value in numbers.items()}
    torch.save({**numbers, **weights_of(config)}, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    check(reader, tmp_path / "x.pt", config, weights_of(config))


# ---- TorchScript -----------------------------------------------------------------------------------------------------


@BOTH_READERS
@VIT_AND_RESNET
def test_torchscript(tmp_path, reader, config):
    """OpenAI's own format, in half precision and with three integers."""
    model, R = CLIP(config).half().eval(), config.image_resolution
    model.load_state_dict(weights_of(config, torch.half))
    both = torch.cat([torch.zeros(77, 64).half(), model.positional_embedding]).data  # views come back as they were
    model.positional_embedding.data = both[77:]
    model.text_projection.data = model.text_projection.data.T.clone().T
    for name, value in dict(input_resolution=R, context_length=77, vocab_size=49408).items():
        model.register_buffer(name, torch.tensor(value))
    inputs = dict(encode_image=torch.randn(1, 3, R, R), encode_text=torch.full((1, 77), 49407))
    torch.jit.save(torch.jit.trace_module(model, inputs, check_trace=False), tmp_path / "x.pt")
    check(reader, tmp_path / "x.pt", config, weights_of(config, torch.half))


class Trap(nn.Module):
    """Loaded by PyTorch's reader, it writes a file."""

    def __init__(self, path):
        super().__init__()
        self.path, self.x = path, torch.zeros(1)

    @torch.jit.export
    def __getstate__(self):
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]):
        self.path, self.training = state[0], state[1]
        self.x = torch.from_file(state[0], True, 10).fill_(7)

    def forward(self, x):
        return x


@BOTH_READERS
def test_code_in_a_torchscript_archive_is_not_run(tmp_path, reader):
    path, trap = tmp_path / "x.pt", tmp_path / "sprung"
    torch.jit.save(torch.jit.script(Trap(str(trap))), path)
    refused(reader, path)
    assert not trap.exists()
    torch.jit.load(path)  # the trap does work
    assert trap.exists()


@BOTH_READERS
@pytest.mark.parametrize("name", ["from_file", "from_fileStorage", "save", "saveStorage"])
def test_functions_in_a_torchscript_archive_are_not_called(tmp_path, reader, name):
    """Its pickle may name storages and modules but no function, in no disguise: one that writes a file is not run."""
    path, trap = tmp_path / "x.pt", tmp_path / "sprung"
    arguments = (7, str(trap)) if name.startswith("save") else (str(trap), True, 10)
    with zipfile.ZipFile(path, "w") as archive:
        call = pickle.dumps(arguments, 2)[2:-1] + b"R."  # without the protocol, and with a call at the end
        archive.writestr("x/data.pkl", b"\x80\x02ctorch\n" + name.encode() + b"\n" + call)
        archive.writestr("x/constants.pkl", b"\x80\x02).")
    refused(reader, path)
    assert not trap.exists()
    getattr(torch, name.removesuffix("Storage"))(*arguments)  # the trap does work
    assert trap.exists()


# ---- The shapes tell the configuration -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("quick_gelu", [True, False])
def test_configuration_comes_from_shapes(name, quick_gelu):
    config = replace(CONFIGS[name], quick_gelu=quick_gelu)
    with torch.device("meta"):
        weights = CLIP(config).state_dict()
    if name == "tiny-RN":  # its 48 pixels give as many places as 32 would
        weights["input_resolution"] = torch.tensor(48)
    assert infer_config(weights, quick_gelu) == config


def test_vision_transformers_with_other_heads_are_refused():
    """The larger ones of others have heads of 80 or 88 channels, which no shape tells; they would compute nonsense."""
    with torch.device("meta"):
        weights = CLIP(replace(VIT, vision_width=1280)).state_dict()
    with pytest.raises(ValueError, match="1280 wide .* heads that are not 64"):
        infer_config(weights, True)


# ---- Files that are no checkpoint ------------------------------------------------------------------------------------


def refused(reader, path):
    """The one line that the reader says about the file."""
    with pytest.raises(ValueError, match=re.escape(str(path))) as error:
        reader(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < len(str(path)) + 260
    return str(error.value)


def torchscript(path):
    torch.jit.save(torch.jit.script(nn.Linear(100, 100)), path)


@BOTH_READERS
@pytest.mark.parametrize("write", [
    lambda path: torch.save(weights_of(SMALL), path), torchscript,
    lambda path: torch.save(weights_of(SMALL), path, _use_new_zipfile_serialization=False),
], ids=["zip", "TorchScript", "pickle"])
@pytest.mark.parametrize("share", [0, 0.0001, 0.01, 0.3, 0.7, 0.99, 0.99999])
def test_truncated(tmp_path, reader, write, share):
    write(tmp_path / "x")
    whole = (tmp_path / "x").read_bytes()
    (tmp_path / "x").write_bytes(whole[:int(share * len(whole))])
    refused(reader, tmp_path / "x")


@BOTH_READERS
@pytest.mark.parametrize("content, message", [
    (b"<!DOCTYPE html>\n<title>404</title>", "<!DOCTYP"), (b"<html>", "<html>"), (b"", "b''"), (b"{", "b'{'"),
    (b'{"model": "ViT"}', '{"model"'), (b"version https://git-lfs.github.com/spec/v1\n", "version "),
    (b"PK\x03\x04 and no more", "zip"),
], ids=str)
def test_something_else(tmp_path, reader, content, message):
    """What PyTorch did not write is answered with how it begins, or with what its reader says."""
    (tmp_path / "x").write_bytes(content)
    assert message in refused(reader, tmp_path / "x")


def test_torchscript_of_something_else(tmp_path):
    """One reader points to the other, which says what is missing."""
    torchscript(tmp_path / "x.pt")
    assert "its weights have other names than OpenAI's" in refused(load, tmp_path / "x.pt")
    assert "there is no 'positional_embedding'" in refused(load_other, tmp_path / "x.pt")


@BOTH_READERS
@pytest.mark.parametrize("error, expected", [
    (KeyError("colour"), "there is no 'colour'"), (KeyError("c" * 500), "there is no 'ccc"),
    (ValueError("two\n  lines"), "two lines"), (MemoryError(), "MemoryError()"),
    (ValueError("long before. " * 40 + "GLOBAL posix.mkdir"), "(GLOBAL posix.mkdir)"),
], ids=["key", "long key", "lines", "empty", "code"])
def test_what_readers_say_is_put_into_one_line(tmp_path, monkeypatch, reader, error, expected):
    """However PyTorch's readers fail, and however much they say about it."""
    def fail(path, **options):
        raise error

    torch.save({}, tmp_path / "x.pt")
    monkeypatch.setattr(torch, "load", fail)
    assert expected in refused(reader, tmp_path / "x.pt")


@BOTH_READERS
@pytest.mark.parametrize("content", [{"state_dict": 3}, [1, 2], {"state_dict": {}}, {"state_dict": [1]}], ids=str)
def test_content_of_something_else(tmp_path, reader, content):
    torch.save(content, tmp_path / "x.pt")
    refused(reader, tmp_path / "x.pt")


@BOTH_READERS
@pytest.mark.parametrize("key, new, message", [
    ("positional_embedding", None, "there is no 'positional_embedding'"),
    ("ln_final.weight", None, "Missing key(s) in state_dict: \"ln_final.weight\""),
    ("ln_final.weight", torch.ones(5), "size mismatch for ln_final.weight"),
    ("visual.colour", torch.ones(5), "Unexpected key(s) in state_dict: \"visual.colour\""),
    ("visual.conv1.weight", torch.ones(128, 3, 8, 4), "visual.conv1.weight"),
    ("token_embedding.weight", torch.ones(600, 64).long(), "token_embedding.weight"),
])
def test_wrong_weights(tmp_path, reader, key, new, message):
    """The first weight that is missing, too many or of another shape is named."""
    weights = weights_of(SMALL) | {key: new}
    torch.save({key: x for key, x in weights.items() if x is not None}, tmp_path / "x.pt")
    assert message in refused(reader, tmp_path / "x.pt")


@BOTH_READERS
def test_another_vocabulary_without_merges(tmp_path, reader):
    torch.save(weights_of(SMALL), tmp_path / "x.pt")
    assert "there are no merges for its 600 tokens" in refused(reader, tmp_path / "x.pt")


@BOTH_READERS
def test_missing_file(tmp_path, reader):
    """The message says what makes one, and which can be had by name."""
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "none.pt"))) as error:
        reader(tmp_path / "none.pt")
    assert all(word in str(error.value) for word in ["python train_tiny.py", "RN50x64", "ViT-L/14@336px"])
    assert "\n" not in str(error.value)


# ---- Downloads -------------------------------------------------------------------------------------------------------


class Handler(http.server.BaseHTTPRequestHandler):
    """Sends the server's content from the byte asked for, the whole if mode is "whole", half of it if "broken"."""

    def do_GET(self):
        content, mode = self.server.content, self.server.mode
        self.server.asked.append((self.path, self.headers["Range"]))
        if mode == "rubbish":
            return self.wfile.write(b"no HTTP")
        start = 0 if mode == "whole" else int(re.fullmatch(r"bytes=(\d+)-", self.headers["Range"])[1])
        if mode == 404 or start and start >= len(content):
            return self.send_error(404 if mode == 404 else 416)
        self.send_response(200 if mode == "whole" else 206)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:(start + len(content)) // 2 if mode == "broken" else None])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    """A server on this machine, with a list of the paths and ranges that it was asked for."""
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.mode, server.asked, server.content = "range", [], bytes(range(256)) * 20_000
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def cached(home, name="x.bin"):
    (home / ".cache/clip").mkdir(parents=True, exist_ok=True)
    return home / ".cache/clip" / name


def download(server, digest=None):
    return clip_minimal.download(f"{server.url}/some/where/x.bin", digest or sha256(server.content).hexdigest())


@pytest.mark.parametrize("mode", ["range", "whole"])
@pytest.mark.parametrize("already", [None, 0, 1000, 3_000_000, 5_120_000])
def test_download(server, home, mode, already):
    """What is there already is not asked for again, and written over if the server sends the whole all the same."""
    server.mode = mode
    if already is not None:
        cached(home, "x.bin.part").write_bytes(server.content[:already])
    path = download(server)
    assert path == str(cached(home)) and cached(home).read_bytes() == server.content
    assert server.asked == [("/some/where/x.bin", f"bytes={already or 0}-")]
    assert [*cached(home).parent.iterdir()] == [cached(home)]
    server.mode = 404  # from now on the cache must do
    assert download(server) == path and len(server.asked) == 1


def test_broken_off_download_is_gone_on_with(server, home, capsys):
    server.mode, half = "broken", len(server.content) // 2
    with pytest.raises(ValueError, match=re.escape(str(cached(home, "x.bin.part"))) + ".*run again"):
        download(server)
    assert cached(home, "x.bin.part").read_bytes() == server.content[:half] and not cached(home).exists()
    server.mode = "range"
    assert download(server) == str(cached(home)) and cached(home).read_bytes() == server.content
    assert [asked for _, asked in server.asked] == ["bytes=0-", f"bytes={half}-"]
    assert "x.bin: " in capsys.readouterr().err and [*cached(home).parent.iterdir()] == [cached(home)]


@pytest.mark.parametrize("name", ["x.bin", "x.bin.part", None], ids=["cached", "partial", "fresh"])
def test_wrong_checksum(server, home, name):
    """A damaged file is never used: neither one of the cache, nor one that was gone on with, nor a fresh download."""
    digest, found = sha256(server.content).hexdigest(), cached(home, name or "x.bin.part")
    server.content = b"damaged" + server.content[7:]
    if name:
        found.write_bytes(server.content)
    for _ in range(2):
        with pytest.raises(ValueError, match=re.escape(str(found)) + ".*" + digest) as error:
            download(server, digest)
        assert "\n" not in str(error.value) and [*found.parent.iterdir()] == [found]


@pytest.mark.parametrize("mode, reason", [(404, "404"), ("rubbish", "no HTTP"), ("no server", "urlopen error")])
def test_no_download(server, home, mode, reason):
    """The message names the address, the reason and where the file can be put by hand."""
    server.mode = mode
    if mode == "no server":
        server.url = "http://127.0.0.1:1"  # where nobody listens
    with pytest.raises(OSError, match=f"{server.url}/some/where/x.bin.*{reason}.*{cached(home)}") as error:
        download(server)
    assert "\n" not in str(error.value) and not cached(home).exists()


def test_cache_that_can_not_be_written(server, home, monkeypatch):
    """A file in the cache is only read."""
    cached(home).write_bytes(server.content)
    monkeypatch.setattr(os, "makedirs", None)  # for root may write all the same
    monkeypatch.setattr(os, "replace", None)
    cached(home).chmod(0o444)
    cached(home).parent.chmod(0o555)
    try:
        assert download(server) == str(cached(home)) and not server.asked
    finally:
        cached(home).parent.chmod(0o755)


@pytest.fixture
def published(server, monkeypatch, tmp_path):
    """As if the server had ViT-B/32; its SHA-256."""
    torch.save(weights_of(VIT, torch.half), tmp_path / "x.pt")
    server.content = (tmp_path / "x.pt").read_bytes()
    digest = sha256(server.content).hexdigest()
    monkeypatch.setattr(clip_minimal, "WEIGHTS_URL", server.url + "/models/{sha256}/{name}.pt")
    monkeypatch.setitem(clip_minimal.SHA256, "ViT-B/32", digest)
    return digest


@BOTH_READERS
def test_published_model_by_name(server, home, published, reader):
    for _ in range(2):
        check(reader, "ViT-B/32", VIT, weights_of(VIT, torch.half))
        assert server.asked == [(f"/models/{published}/ViT-B-32.pt", "bytes=0-")]
        assert cached(home, "ViT-B-32.pt").exists()


def test_gelu_of_a_published_model(home, published, capsys):
    """The extra reader prints which GELU it has, and can be told another."""
    check(load_other, "ViT-B/32", VIT, weights_of(VIT, torch.half))
    assert capsys.readouterr().err.endswith(f"{cached(home, 'ViT-B-32.pt')}: QuickGELU\n")
    check(load_other, "ViT-B/32", replace(VIT, quick_gelu=False), weights_of(VIT, torch.half), quick_gelu=False)
    assert capsys.readouterr().err.endswith(f"{cached(home, 'ViT-B-32.pt')}: GELU\n")


@BOTH_READERS
def test_addresses(monkeypatch, reader):
    """All nine are where OpenAI put them, and checked against the digest in their address; no letter is mistyped."""
    asked = []

    def ask(url, sha256):
        asked.append((url, sha256))
        raise OSError("no network")

    monkeypatch.setattr(clip_minimal, "download", ask)
    names = ["RN50", "RN101", "RN50x4", "RN50x16", "RN50x64", "ViT-B/32", "ViT-B/16", "ViT-L/14", "ViT-L/14@336px"]
    files = ["RN50", "RN101", "RN50x4", "RN50x16", "RN50x64", "ViT-B-32", "ViT-B-16", "ViT-L-14", "ViT-L-14-336px"]
    for name, file in zip(names, files):
        with pytest.raises(OSError, match="no network"):
            reader(name)
        url, digest = asked[-1]
        assert url == f"https://openaipublic.azureedge.net/clip/models/{digest}/{file}.pt"
        assert re.fullmatch("[0-9a-f]{64}", digest)
    urls = "\n".join(url for url, _ in asked)
    assert sha256(urls.encode()).hexdigest() == "50c6e37cd0173ab88234b499f6722fd6f02fd62fb27f281d00cfd52d56b17ced"


# ---- The merges ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", ["clip", "open_clip"])
def test_merges_are_looked_for(server, home, tmp_path, monkeypatch, package):
    """In this order: the argument, CLIP_BPE, beside an installed package, the cache or the network."""
    def first(path=None):
        merges = Tokenizer.from_merges(path).merges
        assert len(merges) == 48894
        return PAIRS.index(" ".join(merges[0]))

    name = "bpe_simple_vocab_16e6.txt.gz"
    server.content = merges_file(tmp_path / "there.gz", 1).read_bytes()
    monkeypatch.setattr(clip_minimal, "MERGES_URL", f"{server.url}/{name}")
    monkeypatch.setattr(clip_minimal, "MERGES_SHA256", sha256(server.content).hexdigest())
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if not any(
        os.path.exists(os.path.join(folder, package, name)) for package in ("clip", "open_clip"))])
    monkeypatch.delenv("CLIP_BPE")
    assert first() == 1 and first() == 1 and server.asked == [("/" + name, "bytes=0-")] and cached(home, name).exists()
    merges_file(tmp_path / "packages" / package / name, 2)
    monkeypatch.syspath_prepend(tmp_path / "packages")
    assert first() == 2
    monkeypatch.setenv("CLIP_BPE", str(merges_file(tmp_path / "environment.gz", 3)))
    assert first() == 3 and first(merges_file(tmp_path / "argument.gz", 4)) == 4 and len(server.asked) == 1


@pytest.mark.parametrize("content", [
    b"", b"plain text\na b\n", gzip.compress(b"header\n" + b"a b\n" * 9)[:-12], gzip.compress(b"header\n\xff\xfe a\n"),
    gzip.compress(b"header\n" + b"a b\n" * 48893, 1), gzip.compress(b"header\n" + b"one\n" * 48894, 1),
    gzip.compress(b"header\n" + b"a b c\n" * 48894, 1), None,
], ids=["empty", "text", "truncated", "no UTF-8", "one short", "one part", "three parts", "missing"])
def test_file_that_is_not_of_merges(tmp_path, content):
    path = tmp_path / "merges.gz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(str(path))) as error:
        Tokenizer.from_merges(path)
    assert "\n" not in str(error.value)
