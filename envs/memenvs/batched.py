"""A Gymnasium ``VectorEnv``, and a single ``Env``, from functions that act on one environment.

An environment is a function ``define(**parameters) -> Definition`` and two small classes::

    class MyEnv(SingleEnv):
        define = staticmethod(define)

    class MyVectorEnv(BatchedEnv):
        define = staticmethod(define)

    gymnasium.register("MyEnv-v0", entry_point=MyEnv, vector_entry_point=MyVectorEnv)

Both take the parameters of ``define`` and those documented at the classes. The same seed gives the same levels and the
same episodes: environment i of a batch depends on the seed and on i alone, and a single environment is environment 0.
"""

from memenvs.engine.definition import Definition
from memenvs.engine.single_env import SingleEnv
from memenvs.engine.vector_env import BatchedEnv

__all__ = ["BatchedEnv", "Definition", "SingleEnv"]
