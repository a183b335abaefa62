"""Reading 모두의 말뭉치 (National Institute of Korean Language): news, written, spoken, messenger.

A file has `document[].paragraph[].form` (newspaper and written) or `document[].utterance[].form`
(spoken and messenger).
"""

from dataclasses import dataclass

from kebyt5.corpus.readers.json import JSONReader


@dataclass(kw_only=True)
class ModuReader(JSONReader):
    """Reads documents, whose paragraphs or utterances become lines."""

    documents: str = "document[]"
    """JMESPath from the top of the file to its documents."""

    text: str = "(paragraph || utterance)[].form"
    """JMESPath from a document to its text; `utterance[].original_form` has the exact wording."""
