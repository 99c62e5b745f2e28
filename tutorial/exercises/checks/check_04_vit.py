"""Checks of chapter 4."""
import numpy as np
import torch
import torch.nn.functional as F

from check_03_text import numbers
from compare import close, expect


def check_4_1(student):
    x = torch.arange(2 * 3 * 4 * 4.0).view(2, 3, 4, 4)

    def cut(patch):
        cuts = [patch(x[b, :, i:i + 2, j:j + 2]) for b in (0, 1) for i in (0, 2) for j in (0, 2)]
        return torch.stack(cuts).view(2, 4, 12)

    right = cut(lambda p: p.flatten())
    close(student.patches(x, 2), right, {
        "patches must be cut row by row, not column by column": right[:, [0, 2, 1, 3]],
        "in a patch all of red comes first: channels are the first axis": cut(lambda p: p.permute(1, 2, 0).flatten()),
        "inside a patch go row by row": cut(lambda p: p.transpose(1, 2).flatten()),
        "a reshape alone does not cut squares: split both axes, then swap": x.reshape(2, 4, 12),
        "swap two axes: patches come before their pixels": right.transpose(1, 2)}, "patches(x, 2)")


def check_4_2(student):
    x, weight = numbers(2, 3, 4, 6), numbers(5, 3, 2, 2)
    right = torch.stack([(weight * x[b, :, i:i + 2, j:j + 2]).sum((1, 2, 3))
                         for b in (0, 1) for i in (0, 2) for j in (0, 2, 4)]).view(2, 6, 5)
    close(student.patch_embedding(x, weight), right, {
        "a reshape from (B, D, G, G) mixes channels with places: flatten the places, then swap two axes":
            right.transpose(1, 2).reshape(2, 6, 5),
        "swap two axes: (B, T, D)": right.transpose(1, 2),
        "patches must come row by row": right[:, [0, 3, 1, 4, 2, 5]]}, "images of 4 x 6 pixels, patches of 2", 1e-4)
    got = student.patch_embedding(numbers(1, 3, 4, 4), weight)
    expect(len(np.shape(got)) == 3 and np.shape(got)[1] == 4, "patches must not overlap: the stride is the patch")


def check_4_3(student):
    x, first, positions = numbers(2, 3, 4), numbers(4), numbers(4, 4)
    tokens = torch.cat([first.expand(2, 1, 4), x], 1)
    close(student.add_class_token(x, first, positions), tokens + positions, {
        "the class token comes first": torch.cat([x, first.expand(2, 1, 4)], 1) + positions,
        "positions are added to the class token too": torch.cat([first.expand(2, 1, 4), x + positions[1:]], 1),
        "the positions are missing": tokens,
        "the first position is the class token's": torch.cat([first.expand(2, 1, 4), x + positions[:3]], 1)},
        "add_class_token")


def check_4_4(student):
    positions = numbers(1 + 9, 2)

    def resize(grid, corners=False, mode="bilinear"):
        grid = F.interpolate(grid[None], size=(5, 5), mode=mode, align_corners=corners if mode != "nearest" else None)
        return torch.cat([positions[:1], grid[0].flatten(1).T])

    grid = positions[1:].T.reshape(2, 3, 3)
    close(student.interpolate_positions(positions, 5), resize(grid), {
        "align_corners must be False, as pixels are areas": resize(grid, True),
        "channels must come first, by a swap and not by a reshape": resize(positions[1:].reshape(2, 3, 3)),
        "rows and columns changed places": resize(grid.transpose(1, 2)),
        "bilinear was asked for": resize(grid, mode="nearest"),
        "bilinear was asked for, this is bicubic": resize(grid, mode="bicubic"),
        "the class token's position must be kept, in front": resize(grid)[1:],
        "positions are a grid of two axes, not a line": torch.cat([positions[:1], F.interpolate(
            positions[1:].T[None], size=25, mode="linear", align_corners=False)[0].T])}, "from 3 x 3 to 5 x 5")
    close(student.interpolate_positions(positions, 3), positions, {}, "to the same size")


def check_4_5(student):
    close(student.predict_attention_growth(), 5.04, {
        "that is how the number of patches grows; each looks at all": 2.25,
        "that is how the number of tokens grows; each looks at all": 2.25, "count the class token": 5.06,
        "that is how the side grows": 1.5}, tolerance=0.001, tell=False)


def check_4_6(student):
    positions = numbers(1 + 9, 4)
    x, y = positions[1:].numpy(), positions.numpy()
    unit, units = x / np.linalg.norm(x, axis=1, keepdims=True), y / np.linalg.norm(y, axis=1, keepdims=True)
    shown = student.run("""
        figure = student.draw_position_similarity(positions, 1, 2)
        assert len(figure.axes) == 1 and figure.axes[0].images, "one axis with an imshow was expected"
        axis = figure.axes[0]
        return np.asarray(axis.images[0].get_array()), axis.get_xlabel(), axis.get_ylabel()
        """, positions=positions)
    close(shown[0], (unit @ unit[5]).reshape(3, 3), {
        "a cosine is wanted: bring the vectors to unit length": (x @ x[5]).reshape(3, 3),
        "row and column changed places": (unit @ unit[7]).reshape(3, 3),
        "the first position is the class token's: leave it out": (units[1:] @ units[5]).reshape(3, 3),
        "the picture is turned: rows go down": (unit @ unit[5]).reshape(3, 3).T}, "the picture for row 1, column 2")
    expect(all(shown[1:]), "label both axes")
