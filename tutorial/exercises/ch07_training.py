"""Chapter 7, training (Section 2.5): schedule, decay, clamp, and large batches in little memory."""
import math

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure


def contrastive_loss(image_features, text_features, logit_scale):
    """Given, as in chapter 6. Features (B, E) of any length, the logarithm of the scale -> scalar."""
    I_e = F.normalize(image_features, dim=1)  # (B, E)
    T_e = F.normalize(text_features, dim=1)  # (B, E)
    logits = I_e @ T_e.T * logit_scale.exp()  # (B, B)
    labels = torch.arange(len(logits), device=logits.device)
    loss_i = F.cross_entropy(logits, labels)
    loss_t = F.cross_entropy(logits.T, labels)
    return (loss_i + loss_t) / 2


# Exercise 7.1: write, difficulty 2 of 5, about 10 minutes
# hints: python tutorial/grade.py 7.1 --hint 1, then 2, 3
def learning_rate(step, steps, peak, warmup):
    """The learning rate of a step, from 0 to steps - 1.

    In the first `warmup` steps it rises by peak / warmup each, from peak / warmup to peak. Then it
    falls along half a cosine, from peak at step `warmup` to 0 at step `steps`.
    """
    raise NotImplementedError("Exercise 7.1")


# Exercise 7.2: draw, difficulty 1 of 5, about 10 minutes
# hints: python tutorial/grade.py 7.2 --hint 1, then 2, 3
def draw_schedule(steps, peak, warmup):
    """-> Figure with one line: the learning rate of each step from 0 to steps - 1. Label both axes."""
    raise NotImplementedError("Exercise 7.2")


# Exercise 7.3: write, difficulty 2 of 5, about 10 minutes
# hints: python tutorial/grade.py 7.3 --hint 1, then 2, 3
def decay_groups(parameters):
    """{name: tensor} -> names with weight decay, names without: two lists in the given order.

    Section 2.5: decay is "applied to all weights that are not gains or biases". Gains are
    LayerNorm's and batch norm's weights; the scale has no decay either. Here: what has two axes or
    more decays.
    """
    raise NotImplementedError("Exercise 7.3")


# Exercise 7.4: write, difficulty 3 of 5, about 20 minutes
# hints: python tutorial/grade.py 7.4 --hint 1, then 2, 3
def adamw_step(p, grad, m, v, t, lr, beta1, beta2, eps, decay):
    """One step of AdamW (Loshchilov and Hutter 2019), the t-th from 1, on numpy arrays -> new p, m, v.

    m and v are running means of the gradient and of its square, from 0; both are divided by
    1 - beta^t. p loses lr decay p, beside what Adam does: decay is decoupled from the gradient.
    """
    raise NotImplementedError("Exercise 7.4")


# Exercise 7.5: bug, difficulty 1 of 5, about 5 minutes
# hints: python tutorial/grade.py 7.5 --hint 1, then 2, 3
def clamp_scale(logit_scale):
    """In place, after each step: the scale, exp(logit_scale), must not be above 100 (Section 2.5).

    It was written in good faith, but the scale has reached 500, and training has become unstable.
    """
    logit_scale.data.clamp_(max=100)


# Exercise 7.6: predict, difficulty 1 of 5, about 5 minutes
# hints: python tutorial/grade.py 7.6 --hint 1, then 2, 3
def predict_accumulated_loss():
    """What loss does an untrained model have, on average over the pieces (float)?

    Memory allows 64 pairs. For a batch of 1,024 someone adds up gradients of 16 pieces, each with
    its own loss. The features are all alike. Think first; to 0.01.
    """
    raise NotImplementedError("Exercise 7.6")


# Exercise 7.7: write, difficulty 5 of 5, about 45 minutes
# hints: python tutorial/grade.py 7.7 --hint 1, then 2, 3
def cached_gradients(encode_image, encode_text, logit_scale, images, texts, micro_batch):
    """Add the gradient of the loss of all B pairs to .grad -> the loss, a tensor without a graph.

    encode_image and encode_text are functions of a batch, each with parameters of its own; images
    and texts are tensors with B rows. The parameters and logit_scale get their .grad, but no encoder
    sees more than micro_batch pairs with a graph. Gao et al. 2021: first the features of all,
    without a graph; then the gradient of the loss by the features; then each piece again.
    """
    raise NotImplementedError("Exercise 7.7")
