import pytest
import torch

from training.augment import generator_for
from training.run import resized
from training.views import Views

NONE_OF = ("shift", "turn", "colour", "haze", "blur", "shuffled", "coarse", "noise", "jpeg", "cutout")
STILL = {"enlarged": 1.0, "reduced": 1.0, "stretch": 1.0} | dict.fromkeys(NONE_OF, 0.0)


@pytest.fixture
def images():
    return torch.randint(0, 256, (32, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def view(images, side=32, seed=1, **changes):
    return Views(**(STILL | changes))(images, side, generator_for(seed))


def test_a_still_view_is_the_picture_as_it_is_served_or_its_mirror_image(images):
    served = resized(images, 64)
    for shown, image in zip(view(images, side=64), served, strict=True):
        assert min((shown - image).abs().max(), (shown - image.flip(-1)).abs().max()) < 0.01


def test_both_sides_are_shown(images):
    mirrored = [
        torch.allclose(shown, image.flip(-1).float(), atol=0.01)
        for shown, image in zip(view(images), images, strict=True)
    ]
    assert 0 < sum(mirrored) < len(mirrored)


@pytest.mark.parametrize(
    "change",
    [
        {"enlarged": 1.5},
        {"reduced": 1.5},
        {"stretch": 1.5},
        {"shift": 0.2},
        {"turn": 30.0},
    ],
)
def test_each_movement_moves(images, change):
    assert (view(images, **change) - view(images)).abs().mean() > 5


def test_a_shift_shows_the_picture_somewhere_else(images):
    """With reflection at the border the mean of a flat picture stays, and no view leaves the range of its pixels."""
    flat = torch.full_like(images, 90)
    assert torch.allclose(view(flat, enlarged=1.5, reduced=1.5, shift=0.3, turn=45.0), flat.float(), atol=0.01)


def test_views_are_enlarged_and_reduced_as_far_as_is_said(images):
    """The picture's one white pixel is a square of views; its side says how large the picture is shown."""
    spot = torch.zeros(200, 3, 33, 33)
    spot[..., 16, 16] = 255
    sides = view(spot, side=132, enlarged=1.5, reduced=2.0).mean((1, 2, 3)).div(255).sqrt() * 132
    assert 4 / 2.0 * 0.9 < sides.min() < 4 / 2.0 * 1.2
    assert 4 * 1.5 * 0.8 < sides.max() < 4 * 1.5 * 1.1


def test_colours_change_and_stay_pixels(images):
    shown = view(images, colour=0.5)
    assert (shown - view(images)).abs().mean() > 3
    assert shown.min() >= 0
    assert shown.max() <= 255


def test_shuffled_pixels_come_from_near_places():
    ramp = torch.arange(32.0).mul(8).expand(16, 3, 32, 32)
    places = view(ramp, shuffled=1.0, mirrored=0.0) / 8
    away = (places - torch.arange(32.0)).abs()
    assert torch.isin(away.round(), torch.tensor([0.0, 1.0, 2.0])).all()
    assert {1.0, 2.0} == set(away.amax((1, 2, 3)).round().tolist())  # some are shuffled further than others
    assert (away > 0.5).float().mean() > 0.4


def test_coarse_pixels_are_fewer_and_keep_the_mean(images):
    coarse = view(images, coarse=1.0, mirrored=0.0)
    assert (coarse[0].unique(dim=-1).shape[-1]) < 32
    assert torch.allclose(coarse.mean((1, 2, 3)), images.float().mean((1, 2, 3)), atol=8)


def test_noise_has_no_mean_of_its_own(images):
    grey = torch.full((64, 3, 32, 32), 128, dtype=torch.uint8)
    shown = view(grey, noise=1.0)
    assert shown.std() > 5
    assert shown.mean() == pytest.approx(128, abs=0.5)


def test_jpeg_leaves_the_picture_but_not_its_pixels():
    smooth = torch.linspace(0, 255, 32).expand(16, 3, 32, 32).round().byte()
    shown = view(smooth, jpeg=1.0)
    wrong = (shown - view(smooth)).abs().mean((1, 2, 3))
    assert (wrong > 0.1).all()
    assert (wrong < 10).all()


def test_haze_takes_contrast_and_keeps_pixels_in_range(images):
    hazy = view(images, haze=1.0)
    assert (hazy.std((1, 2, 3)) < view(images).std((1, 2, 3))).all()
    assert hazy.std((1, 2, 3)).min() > 0.15 * view(images).std((1, 2, 3)).min()


def test_blur_takes_detail_and_keeps_the_mean(images):
    sharp, blurred = view(images, side=64), view(images, side=64, blur=1.0)
    assert (blurred.diff(dim=-1).abs().mean((1, 2, 3)) < sharp.diff(dim=-1).abs().mean((1, 2, 3))).all()
    assert torch.allclose(blurred.mean((1, 2, 3)), sharp.mean((1, 2, 3)), atol=8)


@pytest.mark.parametrize("change", [{name: 0.5} for name in ("haze", "blur", "noise", "jpeg", "shuffled", "coarse")])
def test_only_a_share_is_spoilt(images, change):
    changed = ((view(images, **change) - view(images)).abs().mean((1, 2, 3)) > 0.01).sum()
    assert 5 < changed < 27


def test_squares_are_blotted_out_of_some(images):
    blotted = (view(images, cutout=0.5) != view(images)).any(1).flatten(1).float().mean(1)
    assert 0 < (blotted > 0).sum() < len(blotted)
    assert blotted.max() <= 0.26


def test_the_same_generator_gives_the_same_views(images):
    assert torch.equal(Views()(images, 48, generator_for(3)), Views()(images, 48, generator_for(3)))
    assert not torch.equal(Views()(images, 48, generator_for(3)), Views()(images, 48, generator_for(4)))
