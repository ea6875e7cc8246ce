"""What one process does with itself; several are in `tests/experiments/test_scale_out.py`."""

import json

import pytest

from rezoo.devices import processes
from rezoo.errors import DataError


def test_what_differs_is_named_with_its_host(monkeypatch):
    def told(*of_each):
        monkeypatch.setattr(processes, "gathered", lambda _: [json.dumps(one) for one in of_each])

    same = {"host": "a", "code": "1", "data": "x"}
    told(same, same | {"host": "b"})
    processes.agree({})
    told(same, same | {"host": "b"}, same | {"host": "c", "data": "y"})
    with pytest.raises(DataError, match=r"data of process 2 on host c is 'y', .* process 0 on host a is 'x'"):
        processes.agree({})
    told(same, {"host": "b", "code": "1"})
    with pytest.raises(DataError, match="data of process 1 on host b is None"):
        processes.agree({})


def test_what_is_told_has_a_longest_length():
    with pytest.raises(ValueError, match="more than a process can tell"):
        processes.gathered("x" * 5000)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("here:1", None, 0), "num_processes missing"),
        ((None, 2, 0), "coordinator missing"),
        (("here:1", 2, 2), "process_id=2 is none of num_processes=2"),
        (("here:1", 2, -1), "process_id=-1 is none"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments, said):
    with pytest.raises(DataError, match=said):
        processes.connect(*arguments)
