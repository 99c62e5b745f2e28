"""Chapter 4, the vision transformer: Dosovitskiy et al. 2020 with the small changes of Section 2.4.

Shapes: B batch, R resolution, P patch, G = R/P patches a side, T = G² patches, D width.
"""
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure


# Exercise 4.1
def patches(images, P):
    """(B, 3, R, R) -> (B, T, 3 P²): patches row by row; in each all of red, then green, then blue, row by row."""
    # solution
    return F.unfold(images, P, stride=P).transpose(1, 2)
    # end


# Exercise 4.2
def patch_embedding(images, weight):
    """Images (B, 3, R, R), weight (D, 3, P, P) -> (B, T, D), one vector for each patch, row by row.

    A linear layer on patches is a convolution whose stride is the patch. That is not where the mistake is."""
    # solution
    return F.conv2d(images, weight, stride=weight.shape[-1]).flatten(2).transpose(1, 2)
    # given
    # x = F.conv2d(images, weight, stride=weight.shape[-1])
    # return x.reshape(len(images), -1, len(weight))
    # end


# Exercise 4.3
def add_class_token(x, class_embedding, positional_embedding):
    """x (B, T, D), class_embedding (D,), positional_embedding (T + 1, D) -> (B, T + 1, D): the class token comes
    first, then positions are added to all."""
    # solution
    first = class_embedding.expand(len(x), 1, -1)  # (B, 1, D)
    return torch.cat([first, x], dim=1) + positional_embedding
    # end


# Exercise 4.4
def interpolate_positions(positional_embedding, side):
    """(1 + G², D) -> (1 + side², D), for images of another resolution: the grid of positions is resized bilinearly
    (F.interpolate, align_corners=False); the class token's stays as it is."""
    # solution
    first, grid = positional_embedding[:1], positional_embedding[1:]
    G = round(len(grid) ** 0.5)
    grid = grid.T.unflatten(1, (G, G))[None]  # (1, D, G, G)
    grid = F.interpolate(grid, size=(side, side), mode="bilinear", align_corners=False)
    return torch.cat([first, grid[0].flatten(1).T])
    # end


# Exercise 4.5
def predict_attention_growth():
    """ViT-L/14 looks at 336 instead of 224 pixels a side: by what factor does the number of attention weights of a
    head grow? Think first; two digits behind the point (float), the class token counted."""
    # solution
    return round(((336 // 14) ** 2 + 1) ** 2 / ((224 // 14) ** 2 + 1) ** 2, 2)
    # end


# Exercise 4.6
def draw_position_similarity(positional_embedding, row, column):
    """(1 + G², D) -> Figure with one imshow, (G, G): the cosine of the position at (row, column) with all."""
    # solution
    grid = F.normalize(positional_embedding[1:], dim=-1)  # (G², D)
    G = round(len(grid) ** 0.5)
    axis = Figure(figsize=(4, 4)).add_subplot()
    axis.imshow((grid @ grid[row * G + column]).view(G, G).detach().numpy(), vmin=-1, vmax=1)
    axis.set(xlabel="column of the patch", ylabel="row of the patch", title="cosine of positions")
    return axis.figure
    # end
