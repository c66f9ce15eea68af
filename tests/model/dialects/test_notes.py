"""What a report says of one place is one line of plain text."""

from __future__ import annotations

from regraft.model.dialects.context import Note


def test_what_is_cited_of_keras_has_no_codes_for_terminals():
    text = "Exception encountered:\n\n\x1b[1mCould not  infer 'x'.\x1b[0m\n\nArguments:"
    assert (
        Note("a", text).text == "Exception encountered: Could not infer 'x'. Arguments:"
    )
