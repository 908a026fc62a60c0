"""DataLoader workers, forked and spawned, kept and renewed: the same batches as without any."""

import pytest
import torch
from finetune_data import attached, benchmark_folder, checkpoint
from torch.utils.data import DataLoader

from framegate.tools.training import CompletionCollator, VideoQuestions

pytestmark = pytest.mark.clients


@pytest.mark.parametrize(
    "workers",
    [
        {"multiprocessing_context": "fork"},
        {"multiprocessing_context": "spawn"},
        {"multiprocessing_context": "fork", "persistent_workers": True},
    ],
    ids=["fork", "spawn", "persistent"],
)
def test_batches_of_workers_are_those_without(workers, tmp_path):
    _, processor, _ = attached(checkpoint(tmp_path / "model", "qwen2_5_vl"))
    dataset = VideoQuestions(benchmark_folder(tmp_path / "bench"))
    collator = CompletionCollator(processor=processor, dataset=dataset, on_error="skip")
    want = [collator([dataset[number]]) for number in range(len(dataset))]
    loader = DataLoader(dataset, batch_size=1, collate_fn=collator, num_workers=1, **workers)
    for _epoch in range(2):
        for expected, found in zip(want, loader, strict=True):
            # the notes hold times of the wall clock
            assert set(found) == set(expected)
            assert all(
                torch.equal(found[name], expected[name]) for name in expected if name != "framegate_notes"
            )
