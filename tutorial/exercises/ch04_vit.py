"""Chapter 4, the vision transformer: Dosovitskiy et al. 2020 with the small changes of Section 2.4.

Shapes: B batch, R resolution, P side of a patch, G = R/P patches a side, T = G² patches, D width.
"""
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure


# Exercise 4.1: write, difficulty 2 of 5, about 15 minutes
# hints: python tutorial/grade.py 4.1 --hint 1, then 2, 3
def patches(images, P):
    """(B, 3, R, R) -> (B, T, 3 P²): the patches, row by row.

    In each patch all of red comes first, then green, then blue, each of them row by row.
    """
    raise NotImplementedError("Exercise 4.1")


# Exercise 4.2: bug, difficulty 1 of 5, about 5 minutes
# hints: python tutorial/grade.py 4.2 --hint 1, then 2, 3
def patch_embedding(images, weight):
    """Images (B, 3, R, R), weight (D, 3, P, P) -> (B, T, D), one vector for each patch, row by row.

    A linear layer on patches is a convolution whose stride is its size. The mistake is elsewhere.
    """
    x = F.conv2d(images, weight, stride=weight.shape[-1])  # (B, D, G, G)
    return x.reshape(len(images), -1, len(weight))


# Exercise 4.3: write, difficulty 1 of 5, about 5 minutes
# hints: python tutorial/grade.py 4.3 --hint 1, then 2, 3
def add_class_token(x, class_embedding, positional_embedding):
    """x (B, T, D) -> (B, T + 1, D): the class token comes first, then positions are added to all tokens.

    class_embedding (D,), positional_embedding (T + 1, D).
    """
    raise NotImplementedError("Exercise 4.3")


# Exercise 4.4: write, difficulty 3 of 5, about 20 minutes
# hints: python tutorial/grade.py 4.4 --hint 1, then 2, 3
def interpolate_positions(positional_embedding, side):
    """(1 + G², D) -> (1 + side², D), for images of another resolution.

    The grid of positions is resized bilinearly (F.interpolate, align_corners=False). The class
    token's position stays as it is.
    """
    raise NotImplementedError("Exercise 4.4")


# Exercise 4.5: predict, difficulty 1 of 5, about 5 minutes
# hints: python tutorial/grade.py 4.5 --hint 1, then 2, 3
def predict_attention_growth():
    """By what factor does the number of attention weights of a head grow (float)?

    ViT-L/14 looks at 336 instead of 224 pixels a side. The class token counts. Think first; two
    digits behind the point.
    """
    raise NotImplementedError("Exercise 4.5")


# Exercise 4.6: draw, difficulty 2 of 5, about 15 minutes
# hints: python tutorial/grade.py 4.6 --hint 1, then 2, 3
def draw_position_similarity(positional_embedding, row, column):
    """(1 + G², D) -> Figure with one imshow (G, G): cosines of the position at (row, column) with all.

    The class token's position is left out. Label both axes.
    """
    raise NotImplementedError("Exercise 4.6")
