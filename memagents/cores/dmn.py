"""Dynamic Memory Network+ (Xiong et al. 2016, "Dynamic memory networks for visual and textual question answering")."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from memagents.checks import positive_int
from memagents.cores import register_core
from memagents.cores.core import full_precision
from memagents.cores.episode_store import EpisodeStore, StoreState
from memagents.cores.gru import GRU, GRUState
from memagents.kernels import choice
from memagents.memory import history, selection
from memagents.memory.pairs import Pairs, pairs_of


@register_core("dmn")
class DMN(EpisodeStore[StoreState]):
    """The last L steps as facts, of which the present input, as a question, makes an episode in each of several passes.

    A fact f is what a GRU over the episode's inputs gives: of the paper's input fusion layer, a GRU in both directions,
    that which looks back; what comes after a fact is not known when it is stored. The question, in the paper the last
    state of a GRU over words, is q = tanh(W_q x_t + b_q): it is one input long.

    A pass compares all facts with q and the memory m (at first q), z = [f∘q, f∘m, |f−q|, |f−m|], and attends by
    g = softmax(W₂ tanh(W₁ z + b₁)) over the facts (equations 8-10; W₂'s bias would change nothing). An attention GRU
    goes through them from the oldest: r = σ(W_r f + U_r h + b_r), h̃ = tanh(W f + r∘(U h) + b), h ← g h̃ + (1 − g) h
    (equations 11-12); its last h is the episode c. Then m ← ReLU(W_k [m; c; q] + b_k), with weights of its own for each
    pass k (equation 13); all else is shared by the passes. The output is linear in [q; m].

    This is the slowest of the cores over an episode: a step takes K times as many cells, one after another, as there
    are facts. The steps of a window take them together.

    :param input_size: width I of one input
    :param length: number of facts L; no weight depends on it
    :param hidden_size: width H of facts, question, episodes and memory
    :param passes: number of passes K
    :param output_size: width O of one output; by default ``hidden_size``
    """

    def __init__(
        self,
        input_size: int,
        length: int = 32,
        hidden_size: int = 64,
        passes: int = 3,
        output_size: int | None = None,
    ):
        size = positive_int("hidden_size", hidden_size)
        super().__init__(input_size, size if output_size is None else output_size, length, row_size=size)
        self.hidden_size = size
        self.facts = GRU(input_size, size)
        self.question = nn.Linear(input_size, size)  # W_q
        self.compare_question = nn.Linear(2 * size, size)  # W₁ of f∘q and |f−q|, b₁
        self.compare_memory = nn.Linear(2 * size, size, bias=False)  # W₁ of f∘m and |f−m|
        self.score = nn.Linear(size, 1, bias=False)  # W₂
        self.fact_gates = nn.Linear(size, 2 * size)  # W_r, W; b_r, b
        self.recurrent_gates = nn.Linear(size, 2 * size, bias=False)  # U_r, U
        self.updates = nn.ModuleList(nn.Linear(3 * size, size) for _ in range(positive_int("passes", passes)))  # W_k
        self.output = nn.Linear(2 * size, self.output_size)

    def readout(self, features: Tensor) -> Tensor:
        """The answer: (..., 2H) to (..., O)."""
        return self.output(features)

    def store(self, x: Tensor, state: StoreState, starts: Tensor) -> Tensor:
        """The facts of the window, (T, B, H). The GRU's state is the last of them, zero where there is none."""
        return self.facts.unroll(x, GRUState(state.rows[:, -1]), starts).outputs

    def look(self, x: Tensor, whole: Tensor, first: Tensor, state: StoreState) -> tuple[Tensor, dict[str, Tensor]]:
        steps = len(x)
        length = whole.shape[1] - steps
        span = min(length + 1, self.length)
        q = self.question(x.transpose(0, 1)).to(whole.dtype).tanh()  # (B, T, H)
        seen = history.unskew(history.sees(first, length, span), span)  # (B, T, S)
        facts = history.windows(whole, steps, span)  # (B, T, S, H)
        of_facts = history.windows(self.fact_gates(whole).to(whole.dtype), steps, span).unbind(2)
        of_question = self._compare(self.compare_question, facts, q)
        m, trace = q, {}
        for number, update in enumerate(self.updates, start=1):
            compared = (of_question + self._compare(self.compare_memory, facts, m)).tanh()
            with full_precision(whole):
                gates = selection.soft(self.score(compared).squeeze(-1), seen)  # (B, T, S)
            episode = self._episode(of_facts, gates)
            m = update(torch.cat([m, episode, q], dim=-1)).to(whole.dtype).relu()
            trace[f"pass_{number}_weights"] = functional.pad(gates, (self.length - span, 0))  # (B, T, L)
        return torch.cat([q, m], dim=-1), trace

    def find(self, x: Tensor, whole: Tensor, first: Tensor, state: StoreState) -> Tensor:
        """Run by kernels where there are such, see :func:`memagents.kernels.choice.window_for`.

        The kernels, for the CPU, equal :meth:`look`, which runs for a trace, if ``hidden_size`` is no multiple of 8 (in
        float64 of 4), and wherever there are none; each step looks at the facts that it sees and at no others. They
        cannot be differentiated twice.
        """
        tensors = [x, whole, self.score.weight]
        compare = choice.window_for("dmn", tensors, hidden_size=self.hidden_size)
        attend = choice.window_for("episode", tensors, hidden_size=self.hidden_size)
        if compare is None or attend is None:
            return self.look(x, whole, first, state)[0]
        q = self.question(x.transpose(0, 1)).tanh().flatten(0, 1)  # (N, H), N = B T
        pairs = self._pairs(first, whole)
        facts, of_facts = whole.flatten(0, 1), self.fact_gates(whole).flatten(0, 1)
        of_question = self.compare_question(compare(facts, q, pairs))  # (M, H)
        m, where = q, (pairs.steps, pairs.places)
        for update in self.updates:
            compared = (of_question + self.compare_memory(compare(facts, m, pairs))).tanh()
            scores = torch.full((len(q), len(pairs.counts)), -torch.inf, dtype=q.dtype)
            gates = scores.index_put(where, self.score(compared).squeeze(-1)).softmax(-1)[where]  # (M,)
            m = update(torch.cat([m, attend(of_facts, gates, self.recurrent_gates.weight, pairs), q], dim=-1)).relu()
        return torch.cat([q, m], dim=-1).unflatten(0, first.shape)

    def _pairs(self, first: Tensor, whole: Tensor) -> Pairs:
        """All pairs of a step and a fact that it sees, of a timeline (B, L' + T, H)."""
        batch, positions = whole.shape[:2]
        runs = history.runs(first, positions - first.shape[1], self.length)  # (B, T, 1, 3)
        begin, after, _ = runs.squeeze(2).unbind(-1)
        rows = torch.arange(0, batch * positions, positions).unsqueeze(1)
        return pairs_of((rows + begin).flatten(), (after - begin).flatten())

    def _compare(self, layer: nn.Linear, facts: Tensor, vector: Tensor) -> Tensor:
        """W [f∘v; |f−v|] of each fact, (B, T, S, H), with the vectors of the steps, (B, T, H)."""
        vector = vector.unsqueeze(2)
        return layer(torch.cat([facts * vector, (facts - vector).abs()], dim=-1)).to(facts.dtype)

    def _episode(self, of_facts: tuple[Tensor, ...], gates: Tensor) -> Tensor:
        """The attention GRU's last state, (B, T, H); where a gate is 0 it passes over the fact.

        :param of_facts: the facts' share of reset gate and candidate, S of (B, T, 2H)
        :param gates: (B, T, S)
        """
        h = torch.zeros_like(of_facts[0][..., : self.hidden_size])
        for of_fact, gate in zip(of_facts, gates.unsqueeze(-1).unbind(2), strict=True):
            f_reset, f_new = of_fact.chunk(2, dim=-1)
            h_reset, h_new = self.recurrent_gates(h).to(h.dtype).chunk(2, dim=-1)
            new = (f_new + (f_reset + h_reset).sigmoid() * h_new).tanh()
            h = h + gate * (new - h)
        return h
