"""Ctrl-C and SIGTERM: an exception between imports, never in one, and a cancelled task inside a loop."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

# A module that, like pydantic-core's builder of schemas, makes an error of its own of what is raised in it.
HURT = """
import signal
try:
    signal.raise_signal({number})
    for _ in range(10): pass
except BaseException as error:
    raise ValueError("no schema") from error
done.append("imported")
"""

COMMAND = """
import builtins, sys, types
builtins.done = []
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec

class Hurt(MetaPathFinder, Loader):
    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self) if name == "hurt" else None
    def exec_module(self, module):
        exec({hurt!r}, module.__dict__)

sys.meta_path.insert(0, Hurt())
from service.cli import app
def command(arguments):
    try:
        import hurt
        while True: pass
    finally:
        print(*done, "undone", flush=True)
app._run = command
sys.exit(app.run([], interruptible=True))
"""


def ended(text: str) -> tuple[int, str, str]:
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60)
    return found.returncode, found.stdout, found.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_comes_in_the_middle_of_an_import_waits_for_its_end(number: signal.Signals, code: int) -> None:
    assert ended(COMMAND.format(hurt=HURT.format(number=int(number)))) == (code, "imported undone\n", "")


def test_what_a_library_makes_of_an_interruption_is_an_interruption() -> None:
    text = """
        import signal, sys
        from service.cli import app
        def command(arguments):
            try: signal.raise_signal(signal.SIGINT)
            except BaseException: raise ValueError("no schema") from None
        app._run = command
        sys.exit(app.run([], interruptible=True))
    """
    assert ended(_flush_left(text)) == (130, "", "")


def test_an_error_that_nobody_interrupted_is_still_seen() -> None:
    text = """
        import sys
        from service.cli import app
        app._run = lambda arguments: [][1]
        sys.exit(app.run([], interruptible=True))
    """
    code, _, said = ended(_flush_left(text))
    assert code == 1 and "IndexError" in said


def test_in_a_loop_it_cancels_the_task_and_leaves_the_handler_as_it_was() -> None:
    text = """
        import asyncio, signal
        from service.cli.stopping import Stopping, run
        stopping = Stopping()
        stopping.listen(interruptible=True)
        async def task():
            try:
                signal.raise_signal(signal.SIGINT)
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.sleep(0)
                print("undone", flush=True)
                raise
        try: run(task())
        except KeyboardInterrupt: print(signal.getsignal(signal.SIGINT) == stopping._heard, flush=True)
    """
    assert ended(_flush_left(text)) == (0, "undone\nTrue\n", "")


@pytest.mark.parametrize(
    "moment",
    [
        "frame.f_code.co_name == 'loop'",  # while it is made
        "frame.f_code.co_name == 'add' and 'weakref' in frame.f_code.co_filename",  # its task is made, and not yet among all tasks
        "event == 'return' and frame.f_code.co_name == 'getsignal'",  # asked by whoever is about to listen
        "frame.f_code.co_name == 'run_until_complete'",
    ],
)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_task_that_is_interrupted_before_it_has_begun_does_nothing(
    moment: str, number: signal.Signals, code: int
) -> None:
    text = f"""
        import asyncio, signal, sys
        from service.cli import app
        from service.cli.stopping import run
        def loop(): return asyncio.new_event_loop()
        async def task():
            print("began", flush=True)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            print("went on", flush=True)
        def profile(frame, event, arg):
            if {moment}:
                sys.setprofile(None)
                signal.raise_signal({int(number)})
        def command(arguments):
            sys.setprofile(profile)
            run(task(), loop_factory=loop)
        app._run = command
        sys.exit(app.run([], interruptible=True))
    """
    assert ended(_flush_left(text)) == (code, "", "")


@pytest.mark.parametrize(
    "moment",
    [
        "frame.f_code.co_name == '_run_until_complete_cb'",
        "event == 'return' and frame.f_code.co_name == 'close' and frame.f_code.co_filename.endswith('runners.py')",  # all is closed
    ],
)
def test_an_interruption_while_a_loop_is_closed_is_heard_once_it_is(moment: str) -> None:
    text = f"""
        import asyncio, signal, sys
        from service.cli import app
        from service.cli.stopping import run
        async def task():
            await asyncio.sleep(0)
            print("done", flush=True)
        def profile(frame, event, arg):
            if {moment}:
                sys.setprofile(None)
                signal.raise_signal(signal.SIGINT)
        def command(arguments):
            sys.setprofile(profile)
            run(task())
            print("told", flush=True)
        app._run = command
        sys.exit(app.run([], interruptible=True))
    """
    assert ended(_flush_left(text)) == (130, "done\n", "")


def test_a_loop_that_goes_to_sleep_hears_it_at_once() -> None:
    text = """
        import asyncio, signal, sys
        from service.cli import app
        from service.cli.stopping import run
        def profile(frame, event, arg):
            if event == "c_call" and arg.__name__ == "poll":
                sys.setprofile(None)
                signal.raise_signal(signal.SIGINT)
        async def task():
            asyncio.get_running_loop().call_soon(sys.setprofile, profile)  # nothing is left to do after that
            await asyncio.Event().wait()
        app._run = lambda arguments: run(task())
        sys.exit(app.run([], interruptible=True))
    """
    assert ended(_flush_left(text)) == (130, "", "")


def test_a_loop_of_another_thread_leaves_the_signals_alone() -> None:
    text = """
        import asyncio, signal, threading
        from service.cli.stopping import run
        async def task(): print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, flush=True)
        thread = threading.Thread(target=lambda: run(task()))
        thread.start()
        thread.join()
    """
    assert ended(_flush_left(text)) == (0, "True\n", "")


def test_a_termination_in_a_loop_undoes_what_was_begun() -> None:
    text = """
        import asyncio, signal, sys
        from service.cli import app
        from service.cli.stopping import run
        async def task():
            try:
                signal.raise_signal(signal.SIGTERM)
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                print("undone", flush=True)
        app._run = lambda arguments: run(task())
        sys.exit(app.run([], interruptible=True))
    """
    assert ended(_flush_left(text)) == (143, "undone\n", "")


def test_whoever_interrupts_twice_does_not_wait_for_what_is_undone() -> None:
    text = """
        import asyncio, signal, sys
        from service.cli import app
        from service.cli.stopping import run
        from storage.closing import to_its_end
        async def task():
            loop = asyncio.get_running_loop()
            try:
                signal.raise_signal(signal.SIGINT)
                await asyncio.Event().wait()
            finally:
                loop.call_soon(signal.raise_signal, signal.SIGINT)
                await to_its_end(asyncio.create_task(asyncio.Event().wait()))
        app._run = lambda arguments: run(task())
        sys.exit(app.run([], interruptible=True))
    """
    assert ended(_flush_left(text)) == (130, "", "")


def test_a_loop_leaves_an_interruption_that_was_switched_off_so() -> None:
    text = """
        import signal
        from service.cli.stopping import run
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        async def task(): signal.raise_signal(signal.SIGINT)
        run(task())
        print(signal.getsignal(signal.SIGINT).name)
    """
    assert ended(_flush_left(text)) == (0, "SIG_IGN\n", "")


def _flush_left(text: str) -> str:
    return "\n".join(line[8:] for line in text.splitlines())
