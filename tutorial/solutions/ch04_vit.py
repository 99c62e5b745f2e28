"""Chapter 4, the vision transformer: Dosovitskiy et al. 2020 with the small changes of Section 2.4.

Shapes: B batch, R resolution, P side of a patch, G = R/P patches a side, T = G² patches, D width.
"""
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure


# Exercise 4.1
def patches(images, P):
    """(B, 3, R, R) -> (B, T, 3 P²): the patches, row by row.

    In each patch all of red comes first, then green, then blue, each of them row by row.
    """
    # solution
    return F.unfold(images, P, stride=P).transpose(1, 2)  # (B, 3 P², T) -> (B, T, 3 P²)
    # end


# Exercise 4.2
def patch_embedding(images, weight):
    """Images (B, 3, R, R), weight (D, 3, P, P) -> (B, T, D), one vector for each patch, row by row.

    A linear layer on patches is a convolution whose stride is its size. The mistake is elsewhere.
    """
    # solution
    x = F.conv2d(images, weight, stride=weight.shape[-1])  # (B, D, G, G)
    return x.flatten(2).transpose(1, 2)  # (B, D, G, G) -> (B, T, D)
    # given
    # x = F.conv2d(images, weight, stride=weight.shape[-1])  # (B, D, G, G)
    # return x.reshape(len(images), -1, len(weight))
    # end


# Exercise 4.3
def add_class_token(x, class_embedding, positional_embedding):
    """x (B, T, D) -> (B, T + 1, D): the class token comes first, then positions are added to all tokens.

    class_embedding (D,), positional_embedding (T + 1, D).
    """
    # solution
    first = class_embedding.expand(len(x), 1, -1)  # (B, 1, D)
    x = torch.cat([first, x], dim=1)  # (B, T + 1, D)
    return x + positional_embedding
    # end


# Exercise 4.4
def interpolate_positions(positional_embedding, side):
    """(1 + G², D) -> (1 + side², D), for images of another resolution.

    The grid of positions is resized bilinearly (F.interpolate, align_corners=False). The class
    token's position stays as it is.
    """
    # solution
    first = positional_embedding[:1]  # (1, D), the class token's
    grid = positional_embedding[1:]  # (G², D)
    G = round(len(grid) ** 0.5)
    # positions as an image of G x G pixels with D channels
    grid = grid.T.unflatten(1, (G, G))[None]  # (1, D, G, G)
    grid = F.interpolate(grid, size=(side, side), mode="bilinear", align_corners=False)
    return torch.cat([first, grid[0].flatten(1).T])  # (1 + side², D)
    # end


# Exercise 4.5
def predict_attention_growth():
    """By what factor does the number of attention weights of a head grow (float)?

    ViT-L/14 looks at 336 instead of 224 pixels a side. The class token counts. Think first; two
    digits behind the point.
    """
    # solution
    before = (224 // 14) ** 2 + 1  # tokens
    after = (336 // 14) ** 2 + 1
    return round(after ** 2 / before ** 2, 2)
    # end


# Exercise 4.6
def draw_position_similarity(positional_embedding, row, column):
    """(1 + G², D) -> Figure with one imshow (G, G): cosines of the position at (row, column) with all.

    The class token's position is left out. Label both axes.
    """
    # solution
    grid = F.normalize(positional_embedding[1:], dim=1)  # (G², D)
    G = round(len(grid) ** 0.5)
    cosines = grid @ grid[row * G + column]  # (G²,)
    axis = Figure(figsize=(4, 4)).add_subplot()
    axis.imshow(cosines.view(G, G).detach().numpy(), vmin=-1, vmax=1)
    axis.set(xlabel="column of the patch", ylabel="row of the patch", title="cosine of positions")
    return axis.figure
    # end
