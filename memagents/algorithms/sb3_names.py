"""Names that users of Stable-Baselines3 and sb3-contrib know, and what stands for them here."""

from __future__ import annotations

from collections.abc import Iterable

ARGUMENTS = {
    "batch_size": "n_minibatches: a minibatch is a set of environments with their whole window",
    "use_sde": "no equivalent: exploration by state-dependent noise is not implemented",
    "sde_sample_freq": "no equivalent: exploration by state-dependent noise is not implemented",
    "rollout_buffer_class": "no equivalent: windows of experience stay on the device",
    "rollout_buffer_kwargs": "no equivalent: windows of experience stay on the device",
    "buffer_size": "NEC's buffer_size; agents that learn from windows keep none",
    "lstm_hidden_size": "policy_kwargs={'core': 'lstm', 'core_kwargs': {'hidden_size': 256}}",
    "n_lstm_layers": "one layer; another core may have several, such as 'gtrxl'",
    "shared_lstm": "policy_kwargs={'critic_gradient': False}: one memory, which the critic does not train",
    "enable_critic_lstm": "one memory for actor and critic, which is the default, trained by both",
    "lstm_kwargs": "policy_kwargs={'core_kwargs': {...}}",
}
POLICIES = {
    "MlpLstmPolicy": "'MlpPolicy', whose core is an LSTM by default",
    "CnnLstmPolicy": "'CnnPolicy', whose core is an LSTM by default",
    "MultiInputLstmPolicy": "'MultiInputPolicy', whose core is an LSTM by default",
}


def hint(name: str) -> str:
    """Return what stands for an argument, as the end of a message; nothing for a name that is not known."""
    return f"; instead of {name}: {ARGUMENTS[name]}" if name in ARGUMENTS else ""


def check_arguments(algorithm: str, names: Iterable[str]) -> None:
    """Refuse arguments of other libraries' agents.

    :param algorithm: name of the agent, for the message
    :param names: of arguments that it does not have
    :raises TypeError: naming the first that is known, and what stands for it here
    """
    for name in names:
        if name in ARGUMENTS:
            raise TypeError(f"{algorithm} has no argument {name!r}{hint(name)}")
