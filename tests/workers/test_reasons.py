"""What people read of an error: the cause, in one line, from texts that Ray 2.60 and others really wrote."""

import errno

import pytest

from workers.errors import FrameFileError, ReplicaError
from workers.reasons import MAX_CHARACTERS, describe_error, printable, reason_of

DIED_AT_BIRTH = (
    "The actor died because of an error raised in its creation task, \x1b[36mray::A.__init__()\x1b[39m (pid=9557, "
    "ip=127.0.0.1, actor_id=14303c, repr=<provoke.A object at 0x7f3cfaa21ed0>)\n"
    '  File "/tmp/provoke.py", line 15, in __init__\n'
    "    import nothing_at_all\n"
    "    ^^^^^^^^^^^^^^^^^^^^^\n"
    "ModuleNotFoundError: No module named 'nothing_at_all'"
)
CHAINED = (
    "The actor died because of an error raised in its creation task, \x1b[36mray::A.__init__()\x1b[39m (pid=9558, "
    "repr=<provoke.A object at 0x7f0cb410da90>)\n"
    "         ^^^^^^^^^^^^^^^^^\n"
    "ModuleNotFoundError: No module named 'nothing_at_all'\n\n"
    "The above exception was the direct cause of the following exception:\n\n"
    "\x1b[36mray::A.__init__()\x1b[39m (pid=9558, repr=<provoke.A object at 0x7f0cb410da90>)\n"
    '  File "/tmp/provoke.py", line 18, in __init__\n'
    '    except ImportError as e: raise RuntimeError("no kernel\\nsecond line") from e\n'
    "RuntimeError: no kernel\nsecond line"
)
KILLED = (
    "The actor died unexpectedly before finishing this task.\n\tclass_name: A\n\tactor_id: e1ef83\n\tpid: 9633\n"
    "\tnamespace: 5c86fb98\n\tip: 127.0.0.1\n"
    "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: "
    "Worker unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the "
    "process was killed by the OOM killer due to high memory usage, (2) ray stop --force was called, or (3) the "
    "worker crashed unexpectedly due to SIGSEGV or another unexpected error. If the process was killed by the "
    "kernel OOM killer (verifiable by checking for OOM in dmesg), consider enabling resource isolation"
)
NODE_DIED = (
    "The actor died unexpectedly before finishing this task.\n\tclass_name: A\n\tactor_id: e1ef83\n"
    "The actor died because its node has died. Node Id: 5c86\n\tthe actor's node was terminated expectedly: removed"
)
NO_PIP = (
    "Failed to set up runtime environment.\n"
    "Could not create the actor because its associated runtime env failed to be created.\n"
    "[Node 127.0.0.1] Traceback (most recent call last):\n"
    '  File "/ray/_private/runtime_env/utils.py", line 105, in check_output_cmd\n'
    "    raise SubprocessCalledProcessError(\n"
    "ray._private.runtime_env.utils.SubprocessCalledProcessError: Run cmd[9] failed with the following details.\n"
    f"Command '['{'/tmp/ray/session' * 40}', '-m', 'pip']' returned non-zero exit status 1.\n"
    "Last 50 lines of stdout:\n"
    "    ERROR: there.whl is not a valid wheel filename.\n"
)
CHAIN = "\nThe above exception was the direct cause of the following exception:\n\n"
OTHER_VERSION = (
    "Version mismatch: The cluster was started with:\n    Ray: 2.60.0\n    Python: 3.11.7\n"
    "This process on node 10.0.0.1 was started with:\n    Ray: 2.54.0\n    Python: 3.10.2\n"
)
RPC = (
    "<_InactiveRpcError of RPC that terminated with:\n\tstatus = StatusCode.UNAVAILABLE\n"
    '\tdetails = "failed to connect to all addresses"\n\tdebug_error_string = "UNKNOWN:…"\n>'
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (DIED_AT_BIRTH, "ModuleNotFoundError: No module named 'nothing_at_all'"),
        (
            CHAINED,
            "RuntimeError: no kernel; second line "
            "(caused by ModuleNotFoundError: No module named 'nothing_at_all')",
        ),
        (NODE_DIED, "its node has died. Node Id: 5c86; the actor's node was terminated expectedly: removed"),
        (KILLED, "Worker exit detail: Worker unexpectedly exits with a connection error code 2"),
        (KILLED, "(3) the worker crashed unexpectedly due to SIGSEGV or another unexpected error."),
        (NO_PIP, "SubprocessCalledProcessError: Run cmd[9] failed"),
        (NO_PIP, "ERROR: there.whl is not a valid wheel filename."),
        (
            OTHER_VERSION,
            "The cluster was started with: Ray: 2.60.0; Python: 3.11.7; "
            "This process on node 10.0.0.1 was started with: Ray: 2.54.0; Python: 3.10.2",
        ),
        (RPC, "failed to connect to all addresses"),
        ("\x1b[31mred\x1b[0m and \x07loud\r", r"red and \x07loud"),
    ],
)
def test_the_cause_is_in_one_line_without_what_a_terminal_would_act_on(text: str, reason: str) -> None:
    for shown in (reason_of(RuntimeError(text)), describe_error(RuntimeError(text))):
        assert reason in shown
        assert "\n" not in shown
        assert "\x1b" not in shown
        assert "unexpectedly before finishing this task" not in shown
        assert "Failed to set up" not in shown
        assert len(shown) <= MAX_CHARACTERS


def caused(error: BaseException, cause: BaseException) -> BaseException:
    """An error as ``raise error from cause`` leaves it."""
    error.__cause__ = cause
    return error


def test_the_innermost_cause_is_named() -> None:
    refused = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
    error = caused(RuntimeError("the store is away"), caused(ValueError("no answer"), refused))
    assert (
        reason_of(error) == "the store is away (caused by ConnectionRefusedError: [Errno 111] Connection refused)"
    )


def test_an_error_without_words_gives_what_it_came_of() -> None:
    error = RuntimeError()
    error.__context__ = OSError("the disk is gone")
    assert reason_of(error) == "RuntimeError (caused by OSError: the disk is gone)"


def test_a_circle_of_causes_ends() -> None:
    one, other = RuntimeError("one"), RuntimeError("other")
    one.__cause__, other.__cause__ = other, one
    assert reason_of(one) == "one (caused by RuntimeError: other)"


def test_the_type_is_named_where_the_message_says_nothing_alone() -> None:
    assert reason_of(KeyError("width")) == "KeyError: 'width'"
    assert reason_of(MemoryError()) == "MemoryError"
    assert reason_of(ValueError("an odd number")) == "an odd number"
    assert (
        reason_of(FileNotFoundError(errno.ENOENT, "No such file or directory", "/a")) == "No such file or directory"
    )
    assert describe_error(ValueError("an odd number")) == "ValueError: an odd number"


def test_an_error_of_this_program_says_it_all() -> None:
    assert describe_error(FrameFileError("a.png: empty")) == "a.png: empty"
    assert describe_error(caused(ReplicaError("2 replicas died"), KeyError("x"))) == "2 replicas died"


def test_an_error_that_ray_wraps_gives_its_own_message() -> None:
    class WrappedError(RuntimeError):
        cause = FrameFileError("a.png: empty")

    text = 'ray::f()\n  File "x.py", line 1\nFrameFileError: a.png: empty'
    assert describe_error(WrappedError(text)) == "a.png: empty"


def test_an_error_that_ray_took_apart_is_told_once() -> None:
    error = caused(MemoryError("no room"), RuntimeError('ray::f()\n  File "x.py", line 1\nMemoryError: no room'))
    assert reason_of(error) == "no room"
    assert describe_error(error) == "MemoryError: no room"
    chained = RuntimeError(
        f'ray::f()\n  File "x.py", line 1\nKeyError: 1\n{CHAIN}ray::f()\n  x\nMemoryError: no room'
    )
    assert describe_error(caused(MemoryError("no room"), chained)) == "MemoryError: no room (caused by KeyError: 1)"


def test_control_characters_are_shown_as_escapes() -> None:
    assert printable("a\x1b]0;title\x07\nb\r\x85\u202e") == r"a\x1b]0;title\x07\nb\r\x85\u202e"
    assert printable("one\ntwo", keep="\n") == "one\ntwo"
    assert printable("é日本 [b]") == "é日本 [b]"
