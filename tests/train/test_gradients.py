import torch
from torch import nn

from hmdf.train.gradients import Gradients


def network() -> nn.ModuleDict:
    torch.manual_seed(0)
    model = nn.ModuleDict({"conv": nn.Conv2d(3, 4, 3), "norm": nn.BatchNorm2d(4), "unused": nn.Linear(2, 2)})
    return model.to(memory_format=torch.channels_last)


def backward(model: nn.ModuleDict, x: torch.Tensor) -> None:
    model["norm"](model["conv"](x)).square().sum().backward()


def test_they_are_those_of_autograd_and_add_up():
    x = torch.randn(5, 3, 6, 6)
    plain, held = network(), network()
    gradients = Gradients(list(held.parameters()))
    for _ in range(2):  # the second time nothing of the first is left
        plain.zero_grad()
        gradients.clear()
        for part in x.split([2, 3]):
            backward(plain, part)
            backward(held, part)
        gradients.finish()
        for name, parameter in plain.named_parameters():
            found = held.get_parameter(name).grad
            if name.startswith("unused"):
                assert found is None
                assert parameter.grad is None
            else:
                assert torch.equal(found, parameter.grad), name
                assert found.stride() == held.get_parameter(name).stride()


def test_they_stay_in_one_block_of_memory():
    model = network()
    gradients = Gradients(list(model.parameters()))
    places = set()
    for _ in range(3):
        gradients.clear()
        backward(model, torch.randn(2, 3, 6, 6))
        gradients.finish()
        places.add(model["conv"].weight.grad.data_ptr())
    assert len(places) == 1
    first = gradients.block.data_ptr()
    assert first <= places.pop() < first + gradients.block.nbytes


def test_an_unused_parameter_is_not_moved():
    model = network()
    gradients = Gradients(list(model.parameters()))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True)
    before = model["unused"].weight.detach().clone()
    gradients.clear()
    backward(model, torch.randn(2, 3, 6, 6))
    gradients.finish()
    optimizer.step()
    assert torch.equal(model["unused"].weight, before)
