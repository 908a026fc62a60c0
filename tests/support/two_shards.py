"""A step of training in two shards (FSDP2): loss and gradients are those of one process. Run by torchrun."""

import sys

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from two_processes import batch_of, gradients

import framegate
from framegate.models.tiny import tiny_pair
from framegate.tools.training import restore_front_end


def main(clip, folder):
    dist.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (2,))
    model, processor = tiny_pair("qwen2_5_vl")
    model.train()
    front_end = framegate.attach(model, processor, keep_ratio=0.5)
    inputs = batch_of(processor, clip)
    loss = model(**inputs, labels=inputs["input_ids"]).loss
    loss.backward()
    expected = gradients(model)
    model.zero_grad()
    for layer in model.model.language_model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    sharded = model(**inputs, labels=inputs["input_ids"]).loss
    sharded.backward()
    torch.testing.assert_close(sharded, loss)
    for name, weight in model.named_parameters():
        if weight.grad is not None:
            torch.testing.assert_close(weight.grad.full_tensor(), expected[name], rtol=1e-4, atol=1e-6)
    check_learned(mesh, folder)
    print(f"rank {dist.get_rank()}: tower {front_end.report.tower_ratio}, ok", flush=True)
    dist.destroy_process_group()


def check_learned(mesh, folder):
    """What a sharded front end learned is saved and put back."""
    model, processor = tiny_pair("qwen2_5_vl")
    front_end = framegate.attach(model, processor, "kffocus", keep_ratio=0.5)
    front_end.module.time_gate.data.fill_(0.5)
    want = front_end.module.rows.detach().clone()
    fully_shard(model, mesh=mesh)
    front_end.save_pretrained(folder, is_main_process=dist.get_rank() == 0)
    dist.barrier()
    alone = framegate.attach(tiny_pair("qwen2_5_vl")[0], None, folder)
    assert alone.module.time_gate == 0.5
    assert torch.equal(alone.module.rows, want)
    with torch.no_grad():
        front_end.module.time_gate.zero_()
        front_end.module.rows.zero_()
    restore_front_end(front_end, folder)
    assert torch.equal(front_end.module.rows.full_tensor(), want)
    assert front_end.module.time_gate.full_tensor() == 0.5


if __name__ == "__main__":
    main(*sys.argv[1:])
