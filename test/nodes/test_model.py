import cv2
import pytest
import torch

from safe_skills.nodes.camera_encoder import CameraEncoder
from safe_skills.nodes.cem_planner import CemPlanner


@pytest.fixture(autouse=True)
def settings_come_back():
    before = torch.get_num_threads(), cv2.getNumThreads()
    yield
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


def test_nodes_of_one_process_get_the_most_threads_that_one_of_them_asks_for(graph, checkpoint):
    graph.start(CemPlanner, checkpoint=str(checkpoint), threads=2)
    graph.start(CameraEncoder, checkpoint=str(checkpoint), threads=1, opencv_threads=2)
    assert (torch.get_num_threads(), cv2.getNumThreads()) == (2, 2)


def test_alone_a_node_takes_one_thread_of_each(graph, checkpoint):
    for node_class in (CemPlanner, CameraEncoder):
        node = graph.start(node_class, checkpoint=str(checkpoint))
        assert node.is_active, node.fault
    assert (torch.get_num_threads(), cv2.getNumThreads()) == (1, 1)


def test_a_gpu_that_is_not_there_is_refused_in_one_line(graph, checkpoint):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    node = graph.start(CemPlanner, checkpoint=str(checkpoint), device="cuda")
    assert node.fault == "device: expected cpu, PyTorch finds no CUDA GPU here; got cuda"
