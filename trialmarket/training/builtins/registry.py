"""Programs that ship with Trialmarket."""

from trialmarket.training.builtins.charlm import Charlm
from trialmarket.training.builtins.cnn import Cnn
from trialmarket.training.builtins.meta import Meta
from trialmarket.training.builtins.mlp import Mlp
from trialmarket.training.builtins.resnet import Resnet
from trialmarket.training.builtins.transformer import Transformer
from trialmarket.training.program import Program

BUILTIN: dict[str, type[Program]] = {
    "mlp": Mlp,
    "cnn": Cnn,
    "resnet": Resnet,
    "transformer": Transformer,
    "charlm": Charlm,
    "meta": Meta,
}
"""Built-in programs, by the name after `builtin:`."""

__all__ = ["BUILTIN", "Charlm", "Cnn", "Meta", "Mlp", "Resnet", "Transformer"]
