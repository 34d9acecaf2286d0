"""The type of a model's variables."""

from typing import TYPE_CHECKING

from pytensor.tensor.variable import TensorVariable

if TYPE_CHECKING:

    class Named(TensorVariable):
        """A variable with a name, as PyMC gives one to each of a model: others may have None."""

        name: str

else:
    Named = TensorVariable
