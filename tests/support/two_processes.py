"""A step of training in two processes, one of them without a video: gradients are the mean of both. Run by torchrun."""

import sys

import torch
import torch.distributed as dist
from accelerate import Accelerator, DistributedDataParallelKwargs

import framegate
from framegate.models.tiny import tiny_pair


def batch_of(processor, clip):
    block = [] if clip is None else [{"type": "video", "path": clip}]
    return processor.apply_chat_template(
        [{"role": "user", "content": [*block, {"type": "text", "text": "What moves?"}]}],
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )


def gradients(model):
    return {
        name: torch.zeros_like(weight) if weight.grad is None else weight.grad.clone()
        for name, weight in model.named_parameters()
        if weight.requires_grad
    }


def main(preset, clip, *settings):
    accelerator = Accelerator(
        cpu=True, kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)]
    )
    assert accelerator.num_processes == 2
    model, processor = tiny_pair("qwen2_5_vl")
    model.train()
    framegate.attach(model, processor, preset, **dict(setting.split("=") for setting in settings))
    inputs = batch_of(processor, clip if accelerator.is_main_process else None)
    model(**inputs, labels=inputs["input_ids"]).loss.backward()
    expected = gradients(model)
    for gradient in expected.values():
        dist.all_reduce(gradient)
        gradient /= 2
    model.zero_grad()
    wrapped = accelerator.prepare(model)
    for _step in range(2):
        wrapped.zero_grad()
        accelerator.backward(wrapped(**inputs, labels=inputs["input_ids"]).loss)
        found = gradients(model)
        for name, gradient in expected.items():
            torch.testing.assert_close(
                found[name], gradient, rtol=1e-4, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
            )
    tower = sum(float(gradient.abs().sum()) for name, gradient in expected.items() if "visual" in name)
    assert tower > 0
    report = framegate.front_end_of(model).report
    print(f"rank {accelerator.process_index}: {report.num_videos} videos, ok", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
