"""Who waits at a gate passes when it is opened, and whoever comes later too."""

import threading

from runner.worker.gate import Gate


def test_nobody_passes_before_it_is_opened_and_everybody_afterwards() -> None:
    gate, passed = Gate(), []
    waiting = [threading.Thread(target=lambda: passed.append(gate.passed(20))) for _ in range(4)]
    for thread in waiting:
        thread.start()
    assert not gate.passed(0)
    assert passed == []
    gate.open()
    for thread in waiting:
        thread.join(20)
    assert passed == [True] * 4
    assert gate.passed(0)
    assert gate.passed(0)
