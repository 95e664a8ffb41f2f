import pytest
import torch

from safe_skills.data.threads import torch_threads


def test_a_block_has_its_threads_and_gives_them_back_however_it_ends():
    before = torch.get_num_threads()
    with torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError), torch_threads(before + 1):
        _ = 1 / 0
    assert torch.get_num_threads() == before
