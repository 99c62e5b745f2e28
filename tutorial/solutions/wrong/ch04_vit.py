"""Typical wrong answers to chapter 4; each docstring is what the grader must say."""


def patches__columns(images, P):
    """not column by column"""
    B = len(images)
    G = images.shape[-1] // P
    return images.view(B, 3, G, P, G, P).permute(0, 4, 2, 1, 3, 5).reshape(B, G * G, -1)


def patches__channels_last(images, P):
    """all of red comes first"""
    B = len(images)
    G = images.shape[-1] // P
    return images.view(B, 3, G, P, G, P).permute(0, 2, 4, 3, 5, 1).reshape(B, G * G, -1)


def patches__reshape(images, P):
    """does not cut squares"""
    return images.reshape(len(images), -1, 3 * P * P)


def patches__no_swap(images, P):
    """patches come before their pixels"""
    return F.unfold(images, P, stride=P)


def patch_embedding__reshape(images, weight):
    """mixes channels with places"""
    return F.conv2d(images, weight, stride=weight.shape[-1]).reshape(len(images), -1, len(weight))


def patch_embedding__no_swap(images, weight):
    """swap two axes"""
    return F.conv2d(images, weight, stride=weight.shape[-1]).flatten(2)


def patch_embedding__columns(images, weight):
    """row by row"""
    return F.conv2d(images, weight, stride=weight.shape[-1]).permute(0, 3, 2, 1).flatten(1, 2)


def add_class_token__last(x, class_embedding, positional_embedding):
    """comes first"""
    return torch.cat([x, class_embedding.expand(len(x), 1, -1)], dim=1) + positional_embedding


def add_class_token__without_position(x, class_embedding, positional_embedding):
    """to the class token too"""
    return torch.cat([class_embedding.expand(len(x), 1, -1), x + positional_embedding[1:]], dim=1)


def add_class_token__no_positions(x, class_embedding, positional_embedding):
    """positions are missing"""
    return torch.cat([class_embedding.expand(len(x), 1, -1), x], dim=1)


def resized(grid, side, **how):
    return F.interpolate(grid[None], size=(side, side), **how)[0].flatten(1).T


def interpolate_positions__corners(positional_embedding, side):
    """align_corners must be False"""
    grid = positional_embedding[1:].T.unflatten(1, (3, 3))
    grid = resized(grid, side, mode="bilinear", align_corners=True)
    return torch.cat([positional_embedding[:1], grid])


def interpolate_positions__reshape(positional_embedding, side):
    """not by a reshape"""
    grid = positional_embedding[1:].reshape(-1, 3, 3)
    return torch.cat([positional_embedding[:1], resized(grid, side, mode="bilinear")])


def interpolate_positions__no_class(positional_embedding, side):
    """must be kept"""
    return resized(positional_embedding[1:].T.unflatten(1, (3, 3)), side, mode="bilinear")


def interpolate_positions__nearest(positional_embedding, side):
    """bilinear was asked for"""
    grid = positional_embedding[1:].T.unflatten(1, (3, 3))
    return torch.cat([positional_embedding[:1], resized(grid, side)])


def predict_attention_growth__patches():
    """each looks at all"""
    return 2.25


def predict_attention_growth__no_class_token():
    """count the class token"""
    return 5.0625


def predict_attention_growth__side():
    """how the side grows"""
    return 1.5


def shown(values):
    axis = Figure().add_subplot()
    axis.imshow(values.view(3, 3).numpy())
    axis.set(xlabel="column", ylabel="row")
    return axis.figure


def draw_position_similarity__dot_products(positional_embedding, row, column):
    """bring the vectors to unit length"""
    grid = positional_embedding[1:]
    return shown(grid @ grid[row * 3 + column])


def draw_position_similarity__columns(positional_embedding, row, column):
    """row and column changed places"""
    grid = F.normalize(positional_embedding[1:], dim=-1)
    return shown(grid @ grid[column * 3 + row])


def draw_position_similarity__class_token(positional_embedding, row, column):
    """leave it out"""
    units = F.normalize(positional_embedding, dim=-1)
    return shown(units[1:] @ units[row * 3 + column])


def draw_position_similarity__no_labels(positional_embedding, row, column):
    """label both axes"""
    grid = F.normalize(positional_embedding[1:], dim=-1)
    figure = shown(grid @ grid[row * 3 + column])
    figure.axes[0].set_xlabel("")
    return figure
