import pytest
import torch

from training.augment import Augmenter, generator_for


@pytest.fixture
def images():
    return torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def everything(augmenter, images, epoch, step=0):
    return augmenter.batch(torch.arange(len(images)), epoch=epoch, step=step)


def test_without_shift_every_picture_is_shown_as_it_is_and_mirrored_in_turn(images):
    augmenter = Augmenter(images, shift=0, cutout=0, seed=1)
    even, odd = everything(augmenter, images, 0), everything(augmenter, images, 1)
    for index, image in enumerate(images):
        both = {even[index].numpy().tobytes(), odd[index].numpy().tobytes()}
        assert both == {image.numpy().tobytes(), image.flip(-1).numpy().tobytes()}


def test_a_shifted_picture_is_a_window_of_the_reflected_one(images):
    augmenter = Augmenter(images, shift=2, cutout=0, seed=1)
    padded = torch.nn.functional.pad(images.float(), (2,) * 4, mode="reflect").byte()
    windows = {
        padded[index, :, y : y + 32, x : x + 32].contiguous().numpy().tobytes()
        for index in range(6)
        for y in range(5)
        for x in range(5)
    }
    for image in everything(augmenter, images, 0):
        assert {image.numpy().tobytes(), image.flip(-1).contiguous().numpy().tobytes()} & windows


def test_a_square_of_the_mean_colour_is_blotted_out(images):
    augmenter, whole = (Augmenter(images, shift=2, cutout=cutout, seed=1) for cutout in (8, 0))
    changed = (everything(augmenter, images, 0) != everything(whole, images, 0)).any(1)
    for mask in changed:
        rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        assert rows.max() - rows.min() == columns.max() - columns.min() == 7
        assert mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].float().mean() > 0.9


def test_the_same_step_shows_the_same_pictures_and_another_step_others(images):
    augmenter, again = Augmenter(images, shift=4, cutout=8, seed=1), Augmenter(images, shift=4, cutout=8, seed=1)
    assert torch.equal(everything(augmenter, images, 3, 7), everything(again, images, 3, 7))
    assert not torch.equal(everything(augmenter, images, 3, 7), everything(augmenter, images, 3, 8))


def test_keys_make_generators_of_their_own():
    keys = [(1,), (2,), (1, 0), (0, 1), (1, 0, 0), (1, 0, 1), (1, 1, 0)]
    draws = {torch.rand(1, generator=generator_for(*key)).item() for key in keys}
    assert len(draws) == len(keys)
