"""Errors as people read them: the cause in one line, with nothing that a terminal would act on."""

import re
from collections.abc import Iterator

from workers.errors import QsweepError

MAX_CHARACTERS = 600
"""Of a reason. The log has the whole text."""

_COLOURS = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
# Control characters; and marks that turn the direction of writing, which make a name look like another one.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_NAMES = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}

_CHAINED = re.compile(r"\n\s*\nThe above exception was the direct cause of the following exception:\n")
_HANDLED = re.compile(r"\n\s*\nDuring handling of the above exception, another exception occurred:\n")
_RAISED = re.compile(r"([A-Za-z_]\w*\.)*[A-Za-z_]\w*(: .*)?")  # how the last lines of a traceback begin
_TRACEBACK = re.compile(r"Traceback \(most recent call last\):|\bray::\S+\(\)|^ +File \".*\", line \d+", re.M)

# What Ray writes before or after the cause; without it, nothing is lost.
_ACTOR_FIELD = re.compile(r"\t\w+: .*")
_PREAMBLES = re.compile(
    r"The actor died unexpectedly before finishing this task\.|Failed to set up runtime environment\.|"
    r"Could not create the (actor|task) because its associated runtime env failed to be created\."
)
_ADVICE = re.compile(r" If the process was killed by the kernel OOM killer \(verifiable by .*")
_RPC_DETAILS = re.compile(r'\bdetails = "(.*)"')

_SAYS_NOTHING_ALONE = (LookupError, TypeError, AttributeError, AssertionError, ArithmeticError, NotImplementedError)


def printable(text: str, keep: str = "") -> str:
    r"""A text without control characters: each is shown as its escape, such as ``\x1b``.

    Args:
        text: anything; a file's name, for example.
        keep: control characters that stay as they are.
    """

    def shown(match: re.Match[str]) -> str:
        character = match[0]
        if character in keep:
            return character
        code = ord(character)
        return _NAMES.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")

    return _CONTROL.sub(shown, text)


def without_colours(text: str) -> str:
    """A text without the sequences that set a terminal's colours."""
    return _COLOURS.sub("", text)


def reason_of(error: BaseException) -> str:
    """What an error says and what caused it, in one line of bounded length.

    Where a text holds a traceback, as Ray's do for what happened in another process, this is what its last lines
    say. The type is named where the message says nothing without it.
    """
    if isinstance(error, OSError) and error.strerror and not hasattr(error, "cause"):
        return _one_line(error.strerror)
    return _shortened(_with_causes(error, named=isinstance(error, _SAYS_NOTHING_ALONE)))


def describe_error(error: BaseException) -> str:
    """An error of any kind, in one line of bounded length: its type and what it says and was caused by.

    Errors of this program say all that there is to say, and no type is named.
    """
    return _shortened(_with_causes(error, named=True))


def _with_causes(error: BaseException, *, named: bool) -> str:
    causes = [error, *_causes(error)]
    own = next((cause for cause in causes if isinstance(cause, QsweepError)), None)
    if own is not None:  # it was raised with the cause in its message
        return _one_line(str(own))
    text = _text(error, named=named)
    innermost = _text(causes[-1], named=True)
    if _text(causes[-1], named=False) in text or innermost.endswith(text):
        return text
    return innermost if text in innermost else f"{text} (caused by {innermost})"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """What caused an error, the innermost one last. Ray keeps what was raised in another process as ``cause``."""
    seen = [error]
    while True:
        cause = error.__cause__ or getattr(error, "cause", None)
        if not isinstance(cause, BaseException) and not str(error) and not error.__suppress_context__:
            cause = error.__context__  # an error without a message of its own
        if not isinstance(cause, BaseException) or any(cause is before for before in seen):
            return
        yield cause
        seen.append(cause)
        error = cause


def _text(error: BaseException, *, named: bool) -> str:
    text = without_colours(str(error)).strip("\r\n ")
    if _TRACEBACK.search(text):
        raised = _last_of_traceback(text)
        if raised is not None:
            return raised
    details = _RPC_DETAILS.search(text)
    line = _one_line(details[1] if details else text)
    name = type(error).__name__
    if not line:
        return name
    return f"{name}: {line}" if named and not isinstance(error, QsweepError) else line


def _last_of_traceback(text: str) -> str | None:
    """What was raised, and what directly caused it, from a text that ends with their tracebacks."""
    for chain in reversed(_HANDLED.split(text)):  # a text that was cut has no last lines
        told = [raised for raised in map(_raised, _CHAINED.split(chain)) if raised is not None]
        if told:
            return told[-1] if told[0] in told[-1] else f"{told[-1]} (caused by {told[0]})"
    return None


def _raised(block: str) -> str | None:
    lines = block.splitlines()
    framed = False
    for number, line in enumerate(lines):
        if framed and _RAISED.fullmatch(line):
            return _one_line("\n".join(lines[number:]))
        framed = line[:1].isspace()
    return None


def _one_line(text: str) -> str:
    lines = [line for line in without_colours(text).splitlines() if line.strip() and not _ACTOR_FIELD.match(line)]
    telling = [line for line in lines if not _PREAMBLES.fullmatch(line.strip())] or lines
    joined = ""
    for line in telling:
        between = "" if not joined else " " if joined.endswith((":", ",", ";", ".")) else "; "
        joined += between + line.strip()
    return printable(_ADVICE.sub("", joined))


def _shortened(text: str) -> str:
    """The text, or its beginning and its end: what was raised stands at the one, its cause at the other."""
    if len(text) <= MAX_CHARACTERS:
        return text
    end = MAX_CHARACTERS // 3
    return f"{text[: MAX_CHARACTERS - end - 3]} … {text[-end:]}"
