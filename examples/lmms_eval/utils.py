"""What lmms-eval asks of a task: a row's video, its question, a message of both, and whether an answer is right."""


def visual(doc):
    """The row's video, a path."""
    return [doc["video"]]


def text(doc, lmms_eval_specific_kwargs=None):
    """The row's question."""
    return doc["question"]


def messages(doc, lmms_eval_specific_kwargs=None):
    """Video and question as one turn."""
    return [
        {
            "role": "user",
            "content": [{"type": "video", "url": doc["video"]}, {"type": "text", "text": doc["question"]}],
        }
    ]


def results(doc, results):
    """1 where the answer is the row's, to the letter."""
    return {"exact": float(results[0].strip() == doc["answer"])}
