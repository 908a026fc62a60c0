"""Areas: tokens that stand for 2 x 2 or 4 x 4 cells, a wing of the gate behind `GatePlan.side`, off by default."""
