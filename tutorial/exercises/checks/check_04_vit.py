"""Checks of chapter 4."""
import numpy as np
import torch
import torch.nn.functional as F

from check_03_text import normal
from compare import close, expect


def check_4_1(student):
    x = torch.arange(2 * 3 * 4 * 4.0).view(2, 3, 4, 4)

    def cut(order):
        """Patches of 2 x 2 pixels, row by row; in each the axes (channel, row, column) in this order."""
        found = []
        for image in x:
            for i in (0, 2):
                for j in (0, 2):
                    patch = image[:, i:i + 2, j:j + 2]  # (3, 2, 2)
                    found.append(patch.permute(order).flatten())
        return torch.stack(found).view(2, 4, 12)

    right = cut((0, 1, 2))
    close(student.patches(x, 2), right, {
        "patches must be cut row by row, not column by column": right[:, [0, 2, 1, 3]],
        "in a patch all of red comes first: channels are the first axis": cut((1, 2, 0)),
        "inside a patch go row by row": cut((0, 2, 1)),
        "a reshape alone does not cut squares: split both axes, then swap": x.reshape(2, 4, 12),
        "swap two axes: patches come before their pixels": right.transpose(1, 2),
    }, "patches(x, 2)")


def check_4_2(student):
    x = normal(2, 3, 4, 6)
    weight = normal(5, 3, 2, 2)
    vectors = []
    for image in x:
        for i in (0, 2):
            for j in (0, 2, 4):
                patch = image[:, i:i + 2, j:j + 2]  # (3, 2, 2)
                vectors.append((weight * patch).sum((1, 2, 3)))  # (5,)
    right = torch.stack(vectors).view(2, 6, 5)
    close(student.patch_embedding(x, weight), right, {
        "a reshape from (B, D, G, G) mixes channels with places: flatten the places, then swap two axes":
            right.transpose(1, 2).reshape(2, 6, 5),
        "swap two axes: (B, T, D)": right.transpose(1, 2),
        "patches must come row by row": right[:, [0, 3, 1, 4, 2, 5]],
    }, "images of 4 x 6 pixels, patches of 2", 1e-4)
    shape = np.shape(student.patch_embedding(normal(1, 3, 4, 4), weight))
    expect(len(shape) == 3 and shape[1] == 4, "patches must not overlap: the stride is the patch")


def check_4_3(student):
    x = normal(2, 3, 4)
    class_embedding = normal(4)
    positions = normal(4, 4)
    first = class_embedding.expand(2, 1, 4)
    tokens = torch.cat([first, x], dim=1)
    close(student.add_class_token(x, class_embedding, positions), tokens + positions, {
        "the class token comes first": torch.cat([x, first], dim=1) + positions,
        "positions are added to the class token too": torch.cat([first, x + positions[1:]], dim=1),
        "the positions are missing": tokens,
        "the first position is the class token's": torch.cat([first, x + positions[:3]], dim=1),
    }, "add_class_token")


def check_4_4(student):
    positions = normal(1 + 9, 2)

    def resize(grid, **how):
        """(2, 3, 3) -> (1 + 25, 2), with the class token's position in front."""
        resized = F.interpolate(grid[None], size=(5, 5), **how)[0]  # (2, 5, 5)
        return torch.cat([positions[:1], resized.flatten(1).T])

    grid = positions[1:].T.reshape(2, 3, 3)
    turned = grid.transpose(1, 2)
    right = resize(grid, mode="bilinear", align_corners=False)
    line = F.interpolate(positions[1:].T[None], size=25, mode="linear", align_corners=False)[0]  # (2, 25)
    close(student.interpolate_positions(positions, 5), right, {
        "align_corners must be False, as pixels are areas":
            resize(grid, mode="bilinear", align_corners=True),
        "channels must come first, by a swap and not by a reshape":
            resize(positions[1:].reshape(2, 3, 3), mode="bilinear", align_corners=False),
        "rows and columns changed places": resize(turned, mode="bilinear", align_corners=False),
        "bilinear was asked for": resize(grid, mode="nearest"),
        "bilinear was asked for, this is bicubic": resize(grid, mode="bicubic", align_corners=False),
        "the class token's position must be kept, in front": right[1:],
        "positions are a grid of two axes, not a line": torch.cat([positions[:1], line.T]),
    }, "from 3 x 3 to 5 x 5")
    close(student.interpolate_positions(positions, 3), positions, case="to the same size")


def check_4_5(student):
    close(student.predict_attention_growth(), 5.04, {
        "that is how the number of patches grows; each looks at all": 2.25,
        "that is how the number of tokens grows; each looks at all": 2.245,
        "count the class token": 5.06,
        "that is how the side grows": 1.5,
    }, tolerance=0.001, tell=False)


def check_4_6(student):
    positions = normal(1 + 9, 4)
    picture, labels = student.run("""
        figure = student.draw_position_similarity(positions, 1, 2)
        assert len(figure.axes) == 1 and figure.axes[0].images, "one axis with an imshow was expected"
        axis = figure.axes[0]
        return np.asarray(axis.images[0].get_array()), [axis.get_xlabel(), axis.get_ylabel()]
        """, positions=positions)
    with_class_token = F.normalize(positions, dim=1).numpy()  # (10, 4)
    grid = positions[1:].numpy()  # (9, 4)
    unit = with_class_token[1:]  # (9, 4)
    right = (unit @ unit[5]).reshape(3, 3)
    close(picture, right, {
        "a cosine is wanted: bring the vectors to unit length": (grid @ grid[5]).reshape(3, 3),
        "row and column changed places": (unit @ unit[7]).reshape(3, 3),
        "the first position is the class token's: leave it out": (unit @ with_class_token[5]).reshape(3, 3),
        "the picture is turned: rows go down": right.T,
    }, "the picture for row 1, column 2")
    expect(all(labels), "label both axes")
