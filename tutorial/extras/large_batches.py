"""Section 2.5, what it takes to train with batches of 32,768 pairs: several processes, less memory, lower precision.

    torchrun --nproc_per_node=2 train_tiny.py             several processes, each with its share of every batch
    python train_tiny.py --micro-batch 64                 the encoders run on 64 pairs at a time: less memory
    python train_tiny.py --checkpointing                  activations are computed again instead of kept
    python train_tiny.py --precision float16              half precision with scaled gradients (or bfloat16, tf32)
    python train_tiny.py --compile                        kernels that torch.compile writes

The gradient is always that of the whole batch. train_tiny.py hands over to run_large when it is asked
for any of these. A step whose gradient is not finite is left out, and counted in the log.

Letters in shape comments: B pairs of the whole batch, b pairs of this process, R resolution, T tokens, E joint embedding.
"""
import math
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))
import train_tiny
from clip_minimal import Bottleneck, ResidualAttentionBlock
from tutorial.extras.own_images import Folder

# ---- The gradient of the whole batch, piece by piece ---------------------------------------------


class Towers(nn.Module):
    """Both encoders and the scale in one forward pass, as DistributedDataParallel asks for."""

    def __init__(self, model, precision="float32"):
        super().__init__()
        self.model = model
        self.dtype = torch.float32  # for "tf32" too, which is a way to multiply float32 matrices
        if precision in ("bfloat16", "float16"):
            self.dtype = getattr(torch, precision)

    def forward(self, images, tokens):
        """Images (b, 3, R, R), tokens (b, T) -> features (b, E) of both, the logarithm of the scale."""
        with torch.autocast(images.device.type, self.dtype, enabled=self.dtype != torch.float32):
            image_features = self.model.encode_image(images)
            text_features = self.model.encode_text(tokens)
        scale = self.model.logit_scale
        return image_features.to(scale.dtype), text_features.to(scale.dtype), scale


def backward(towers, images, tokens, micro_batch, scaler):
    """Add the gradient of the loss of the whole batch to the weights -> the loss of this process's share.

    The loss of a pair depends on all other pairs, so a batch can't be gone through in pieces as for a
    classifier: adding up the losses of the pieces would be another loss. But it depends on the other
    pairs by their features alone. So the features of all are computed first, without keeping
    activations; the loss gives the gradient with respect to each feature; and then each piece of
    micro_batch pairs is run again, to pass its own part of that gradient on (Gao et al. 2021, GradCache).
    Batch norm sees a piece, not the whole batch.
    """
    image_pieces = split(images, micro_batch)
    token_pieces = split(tokens, micro_batch)
    one_piece = len(image_pieces) == 1
    # the features of this process's pairs; a batch in one piece is run once, with its graph
    outputs = []
    for image_piece, token_piece in zip(image_pieces, token_pieces):
        with torch.set_grad_enabled(one_piece):
            outputs.append(towers(image_piece, token_piece))
    image_features = torch.cat([output[0].detach() for output in outputs])  # (b, E)
    text_features = torch.cat([output[1].detach() for output in outputs])  # (b, E)
    # those of all processes, as the beginning of a graph of their own
    image_features = gather(image_features).requires_grad_()  # (B, E)
    text_features = gather(text_features).requires_grad_()  # (B, E)
    scale = outputs[0][2].detach().requires_grad_()
    # the loss of the own pairs, and the gradient with respect to all features
    loss = loss_of_share(image_features, text_features, scale)
    scaler.scale(loss).backward()
    # the losses of all processes depend on each feature
    b = len(images)
    image_gradient = own_share(total(image_features.grad), b)  # (b, E)
    text_gradient = own_share(total(text_features.grad), b)  # (b, E)
    # from the features through the encoders, one piece after the other
    image_gradients = split(image_gradient, micro_batch)
    text_gradients = split(text_gradient, micro_batch)
    for i in range(len(image_pieces)):
        is_last = i == len(image_pieces) - 1
        towers.require_backward_grad_sync = is_last  # DistributedDataParallel averages once a step
        output = outputs[0] if one_piece else towers(image_pieces[i], token_pieces[i])
        gradients = (image_gradients[i], text_gradients[i], scale.grad / len(image_pieces))
        trained = [(x, gradient) for x, gradient in zip(output, gradients) if x.requires_grad]
        torch.autograd.backward([x for x, _ in trained], [gradient for _, gradient in trained])
    return loss.detach()


def split(x, micro_batch):
    """x (b, ...) -> pieces of micro_batch rows and what is left; a single row that is left joins the piece before it.

    A piece of one pair is what batch norm can't take: 5 pairs in pieces of 2 are 2 and 3, not 2, 2 and 1.
    """
    sizes = [len(piece) for piece in x.split(micro_batch)]
    if len(sizes) > 1 and sizes[-1] == 1:
        sizes = [*sizes[:-2], sizes[-2] + 1]
    return x.split(sizes)


def loss_of_share(image_features, text_features, logit_scale):
    """clip_minimal.contrastive_loss, but only the rows and columns of this process's pairs (Section 2.5).

    Features (B, E) of all processes -> scalar; the mean over the processes is the loss of the whole.
    """
    rank, processes = this_process()
    if len(image_features) < 2:
        return train_tiny.contrastive_loss(image_features, text_features, logit_scale)  # which refuses it
    I_e = F.normalize(image_features, dim=1)  # (B, E)
    T_e = F.normalize(text_features, dim=1)  # (B, E)
    b = len(I_e) // processes
    labels = torch.arange(rank * b, (rank + 1) * b, device=I_e.device)  # (b,)
    loss_i = F.cross_entropy(logit_scale.exp() * I_e[labels] @ T_e.T, labels)
    loss_t = F.cross_entropy(logit_scale.exp() * T_e[labels] @ I_e.T, labels)
    return (loss_i + loss_t) / 2


# ---- Several processes ---------------------------------------------------------------------------


def this_process():
    """-> (the number of this process, how many there are): (0, 1) unless torchrun has started more."""
    if dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def total(x):
    """A tensor, in place -> its sum over all processes."""
    if dist.is_initialized():
        dist.all_reduce(x)
    return x


def gather(features):
    """This process's features (b, E) -> those of all processes (B, E), in the order of the processes."""
    rank, processes = this_process()
    b = len(features)
    before = rank * b
    after = (processes - 1 - rank) * b
    return total(F.pad(features, (0, 0, before, after)))  # everyone else adds zeros


def own_share(x, b):
    """x (B, ...) -> this process's b rows."""
    rank, _ = this_process()
    return x[rank * b:(rank + 1) * b]


class Share:
    """Data of which each process gets its share of every batch; all else is as the data have it."""

    def __init__(self, data):
        self.data = data

    def batch(self, step, n):
        rank, processes = this_process()
        share = slice(rank * n // processes, (rank + 1) * n // processes)
        if isinstance(self.data, Folder):
            return self.data.batch(step, n, share)  # which reads the picture files of its share alone
        images, captions = self.data.batch(step, n)  # drawing scenes costs little
        return images[share], captions[share]

    def evaluate(self, model, tokenizer, n):
        return self.data.evaluate(model, tokenizer, n)


# ---- Less memory: activations computed again (Chen et al. 2016) ----------------------------------


class CheckpointedBlock(ResidualAttentionBlock):
    """Keeps its input alone, and runs again when the gradient comes back."""

    def forward(self, x, mask=None):
        return checkpoint(super().forward, x, mask, use_reentrant=False)


class CheckpointedBottleneck(Bottleneck):
    """Keeps its input alone, and runs again when the gradient comes back."""

    def forward(self, x):
        return checkpoint(super().forward, x, use_reentrant=False)


def checkpoint_blocks(model):
    """Turn all blocks of a CLIP into checkpointed ones, in place."""
    for module in model.modules():
        if type(module) is ResidualAttentionBlock:
            module.__class__ = CheckpointedBlock
        if type(module) is Bottleneck:
            module.__class__ = CheckpointedBottleneck
            for norm in module.modules():
                if isinstance(norm, nn.BatchNorm2d):
                    # run twice a step, this moves the averages as the usual 0.1 does once
                    norm.momentum = 1 - math.sqrt(0.9)
    return model


# ---- The training --------------------------------------------------------------------------------


class LargeBatches:
    """train_tiny.train with another step: `LargeBatches(micro_batch=64).train(data, model, tokenizer, ...)`."""

    def __init__(self, micro_batch=None, precision="float32", checkpointing=False, compiled=False):
        self.micro_batch = micro_batch
        self.precision = precision
        self.checkpointing = checkpointing
        self.compiled = compiled

    def train(self, data, model, tokenizer, batch_size=256, bfloat16=False, state=None, keep=None, **options):
        """As train_tiny.train. Only the first process keeps states and returns a history, the others None."""
        rank, processes = this_process()
        device = model.logit_scale.device
        if self.precision == "tf32":
            torch.set_float32_matmul_precision("high")
        # float16 has a small range, so gradients are scaled up; for others the scaler only looks for infinities
        first_scale = 65536.0 if self.precision == "float16" else 1.0
        self.scaler = torch.amp.GradScaler(device.type, first_scale)
        if state is not None and "scaler" in state:  # a run that began in one process may have none
            self.scaler.load_state_dict(state["scaler"])
        if self.checkpointing:
            checkpoint_blocks(model)
        if self.compiled:
            model.visual.compile()
            model.transformer.compile(dynamic=True)  # texts are as wide as the longest of their batch
        self.towers = Towers(model, self.precision)
        if processes > 1:
            if device.type == "cuda":
                self.towers = nn.SyncBatchNorm.convert_sync_batchnorm(self.towers)
            self.towers = nn.parallel.DistributedDataParallel(self.towers)

        share = max(1, batch_size // processes)  # pairs, equally many for each
        self.check_share(model, share)
        batch_size = share * processes

        def keep_with_scaler(state):
            if keep is not None and rank == 0:
                keep({**state, "scaler": self.scaler.state_dict()})

        history = train_tiny.train(Share(data), model, tokenizer, batch_size=batch_size, state=state,
                                   keep=keep_with_scaler, step_function=self.step, **options)
        return history if rank == 0 else None

    def check_share(self, model, share):
        """ValueError if a batch norm that is trained would see a single pair, which has no variance."""
        trained = model.visual.conv1.weight.requires_grad
        has_batch_norm = any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
        if share < 2 and trained and has_batch_norm:
            raise ValueError("each process has one pair of a batch, and batch norm needs two: take a larger --batch-size")

    def step(self, model, optimizer, images, tokens, bfloat16=False):
        """As train_tiny.training_step: images and tokens of this process's share -> the loss of the whole batch.

        A step whose gradient is not finite changes no weight; its loss is returned as NaN.
        """
        _, processes = this_process()
        buffers_before = {name: x.clone() for name, x in model.named_buffers()}  # of the batch norms
        steps_before = steps_made(optimizer, model)
        optimizer.zero_grad()
        loss = backward(self.towers, images, tokens, self.micro_batch or len(images), self.scaler)
        self.scaler.step(optimizer)  # nothing happens where a gradient is infinite or no number
        self.scaler.update(None if self.precision == "float16" else 1.0)
        model.logit_scale.data.clamp_(max=math.log(100))
        for name, x in model.named_buffers():
            x.copy_(torch.where(x.isfinite(), x, buffers_before[name]))
        loss = total(loss) / processes
        made = steps_made(optimizer, model) > steps_before
        return torch.where(made, loss, torch.nan)


def steps_made(optimizer, model):
    """How many steps the optimizer has made, as a tensor, so that a GPU need not be waited for."""
    state = optimizer.state[model.logit_scale]
    if "step" in state:
        return state["step"].clone()
    return torch.zeros((), device=model.logit_scale.device)


def run_large(args, state=None):
    """train_tiny.run with the options for large batches, in each of the processes that torchrun has started."""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        if args.device == "cuda":
            args.device = f"cuda:{os.environ['LOCAL_RANK']}"
            torch.cuda.set_device(args.device)
        dist.init_process_group()
    rank, processes = this_process()
    if rank != 0:
        sys.stdout = open(os.devnull, "w")  # the first process speaks for all
    if processes > 1:
        print(f"{processes} processes")
    trainer = LargeBatches(args.micro_batch, args.precision, args.checkpointing, args.compile)
    try:
        train_tiny.run(args, state, trainer.train)
    except RuntimeError as error:
        if "peer" not in str(error):
            raise
        reason = str(error).splitlines()[0]
        raise OSError(f"another process has ended ({reason}); --resume goes on from the last state") from None
