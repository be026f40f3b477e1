import pytest
import torch

from training.augment import Augmenter, exchange_squares, generator_for


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


def test_squares_come_from_the_partner_and_their_area_is_said():
    images = torch.arange(200.0).view(200, 1, 1, 1).expand(200, 3, 32, 32)  # every picture has a number of its own
    mixed, partners, shares = exchange_squares(images, 0.5, generator_for(1))
    assert partners.sort().values.tolist() == list(range(200))
    for index, (picture, partner, share) in enumerate(zip(mixed, partners.tolist(), shares.tolist(), strict=True)):
        inside = picture[0] == partner if partner != index else torch.zeros(32, 32, dtype=torch.bool)
        assert ((picture == index) | inside).all()
        if partner != index:
            assert inside.float().mean().item() == pytest.approx(share)
            height, width = inside.any(1).sum(), inside.any(0).sum()
            assert height == width
            assert height * width == inside.sum()
    assert 0.35 < (shares > 0).float().mean() < 0.6  # the smallest squares have no pixel
    assert 0.4 < shares[shares > 0].mean() < 0.6


def test_without_a_share_no_picture_has_a_square(images):
    mixed, _, shares = exchange_squares(images, 0.0, generator_for(1))
    assert torch.equal(mixed, images)
    assert not shares.any()
