import pytest
import torch

from training.machine import side_by_side


@pytest.fixture(params=[1, 2])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_parts_are_done_each_in_one_thread_and_given_in_order(threads):
    counts = side_by_side(lambda part: (part, torch.get_num_threads()), range(5))
    assert counts == [(part, 1) for part in range(5)]
    assert torch.get_num_threads() == threads


@pytest.mark.usefixtures("threads")
def test_parts_are_done_in_the_callers_autograd_modes():
    def modes(_):
        return torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    assert side_by_side(modes, range(2)) == [(True, False)] * 2
    with torch.no_grad():
        assert side_by_side(modes, range(2)) == [(False, False)] * 2
    with torch.inference_mode():
        assert side_by_side(modes, range(2)) == [(False, True)] * 2


@pytest.mark.usefixtures("threads")
def test_what_a_part_raises_is_raised():
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda part: 1 / part, [1, 0])
    assert side_by_side(lambda part: part, [1]) == [1]
