"""Small specifications for the tests."""

from typing import Any

from switchbench.spec import RunSpec


def tiny_run(*, ffn: dict[str, Any] | None = None, seed: int = 0, **fields: dict[str, Any]) -> RunSpec:
    """A run of a two-layer model, 16 wide; `data`, `model` and `train` override its fields."""
    model = {"d_model": 16, "num_layers": 2, "num_heads": 2, "d_head": 8, "ffn": ffn or {"kind": "dense"}}
    train = {"tokens": 4096, "batch_tokens": 256, "learning_rate": 1e-2, "eval_points": 2, "eval_tokens": 512}
    return RunSpec.model_validate(
        {
            "data": {"seq_len": 32} | fields.get("data", {}),
            "model": model | fields.get("model", {}),
            "train": train | fields.get("train", {}),
            "seed": seed,
            "vocab_size": 256,
            "data_fingerprint": "0123456789ab",
        }
    )


def sparse(**fields: Any) -> dict[str, Any]:
    """A sparse layer of four experts."""
    return {"kind": "sparse", "num_experts": 4} | fields
